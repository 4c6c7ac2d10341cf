"""Reads and writes `pkcs11:` URIs, which name a key in a token. RFC 7512.

The path names the token and the object, the query the module to reach it by and its PIN. A URI may
make this process load a module, and open a file: it comes from who runs the program, never from a
peer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Final, Self
from urllib.parse import quote, unquote_to_bytes

from est_core.arguments import checked
from est_core.values import value_class
from est_transports.pki.signers import SignerError

MAX_URI_CHARACTERS: Final = 4096
MAX_ATTRIBUTES: Final = 32

SCHEME: Final = "pkcs11:"
BAD_URI: Final = "token/bad-uri"

_UNRESERVED: Final = r"A-Za-z0-9\-._~:\[\]@!$'()*+,="
_PATH_VALUE: Final = re.compile(rf"(?:[{_UNRESERVED}&]|%[0-9A-Fa-f]{{2}})*")
_QUERY_VALUE: Final = re.compile(rf"(?:[{_UNRESERVED}/?|]|%[0-9A-Fa-f]{{2}})*")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_VERSION: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")

_PATH: Final[Mapping[str, str]] = {
    "token": "token",
    "manufacturer": "manufacturer",
    "serial": "serial",
    "model": "model",
    "library-manufacturer": "library_manufacturer",
    "library-description": "library_description",
    "library-version": "library_version",
    "object": "object",
    "type": "type",
    "id": "id",
    "slot-manufacturer": "slot_manufacturer",
    "slot-description": "slot_description",
    "slot-id": "slot_id",
}
"""The attributes of the path, and how they are called here. RFC 7512 2.3."""
_QUERY: Final[Mapping[str, str]] = {
    "pin-source": "pin_source",
    "pin-value": "pin_value",
    "module-name": "module_name",
    "module-path": "module_path",
}
"""The same for the query."""
_TYPES: Final = ("public", "private", "cert", "secret-key", "data")


@checked
class TokenError(SignerError):
    """A key in a token cannot be used: the URI, the module, the token, its PIN or the key.

    `code` is a row of the table of error codes, `message` one sentence that names what is meant,
    and holds no PIN.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@value_class
class Pkcs11Uri:
    """A `pkcs11:` URI, taken apart. What is None is not in it, and matches anything.

    `version` of the library is (major, minor). `unknown` names attributes of the query that are
    passed over; in the path an unknown attribute is refused, for nothing would match it (RFC 7512
    2.5). Neither repr nor str show a PIN.
    """

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    library_manufacturer: str | None = None
    library_description: str | None = None
    library_version: str | None = None
    object: str | None = None
    type: str | None = None
    id: bytes | None = None
    slot_manufacturer: str | None = None
    slot_description: str | None = None
    slot_id: int | None = None
    pin_source: str | None = None
    pin_value: str | None = field(default=None, repr=False)
    module_name: str | None = None
    module_path: str | None = None
    unknown: tuple[str, ...] = ()

    @classmethod
    @checked
    def parse(cls, text: str) -> Self:
        """Return what a URI says. Raises TokenError token/bad-uri, which quotes no value."""
        if len(text) > MAX_URI_CHARACTERS:
            raise _bad(f"it has more than {MAX_URI_CHARACTERS} characters")
        if not is_pkcs11_uri(text):
            raise _bad(f"it does not begin with {SCHEME}")
        path, _, query = text[len(SCHEME) :].partition("?")
        values, _ = _attributes(path, ";", _PATH_VALUE, _PATH, "path")
        asked, unknown = _attributes(query, "&", _QUERY_VALUE, _QUERY, "query")
        if "pin-source" in asked and "pin-value" in asked:
            raise _bad("it has both pin-source and pin-value")  # RFC 7512 2.4
        found: dict[str, str | bytes | int] = {}
        for names, part in ((_PATH, values), (_QUERY, asked)):
            for name, raw in part.items():
                found[names[name]] = _value(name, raw)
        return cls(**found, unknown=unknown)  # type: ignore[arg-type]  # by the tables above

    def __str__(self) -> str:
        """Return the URI, without its PIN."""
        path = [(name, getattr(self, own)) for name, own in _PATH.items()]
        query = [(name, getattr(self, own)) for name, own in _QUERY.items() if name != "pin-value"]
        text = SCHEME + ";".join(
            f"{name}={_written(value, ':[]@!$+,=&')}" for name, value in path if value is not None
        )
        asked = "&".join(
            f"{name}={_written(value, ':[]@!$+,=/?|')}"
            for name, value in query
            if value is not None
        )
        return f"{text}?{asked}" if asked else text

    @checked
    def naming(self, *, token: str, label: str, key_id: bytes) -> Self:
        """Return the same URI for one private key: its token, its label and its id."""
        return replace(self, token=token, object=label, id=key_id, type="private", pin_value=None)


@checked
def is_pkcs11_uri(text: str) -> bool:
    """Return whether a text is meant as a `pkcs11:` URI: by its scheme, in whatever case."""
    return text[: len(SCHEME)].lower() == SCHEME


def _attributes(
    text: str, separator: str, form: re.Pattern[str], known: Mapping[str, str], where: str
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the values of what is known, percent-decoded, and the names of what is not."""
    found: dict[str, bytes] = {}
    unknown: list[str] = []
    parts = text.split(separator, MAX_ATTRIBUTES) if text else []
    if len(parts) > MAX_ATTRIBUTES:
        raise _bad(f"its {where} has more than {MAX_ATTRIBUTES} attributes")
    for position, part in enumerate(parts, start=1):
        name, equals, value = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise _bad(f"attribute {position} of its {where} is not NAME=VALUE")
        if not form.fullmatch(value):
            raise _bad(f"the value of {name} has characters that are written as %XX")
        if name not in known:
            _check_unknown(name, where)
            unknown.append(name)
        elif name in found:
            raise _bad(f"it has {name} twice")  # RFC 7512 2.3
        else:
            found[name] = unquote_to_bytes(value)
    return found, tuple(unknown)


def _check_unknown(name: str, where: str) -> None:
    if where == "query":
        if name in _PATH:
            raise _bad(f"{name} stands before the question mark")
        return  # RFC 7512 2.5: to be ignored
    if name in _QUERY:
        raise _bad(f"{name} stands behind a question mark: ...?{name}=...")
    raise _bad(f"its path has {name}, which is no attribute that is known")


def _value(name: str, raw: bytes) -> str | bytes | int:
    if name == "id":
        return raw
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad(f"the value of {name} is not UTF-8") from None
    if not text.isprintable():
        raise _bad(f"the value of {name} has characters that cannot be printed")
    if name == "slot-id":
        if not _NUMBER.fullmatch(text):
            raise _bad("slot-id is not a number")
        return int(text)
    if name == "library-version" and not _VERSION.fullmatch(text):
        raise _bad("library-version is not a number, or two with a dot between them")
    if name == "type" and text not in _TYPES:
        raise _bad(f"type is none of {', '.join(_TYPES)}")
    return text


def _written(value: str | bytes | int, safe: str) -> str:
    if isinstance(value, bytes):
        return "".join(f"%{octet:02X}" for octet in value)
    return quote(str(value), safe=safe)


def _bad(reason: str) -> TokenError:
    return TokenError(BAD_URI, f"the pkcs11: URI cannot be used: {reason}")
