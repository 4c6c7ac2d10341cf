"""A request on its way: its key, kept until the certificate is there.

The key is saved before the request is sent, so that a certificate that is issued while this
process dies is not lost, and so that a later run repeats the same request (RFC 7030 4.2.3).
What was asked for lies beside it as a certificate request that anybody can read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Limits, RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_core.values import unchecked_value_class
from est_transports.cli.client.requested_names import RequestedNames
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, key_pem, remove_files, write_files
from est_transports.cli.keys import NewKey
from est_transports.cli.output import say
from est_transports.pki.credential_files import (
    CredentialFileError,
    load_pem_private_key,
    load_request,
)

PENDING_KEY: Final = "key.pem.pending"
PENDING_REQUEST: Final = "request.pem.pending"
_ASIDE: Final = {PENDING_KEY: "key.pem.refused", PENDING_REQUEST: "request.pem.refused"}
_REFUSED: Final = b"Refused\n"
"""Before the request, where everybody passes it over who reads PEM."""


@unchecked_value_class
class Pending:
    """A request that was begun: what it asks for, and its key.

    `refused` says that the server refused it when it was sent last, or we refused the certificate.
    It may be tried again, with another password say, but is in nobody's way.
    """

    requested: RequestedNames
    key: NewKey
    refused: bool = False


def find_pending(directory: Path, password: bytes | None = None) -> Pending | None:
    """Return the request that was begun in a directory, None if there is none.

    `password` opens its key where that is encrypted. Raises CliError (LOCAL).
    """
    key_path, request_path = directory / PENDING_KEY, directory / PENDING_REQUEST
    if not key_path.exists() or not request_path.exists():
        return None
    key = load_pem_private_key(key_path, password)
    try:
        request = parse_cert_request(load_request(request_path), Limits())
        requested = RequestedNames(subject=request.subject, names=_names(request))
        same_key = request.public_key() == key.public_key()
    except (CredentialFileError, RemoteProtocolError) as exc:
        text = exc.message if isinstance(exc, RemoteProtocolError) else exc.reason
        raise _unusable(directory, f"its request cannot be read: {text}") from exc
    if not same_key:
        raise _unusable(directory, "its key is another than its request's")
    refused = request_path.read_bytes().startswith(_REFUSED)
    return Pending(requested=requested, key=NewKey(key=key, password=password), refused=refused)


def resume(
    directory: Path,
    requested: RequestedNames,
    key_type: str | None,
    password: bytes | None,
    *,
    force: bool,
) -> NewKey | None:
    """Return the key of the pending request if it is this one.

    Another request that is pending is dropped with `force`, and a CliError (LOCAL) without; one
    that was refused is set aside.
    """
    pending = find_pending(directory, password)
    if pending is None:
        return None
    same_type = key_type is None or _type_of(pending.key) == key_type.lower()
    if pending.requested == requested and same_type:
        return pending.key
    if force:
        return None
    if pending.refused:
        _set_aside(directory, pending)
        return None
    raise CliError(
        f"another request, for {pending.requested.text}, is pending in {directory}",
        ExitCode.LOCAL,
        "finish it first, drop it with --force, or use another --out",
    )


def save_pending(directory: Path, pending: Pending) -> None:
    """Save a request that is about to be sent, over one that was there. Raises CliError."""
    write_files(
        (
            Output(
                path=directory / PENDING_KEY,
                content=key_pem(pending.key.key, pending.key.password),
                secret=True,
            ),
            Output(path=directory / PENDING_REQUEST, content=_request_pem(pending)),
        ),
        overwrite=True,
    )


def mark_refused(directory: Path, pending: Pending) -> None:
    """Note that a pending request was refused, or what came of it; its key stays. CliError.

    An earlier try may have got a certificate for it, whose answer never came.
    """
    path = directory / PENDING_REQUEST
    write_files([Output(path=path, content=_REFUSED + _request_pem(pending))], overwrite=True)


def _set_aside(directory: Path, pending: Pending) -> None:
    number = 1
    while any((directory / f"{name}.{number}").exists() for name in _ASIDE.values()):
        number += 1
    for name, aside in _ASIDE.items():
        try:
            (directory / name).rename(directory / f"{aside}.{number}")
        except OSError as exc:
            message = f"cannot rename {directory / name}: {exc.strerror}"
            raise CliError(message, ExitCode.LOCAL) from exc
    kept = directory / f"{_ASIDE[PENDING_KEY]}.{number}"
    say(
        f"the request for {pending.requested.text}, which was refused, is set aside; "
        f"its key is {kept}"
    )


def forget_pending(directory: Path) -> None:
    """Remove what save_pending left. Raises CliError."""
    remove_files((directory / PENDING_REQUEST, directory / PENDING_KEY))


def _request_pem(pending: Pending) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(pending.requested.subject)
    if pending.requested.names:
        names = x509.SubjectAlternativeName(pending.requested.names)
        builder = builder.add_extension(names, critical=False)
    key = pending.key.key
    digest = isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey)
    signed = builder.sign(key, hashes.SHA256() if digest else None)
    return signed.public_bytes(Encoding.PEM)


def _names(request: CertRequest) -> tuple[x509.GeneralName, ...]:
    try:
        found = request.decoded.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(found.value)


def _type_of(key: NewKey) -> str:
    """Return the kind of a key as --key-type has it, in lower case."""
    return key.facts.name.lower().replace(" ", ":")


def _unusable(directory: Path, reason: str) -> CliError:
    return CliError(
        f"the request pending in {directory} cannot be used: {reason}",
        ExitCode.LOCAL,
        f"remove {directory / PENDING_KEY} and {directory / PENDING_REQUEST}",
    )
