"""What the directory of a pair or candidate holds: its files, read and written.

What is read was written by `PairDirectory`, so anything else in the place of it is damage: a file
that is missing, cut off, or of another pair. `pair.pem` repeats key, certificate and chain, and a
file that does not agree with it is found by that.
"""

from __future__ import annotations

import errno
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from est_core import LocalProtocolError
from est_transports.files.durable import OpenDirectory
from est_transports.pairs.errors import PairError, damaged, disk_errors
from est_transports.pairs.layout import (
    ANCHORS,
    CERTIFICATE,
    CHAIN,
    KEY,
    KEY_REFERENCE,
    MAX_BYTES,
    REQUEST,
    SENT,
    WHOLE,
)
from est_transports.pairs.values import Candidate, KeyReference, Pair, PairKey, check_fit, read_key

_NO_FILE = frozenset({errno.EINVAL, errno.ELOOP, errno.EISDIR, errno.ENXIO})


def read_pair(files: OpenDirectory, password: bytes | None, *, with_key: bool = True) -> Pair:
    """Return the pair in a directory. Raises PairError, also where its parts do not fit."""
    key_name, raw_key = _key_file(files)
    raw_certificate, raw_chain = _needed(files, CERTIFICATE), _found(files, CHAIN)
    if key_name == KEY and _needed(files, WHOLE) != whole_pem(raw_key, raw_certificate, raw_chain):
        raise damaged(files.path / WHOLE, "is not key, certificate and chain of this pair")
    pair = Pair(
        directory=files.path,
        key_file=files.path / key_name,
        certificate=_certificate(files, raw_certificate),
        chain=_certificates(files.path / CHAIN, raw_chain),
        anchors=_certificates(files.path / ANCHORS, _found(files, ANCHORS)),
        key=_key(files, key_name, raw_key, password) if with_key else None,
    )
    if pair.key is not None:
        check_fit(pair.key_file, _public_key(files, pair.key), pair.certificate)
    return pair


def read_candidate(
    files: OpenDirectory, password: bytes | None, *, with_key: bool = True
) -> Candidate:
    """Return the candidate in a directory. Raises PairError; its certificate may not fit."""
    key_name, raw_key = _key_file(files)
    raw = _found(files, CERTIFICATE)
    with disk_errors(files.path):
        is_sent = files.status(SENT) is not None
    return Candidate(
        directory=files.path,
        key=_key(files, key_name, raw_key, password) if with_key else None,
        request=_found(files, REQUEST) or None,
        is_sent=is_sent,
        certificate=_certificate(files, raw) if raw else None,
        chain=_certificates(files.path / CHAIN, _found(files, CHAIN)) if raw else (),
    )


def check_candidate(
    files: OpenDirectory, password: bytes | None, certificate: x509.Certificate
) -> None:
    """Raise PairError unless the certificate is for the key in the directory."""
    key_name, raw_key = _key_file(files)
    key = _key(files, key_name, raw_key, password)
    check_fit(files.path / key_name, _public_key(files, key), certificate)


def request_key(der: bytes) -> object:
    """Return the public key that a request asks a certificate for.

    Raises LocalProtocolError for what is no request.
    """
    try:
        return x509.load_der_x509_csr(der).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise LocalProtocolError("the certificate request cannot be read") from exc


def whole_pem(raw_key: bytes, raw_certificate: bytes, raw_chain: bytes) -> bytes:
    """Return the content of pair.pem."""
    line = b"" if raw_key.endswith(b"\n") else b"\n"
    return raw_key + line + raw_certificate + raw_chain


def whole_of(files: OpenDirectory) -> bytes | None:
    """Return what belongs into pair.pem, None where the key is elsewhere. Raises PairError."""
    key_name, raw_key = _key_file(files)
    if key_name != KEY:
        return None
    return whole_pem(raw_key, _needed(files, CERTIFICATE), _found(files, CHAIN))


# Files


def _found(files: OpenDirectory, name: str) -> bytes:
    """Return the content of a file, nothing where it is not there. Raises PairError."""
    try:
        with disk_errors(files.path):
            raw = files.read(name, MAX_BYTES)
    except PairError as exc:
        cause = exc.__cause__
        if isinstance(cause, FileNotFoundError):
            return b""
        if isinstance(cause, OSError) and cause.errno in _NO_FILE:
            raise damaged(files.path / name, "is no regular file") from exc
        raise
    if not raw or len(raw) > MAX_BYTES:
        raise damaged(files.path / name, "is empty" if not raw else "is too large")
    return raw


def _needed(files: OpenDirectory, name: str) -> bytes:
    raw = _found(files, name)
    if not raw:
        raise damaged(files.path / name, "is missing")
    return raw


def _key_file(files: OpenDirectory) -> tuple[str, bytes]:
    raw = _found(files, KEY_REFERENCE)
    return (KEY_REFERENCE, raw) if raw else (KEY, _needed(files, KEY))


def _key(files: OpenDirectory, name: str, raw: bytes, password: bytes | None) -> PairKey:
    path = files.path / name
    if name == KEY:
        return read_key(path, raw, password)
    try:
        return KeyReference(uri=raw.decode("ascii", "replace").rstrip("\n"))
    except LocalProtocolError as exc:
        raise damaged(path, "holds no URI") from exc


def _public_key(files: OpenDirectory, key: PairKey) -> object:
    """Return the public key: of one that is elsewhere, as the request has it."""
    if isinstance(key, KeyReference):
        try:
            return request_key(_needed(files, REQUEST))
        except LocalProtocolError as exc:
            raise damaged(files.path / REQUEST, "is no certificate request") from exc
    return key.public_key()


def _certificate(files: OpenDirectory, raw: bytes) -> x509.Certificate:
    return _certificates(files.path / CERTIFICATE, raw)[0]


def _certificates(path: Path, raw: bytes) -> tuple[x509.Certificate, ...]:
    if not raw:
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(raw))
    except ValueError as exc:
        raise damaged(path, "is cut off, or holds no certificate") from exc
