"""What an agent calls a certificate, in its state and in its log."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_transports.agent.saved import plain
from est_transports.pki.names import name_text
from est_transports.pki.serials import printed_serial


def sha256(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate in hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def described(certificate: x509.Certificate) -> str:
    """Return what tells a certificate from others, in one line of plain text."""
    end = shown_moment(certificate.not_valid_after_utc)
    subject = plain(name_text(certificate.subject)) or "(empty subject)"
    return f"{subject}, serial {printed_serial(certificate.serial_number)}, valid until {end}"


def shown_moment(moment: datetime) -> str:
    """Return a moment in UTC to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
