"""Values as the columns of a store hold them, and back."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from est_core import (
    AllowedNames,
    Limits,
    LocalProtocolError,
    ManufacturerIdentity,
    RemoteProtocolError,
)

_PAGE_MAX: Final = 10_000
_NAME_CHARS: Final = Limits().user_chars


def str_of(value: object) -> str:
    """Return a text. Raises TypeError for what a damaged row holds instead."""
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def str_or_none(value: object) -> str | None:
    """Return a text, or None."""
    return None if value is None else str_of(value)


def bytes_of(value: object) -> bytes:
    """Return a blob. Raises TypeError."""
    if not isinstance(value, bytes):
        raise TypeError("not a blob")
    return value


def bytes_or_none(value: object) -> bytes | None:
    """Return a blob, or None. Raises TypeError."""
    return None if value is None else bytes_of(value)


def int_of(value: object) -> int:
    """Return a number. Raises TypeError."""
    if not isinstance(value, int):
        raise TypeError("not a number")
    return value


def pair_columns(pair: ManufacturerIdentity | None) -> tuple[str | None, str | None]:
    """Return a manufacturer's device as two columns, both of them empty for None."""
    return (None, None) if pair is None else (pair.manufacturer, pair.value)


def pair_of(manufacturer: object, value: object) -> ManufacturerIdentity | None:
    """Return a manufacturer's device, or None. Raises TypeError, LocalProtocolError."""
    if manufacturer is None and value is None:
        return None
    return ManufacturerIdentity(manufacturer=str_of(manufacturer), value=str_of(value))


def time_of(value: object) -> datetime:
    """Return a time. Raises ValueError, TypeError."""
    return datetime.fromisoformat(str_of(value))


def time_or_none(value: object) -> datetime | None:
    """Return a time, or None."""
    return None if value is None else time_of(value)


def text_of(moment: datetime) -> str:
    """Return a time as ISO 8601 text of fixed length in UTC, which sorts as the times do."""
    if moment.tzinfo is None:
        raise LocalProtocolError("a time in a store is aware")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def text_or_none(moment: datetime | None) -> str | None:
    """Return a time as `text_of` does, or None."""
    return None if moment is None else text_of(moment)


def page_of(limit: int) -> int:
    """Return the number of rows of a page. Raises LocalProtocolError for none, or too many."""
    if not 0 < limit <= _PAGE_MAX:
        raise LocalProtocolError(f"limit is 1 to {_PAGE_MAX}")
    return limit


def name_of(name: str) -> str | None:
    """Return the name in form NFC, or None for one that nobody can have."""
    if not 0 < len(name) <= _NAME_CHARS:
        return None
    normal = unicodedata.normalize("NFC", name)
    # RFC 7617 2: a user-id with a colon cannot be told from its password. Category C* is
    # control characters, and the surrogates that have no UTF-8 form.
    if ":" in normal or any(unicodedata.category(char).startswith("C") for char in normal):
        return None
    return normal


def required_name(name: str, whose: str = "a user") -> str:
    """Return the name in form NFC. Raises LocalProtocolError for one that nobody can have."""
    known_as = name_of(name)
    if known_as is None:
        raise LocalProtocolError(
            f"{whose} name has 1 to {_NAME_CHARS} characters, no colon, no control characters"
        )
    return known_as


def issuer_key_in(der: object) -> bytes | None:
    """Return what a certificate says of its issuer's key, for a statement; None for nothing."""
    try:
        certificate = x509.load_der_x509_certificate(der if isinstance(der, bytes) else b"")
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError, TypeError, KeyError, Warning):
        return None
    return found.value.key_identifier


def names_in(der: object) -> str:
    """Return the names of a certificate as JSON, for a statement; none for what is not read."""
    try:
        certificate = x509.load_der_x509_certificate(der if isinstance(der, bytes) else b"")
        keys = AllowedNames.of_certificate(certificate).search_keys()
    except (RemoteProtocolError, ValueError, TypeError, KeyError, Warning):
        return "[]"
    return json.dumps(sorted(keys))
