"""Media types: the value of Content-Type, read as what it means and not as a string.

RFC 9110 8.3.1. CoAP has numbers for them, RFC 7252 12.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum, unique
from types import MappingProxyType
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core.codec._grammar import QUOTED, TOKEN, is_token, quoted, unquoted
from est_core.values import value_class

MAX_CHARS: Final = 1024  # the longest seen is 90: multipart with a 70 character boundary
MAX_PARAMETERS: Final = 16  # three are seen: smime-type, name, charset

_ESSENCE: Final = re.compile(rf"({TOKEN})/({TOKEN})")
_SEPARATOR: Final = re.compile(r"[ \t]*+(?:;[ \t]*+|\Z)")
_PARAMETER: Final = re.compile(rf"({TOKEN})=(?:({TOKEN})|{QUOTED})")


@unique
class ContentFormat(IntEnum):
    """The number CoAP has for a media type with its parameters. RFC 9148 8.1, RFC 7252 12.3."""

    TEXT_PLAIN = 0
    LINK_FORMAT = 40
    JSON = 50
    MULTIPART_CORE = 62
    SERVER_GENERATED_KEY = 280
    CERTS_ONLY = 281
    PKCS8 = 284
    CSRATTRS = 285
    PKCS10 = 286
    PKIX_CERT = 287

    @property
    def media_type(self) -> str:
        """The media type, as a Content-Type header has it."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES: Final[Mapping[ContentFormat, str]] = MappingProxyType(
    {
        ContentFormat.TEXT_PLAIN: "text/plain; charset=utf-8",
        ContentFormat.LINK_FORMAT: "application/link-format",
        ContentFormat.JSON: "application/json",
        ContentFormat.MULTIPART_CORE: "application/multipart-core",
        ContentFormat.SERVER_GENERATED_KEY: (
            "application/pkcs7-mime; smime-type=server-generated-key"
        ),
        ContentFormat.CERTS_ONLY: "application/pkcs7-mime; smime-type=certs-only",
        ContentFormat.PKCS8: "application/pkcs8",
        ContentFormat.CSRATTRS: "application/csrattrs",
        ContentFormat.PKCS10: "application/pkcs10",
        ContentFormat.PKIX_CERT: "application/pkix-cert",
    }
)


@value_class
class MediaType:
    """A media type. `parameters` holds (name, value), values unquoted, in the order received.

    `parse_media_type` gives type, subtype and names in lower case. Raises LocalProtocolError
    for what could not be written into a header.
    """

    type: str
    subtype: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not (is_token(self.type) and is_token(self.subtype)):
            raise LocalProtocolError("type and subtype must be tokens")
        for name, value in self.parameters:
            if not is_token(name):
                raise LocalProtocolError("a parameter's name must be a token")
            quoted(value)

    @property
    def essence(self) -> str:
        """The type without parameters, in lower case: `application/pkcs10`."""
        return f"{self.type}/{self.subtype}".lower()

    def get(self, name: str) -> str | None:
        """Return a parameter's value by its name in any case, or None."""
        wanted = name.lower()
        return next((value for key, value in self.parameters if key.lower() == wanted), None)

    def matches(self, pattern: MediaType | str) -> bool:
        """Return whether this is the type of `pattern` and has all parameters of `pattern`.

        Case does not matter, and parameters that `pattern` does not name do not either.
        Raises LocalProtocolError when `pattern` is text and not a media type.
        """
        if isinstance(pattern, str):
            pattern = _pattern(pattern)
        return self.essence == pattern.essence and all(
            (own := self.get(name)) is not None and own.lower() == value.lower()
            for name, value in pattern.parameters
        )

    def __str__(self) -> str:
        """`type/subtype; name=value`, with quotes only where they are needed.

        libEST compares whole strings, so the one space after the semicolon matters.
        """
        return f"{self.type}/{self.subtype}" + "".join(
            f"; {name}={value if is_token(value) else quoted(value)}"
            for name, value in self.parameters
        )


def parse_media_type(value: str) -> MediaType:
    """Return the media type that a Content-Type header names.

    Any case, white space around semicolons, quoted values, parameters nobody knows and empty
    ones are accepted. Raises RemoteProtocolError("media/malformed") for anything else: no
    slash, white space around "=", a parameter that occurs twice, more than `MAX_CHARS`
    characters or `MAX_PARAMETERS` parameters. RFC 9110 8.3.1 and 5.6.6.
    """
    if len(value) > MAX_CHARS:
        raise _malformed("it is too long")
    text = value.strip(" \t")
    essence = _ESSENCE.match(text)
    if essence is None:
        raise _malformed("it has no type and subtype")
    return MediaType(
        type=essence[1].lower(),
        subtype=essence[2].lower(),
        parameters=_parameters_untrusted(text, essence.end()),
    )


def _parameters_untrusted(text: str, at: int) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    while at < len(text):
        separator = _SEPARATOR.match(text, at)
        if separator is None:
            raise _malformed("something stands where a semicolon belongs")
        at = separator.end()
        if at == len(text) or text[at] == ";":
            continue  # RFC 9110 5.6.6: a parameter may be empty
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            raise _malformed("a parameter is not name=value")
        name, plain, inside = parameter.groups()
        if name.lower() in found or len(found) == MAX_PARAMETERS:
            raise _malformed("it has a parameter twice, or too many")
        found[name.lower()] = unquoted(inside) if plain is None else plain
        at = parameter.end()
    return tuple(found.items())


def _malformed(why: str) -> RemoteProtocolError:
    return RemoteProtocolError("media/malformed", f"not a media type: {why}", Fault.MEDIA_TYPE)


def _pattern(text: str) -> MediaType:
    try:
        return parse_media_type(text)
    except RemoteProtocolError as exc:
        raise LocalProtocolError("the pattern is not a media type") from exc
