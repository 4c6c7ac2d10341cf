"""Distinguished names as people read them."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

SHORT_NAMES: Final = {
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.GENERATION_QUALIFIER: "generationQualifier",
    NameOID.GIVEN_NAME: "givenName",
    NameOID.INITIALS: "initials",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.SURNAME: "sn",
    NameOID.TITLE: "title",
}
"""Attributes beyond those of RFC 4514 3, by the names of RFC 4519 2 and RFC 2985 5.2.1. Devices
are often named by serialNumber (IEEE 802.1AR)."""


def name_text(name: x509.Name) -> str:
    """Return a name as RFC 4514 text, "" for an empty one."""
    return name.rfc4514_string(SHORT_NAMES)


def subject_text(certificate: x509.Certificate) -> str:
    """Return a subject as RFC 4514 text, "?" for one that is no readable name.

    OpenSSL verifies certificates whose names hold broken strings; they come in handshakes.
    """
    try:
        return name_text(certificate.subject)
    except ValueError:
        return "?"
