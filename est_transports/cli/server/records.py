"""Records of certificates: found by what somebody typed, and told to people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError
from est_transports import _clock
from est_transports.authority.stores import HOLD, PREPARED, IssuedRecord, Store
from est_transports.cli.describe import fingerprint, moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.server.directory import all_of
from est_transports.pki.serials import printed_serial, read_serial, serial_digits

_PREFIX_CHARS_MIN: Final = 4


def every_record(
    store: Store, after: str | None = None, *, state: str | None = None
) -> Iterator[IssuedRecord]:
    """Yield all records, in the order in which they were issued, those after the serial `after`.

    With `state`, only those that have it.
    """
    listed = partial(store.list_certificates, state=state)
    return all_of(listed, lambda each: each.serial, after)


def find_record(store: Store, text: str) -> IssuedRecord:
    """Return the record of a serial number, or of the only one that begins so. CliError."""
    try:
        typed = serial_digits(text)
        exact = store.find_certificate(read_serial(text))
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE) from exc
    if exact is not None:
        return exact
    matching: list[IssuedRecord] = []
    if len(typed) >= _PREFIX_CHARS_MIN:
        matching = [found for found in every_record(store) if _begins(found.serial, typed)]
    if len(matching) > 1:
        raise CliError(f"{len(matching)} certificates begin with {typed.upper()}", ExitCode.USAGE)
    if not matching:
        raise CliError(f"there is no certificate {typed.upper()}", ExitCode.LOCAL)
    return matching[0]


def _begins(serial: str, typed: str) -> bool:
    """True if a serial begins with these digits as it is printed, or without its leading zero."""
    return serial.startswith(typed) or printed_serial(serial).lower().startswith(typed)


def state_of(record: IssuedRecord) -> str:
    """Return in a word whether a certificate counts now."""
    if record.revoked_at is not None:
        return "on hold" if record.revocation_reason == HOLD else "revoked"
    if _clock.instant().wall > record.not_after:
        return "expired"
    return "prepared" if record.state == PREPARED else "valid"


def certificate_row(record: IssuedRecord) -> dict[str, str]:
    """Return the cells of a record by column."""
    return {
        "serial": printed_serial(record.serial),
        "subject": record.subject,
        "until": moment(record.not_after),
        "state": state_of(record),
        "operation": record.operation,
        "label": record.label or "-",
        "by": record.user or _device(record) or record.client_subject or "-",
    }


def _device(record: IssuedRecord) -> str | None:
    return None if record.manufacturer is None else str(record.manufacturer)


def record_values(record: IssuedRecord) -> dict[str, object]:
    """Return all that is known of a certificate, by name."""
    certificate = x509.load_der_x509_certificate(record.der)
    return {
        "serial": printed_serial(record.serial),
        "subject": record.subject,
        "state": state_of(record),
        "not_before": moment(record.not_before),
        "not_after": moment(record.not_after),
        "sha256": None if record.state == PREPARED else fingerprint(certificate),
        "issued_at": moment(record.issued_at),
        "operation": record.operation,
        "label": record.label,
        "profile": record.profile,
        "user": record.user,
        "manufacturer": _device(record),
        "client_subject": record.client_subject,
        "peer": record.peer,
        "replaces": None if record.replaces is None else printed_serial(record.replaces),
        "revoked_at": None if record.revoked_at is None else moment(record.revoked_at),
        "revocation_reason": record.revocation_reason,
    }


def record_pem(record: IssuedRecord) -> str | None:
    """Return the certificate in PEM; None for a prepared one: its signature is not on record."""
    if record.state == PREPARED:
        return None
    certificate = x509.load_der_x509_certificate(record.der)
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
