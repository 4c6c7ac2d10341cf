"""What a client says about itself in a request or a handshake, and what a server asks for."""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum, unique
from typing import Final

from est_core._errors import LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class


@unique
class AuthScheme(Enum):
    """HTTP authentication schemes, by their registered names."""

    BASIC = "Basic"
    DIGEST = "Digest"
    BEARER = "Bearer"


@value_class
class BasicCredentials:
    """User and password. RFC 7617. The user is empty where a password needs none."""

    user: str
    password: str = field(repr=False)


@value_class
class BearerCredentials:
    """A token as it stood in the header. RFC 6750 2.1."""

    token: str = field(repr=False)


@value_class
class DigestCredentials:
    """The parameters of a Digest answer. RFC 7616 3.4.

    `parameters` holds (lower-case name, unquoted value) in the order received. `method` and
    `target` are what the answer is about, as the request that carries it has them; empty where
    that is not known. `target` is the whole URI where the client has answered with that, and it is
    the request's: who compares knows the host that was asked, as `httpmap.read` does.
    """

    user: str
    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    method: str = ""
    target: str = ""

    def get(self, name: str) -> str | None:
        """Return a parameter's value, or None."""
        return next((value for key, value in self.parameters if key == name), None)


@unique
class CodeSource(Enum):
    """Where a one-time code stands in a request for a certificate."""

    CHALLENGE_PASSWORD = "challengePassword"
    """A habit, against RFC 7030 3.5, which keeps that attribute for linking."""
    OTP_CHALLENGE = "otpChallenge"
    """RFC 7894 3.1."""


@value_class
class CodeCredentials:
    """A one-time code that came with what it is to open: in an attribute of the CSR."""

    code: str = field(repr=False)
    source: CodeSource


@value_class
class MalformedCredentials:
    """An Authorization header that could not be read.

    It is a value and not an error: where a certificate suffices, nobody looks at it. libEST's
    client sends an empty one with every certificate renewal. `code` and `message` are those of
    the error it becomes where credentials are needed.
    """

    code: str
    message: str


Credentials = (
    BasicCredentials
    | BearerCredentials
    | DigestCredentials
    | CodeCredentials
    | MalformedCredentials
)


_NOT_SENDABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@value_class
class Password:
    """User and password of a client, to log in by whichever scheme the server asks for.

    The user is empty where a password needs none. With `basic_only` it is sent as it is or not at
    all: of a one-time code no server has what Digest needs. Raises LocalProtocolError for a user
    with a colon, and for control characters: there is a scheme that cannot carry them.
    """

    user: str
    password: str = field(repr=False)
    basic_only: bool = False

    def __post_init__(self) -> None:
        if ":" in self.user:
            raise LocalProtocolError("a user must not have a colon")
        if _NOT_SENDABLE.search(self.user) or _NOT_SENDABLE.search(self.password):
            raise LocalProtocolError("user and password are text without control characters")


Login = Credentials | Password
"""What a client may be given to log in with."""


@value_class
class AuthChallenge:
    """One challenge of a 401. RFC 9110 11.6.1.

    `parameters` holds (name, value), values unquoted. A scheme we do not know keeps its name.
    """

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """Return a parameter's value by its name in any case, or None."""
        wanted = name.lower()
        return next((value for key, value in self.parameters if key.lower() == wanted), None)

    @property
    def known_scheme(self) -> AuthScheme | None:
        """The scheme, where it is one of ours."""
        lowered = self.scheme.lower()
        return next((scheme for scheme in AuthScheme if scheme.value.lower() == lowered), None)


VALUE_CHARS: Final = 255
"""Characters of a device's value, as many as `Limits.user_chars`."""
_MANUFACTURER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@value_class
class ManufacturerIdentity:
    """One device of one manufacturer, by the certificate it came with: its identity is the pair.

    Raises LocalProtocolError for a name of a manufacturer that is not 1 to 64 letters, digits,
    dots, hyphens and underscores, and for a value that is blank, longer than VALUE_CHARS, begins or
    ends with a blank or holds what does not print.
    """

    manufacturer: str
    value: str

    def __post_init__(self) -> None:
        check_manufacturer_name(self.manufacturer)
        if flaw := device_value_flaw(self.value):
            raise LocalProtocolError(f"the value {flaw}")

    def __str__(self) -> str:
        return f"{self.manufacturer}/{self.value}"


@checked
def check_manufacturer_name(name: str) -> None:
    """Return for the name of a manufacturer. Raises LocalProtocolError for another text."""
    if not _MANUFACTURER.fullmatch(name):
        raise LocalProtocolError(
            f"{name!r} is no name of a manufacturer: 1 to 64 letters, digits, dots, hyphens and"
            " underscores, a letter or digit first"
        )


def device_value_flaw(value: str) -> str:
    """Return why a text is no value that tells a manufacturer's device from others, or ""."""
    if not value.strip():
        return "is blank"
    if len(value) > VALUE_CHARS:
        return f"has more than {VALUE_CHARS} characters"
    if value != value.strip():
        return "begins or ends with a blank"
    return "" if value.isprintable() else "holds characters that do not print"
