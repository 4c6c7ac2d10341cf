"""The two errors of the protocol: the caller's mistake and the peer's.

Internals raise `RemoteProtocolError` for anything a peer sent. `LocalProtocolError` means that
the program that drives the core broke its contract; after one, nothing has changed and the
object may be used on. Any other exception that escapes on peer input is a bug.
"""

from __future__ import annotations

import re
from enum import Enum, unique
from typing import Final

_CODE: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*/[a-z0-9]+(?:-[a-z0-9]+)*")


@unique
class Fault(Enum):
    """What kind of mistake an answer reports; a wire turns it into its own code."""

    MALFORMED = "malformed"
    """Head, base64, DER, CSR, signature or Authorization syntax."""
    CONTENT = "content"
    """Well-formed, but the certificate request asks for what is not given."""
    FORBIDDEN = "forbidden"
    """Identity, policy or proof of possession does not allow it."""
    NOT_FOUND = "not-found"
    """Unknown path or label, or an operation that is not offered."""
    METHOD = "method"
    NOT_ACCEPTABLE = "not-acceptable"
    """The answer cannot be given in the form the client asks for."""
    TIMEOUT = "timeout"
    BODY_TOO_LARGE = "body-too-large"
    TARGET_TOO_LONG = "target-too-long"
    MEDIA_TYPE = "media-type"
    EXPECTATION = "expectation"
    HEAD_TOO_LARGE = "head-too-large"
    INTERNAL = "internal"
    NOT_IMPLEMENTED = "not-implemented"
    """Valid, and nothing that is done here: a transfer coding, say."""
    BUSY = "busy"
    VERSION = "version"


class ProtocolError(Exception):
    """What the two protocol errors have in common. Never raised itself."""

    def __init__(self, message: str) -> None:
        if type(self) is ProtocolError:
            raise TypeError("raise LocalProtocolError or RemoteProtocolError")
        super().__init__(message)
        self.message = message


class LocalProtocolError(ProtocolError):
    """The caller's mistake: a method out of turn, an illegal decision, a bad argument.

    The object it was raised from is as it was before the call.
    """


class RemoteProtocolError(ProtocolError):
    """The peer's mistake.

    `code` is `area/reason`, stable and in the table of `error_codes`; `message` is short
    text that may be shown to the peer; `fault` decides the code on the wire.
    """

    def __init__(self, code: str, message: str, fault: Fault = Fault.MALFORMED) -> None:
        # By hand, for `arguments` needs these errors.
        for name, value, kind in (
            ("code", code, str),
            ("message", message, str),
            ("fault", fault, Fault),
        ):
            if not isinstance(value, kind):
                given = type(value).__name__
                raise LocalProtocolError(
                    f"RemoteProtocolError: {name} must be a {kind.__name__}, not {given}"
                )
        super().__init__(message)
        self.code = code
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def check_code(code: object) -> None:
    """Raise LocalProtocolError unless that is `area/reason`, as every error code is."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise LocalProtocolError(
            f"a code is area/reason, both of lower-case words: {str(code)[:64]!r} is none"
        )
