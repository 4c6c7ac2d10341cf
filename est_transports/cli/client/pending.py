"""A request on its way: its key, kept until the certificate is there.

The key is saved before the request is sent, so that a certificate that is issued while this
process dies is not lost, and so that a later run repeats the same request (RFC 7030 4.2.3).
What was asked for lies beside it as a certificate request that anybody can read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Limits, RemoteProtocolError
from est_core.asn1.keys import signature_algorithm_for
from est_core.asn1.pkcs10 import CertRequest, assemble, parse_cert_request
from est_core.client.enrollment import request_info
from est_core.values import unchecked_value_class
from est_transports.cli.client.requested_names import RequestedNames
from est_transports.cli.client.token_keys import TokenKey, read_uri, token_errors
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, remove_files, write_files
from est_transports.cli.keys import NewKey
from est_transports.cli.output import say
from est_transports.pki.credential_files import (
    CredentialFileError,
    key_pem,
    load_pem_private_key,
    load_request,
)

if TYPE_CHECKING:
    from est_transports.pki.token_keys import OpenToken

PENDING_KEY: Final = "key.pem.pending"
PENDING_URI: Final = "key.uri.pending"
PENDING_REQUEST: Final = "request.pem.pending"
_ASIDE: Final = {
    PENDING_KEY: "key.pem.refused",
    PENDING_URI: "key.uri.refused",
    PENDING_REQUEST: "request.pem.refused",
}
_REFUSED: Final = b"Refused\n"
"""Before the request, where everybody passes it over who reads PEM."""


@unchecked_value_class
class Pending:
    """A request that was begun: what it asks for, and its key.

    `refused` says that the server refused it when it was sent last, or we refused the certificate.
    It may be tried again, with another password say, but is in nobody's way.
    """

    requested: RequestedNames
    key: NewKey | TokenKey
    refused: bool = False


def find_pending(
    directory: Path, password: bytes | None = None, token: OpenToken | None = None
) -> Pending | None:
    """Return the request that was begun in a directory, None if there is none.

    `password` opens its key where that is encrypted, `token` has one that is in a token. Raises
    CliError (LOCAL).
    """
    request_path = directory / PENDING_REQUEST
    places = [directory / PENDING_KEY, directory / PENDING_URI]
    if not request_path.exists() or not any(path.exists() for path in places):
        return None
    key = _key(directory, password, token)
    try:
        request = parse_cert_request(load_request(request_path), Limits())
        requested = RequestedNames(subject=request.subject, names=_names(request))
        same_key = request.spki == key.spki
    except (CredentialFileError, RemoteProtocolError) as exc:
        text = exc.message if isinstance(exc, RemoteProtocolError) else exc.reason
        raise _unusable(directory, f"its request cannot be read: {text}") from exc
    if not same_key:
        raise _unusable(directory, "its key is another than its request's")
    refused = request_path.read_bytes().startswith(_REFUSED)
    return Pending(requested=requested, key=key, refused=refused)


def _key(directory: Path, password: bytes | None, token: OpenToken | None) -> NewKey | TokenKey:
    """Return the key of the request that is pending. Raises CliError (LOCAL)."""
    path = directory / PENDING_URI
    if not path.exists():
        found = load_pem_private_key(directory / PENDING_KEY, password)
        return NewKey(key=found, password=password)
    if token is None:
        raise CliError(
            f"the key of the request pending in {directory} is in a token",
            ExitCode.LOCAL,
            f"give --make-key as before to go on with it; or remove {path} and "
            f"{directory / PENDING_REQUEST}",
        )
    from est_transports.pki.pkcs11_uri import Pkcs11Uri

    with token_errors():
        return TokenKey(signer=token.at(Pkcs11Uri.parse(read_uri(path))).key())


def resume(
    directory: Path,
    requested: RequestedNames,
    key_type: str | None,
    password: bytes | None,
    *,
    token: OpenToken | None = None,
    force: bool,
) -> NewKey | TokenKey | None:
    """Return the key of the pending request if it is this one.

    Another request that is pending is dropped with `force`, and a CliError (LOCAL) without; one
    that was refused is set aside.
    """
    pending = find_pending(directory, password, token)
    if pending is None:
        return None
    same_type = key_type is None or _type_of(pending.key) == key_type.lower()
    same_type &= isinstance(pending.key, TokenKey) == (token is not None)
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
    key = pending.key
    if isinstance(key, TokenKey):
        of_key = Output(path=directory / PENDING_URI, content=key.reference, secret=True)
        other = directory / PENDING_KEY
    else:
        content = key_pem(key.key, key.password)
        of_key = Output(path=directory / PENDING_KEY, content=content, secret=True)
        other = directory / PENDING_URI
    request = Output(path=directory / PENDING_REQUEST, content=_request_pem(pending))
    write_files((of_key, request), overwrite=True)
    remove_files([other])  # of another request, which was to be dropped


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
    there = {name: aside for name, aside in _ASIDE.items() if (directory / name).exists()}
    for name, aside in there.items():
        try:
            (directory / name).rename(directory / f"{aside}.{number}")
        except OSError as exc:
            message = f"cannot rename {directory / name}: {exc.strerror}"
            raise CliError(message, ExitCode.LOCAL) from exc
    kept = directory / f"{there.get(PENDING_KEY) or there[PENDING_URI]}.{number}"
    say(
        f"the request for {pending.requested.text}, which was refused, is set aside; "
        f"its key is {kept}"
    )


def forget_pending(directory: Path) -> None:
    """Remove what save_pending left. Raises CliError."""
    remove_files(directory / name for name in (PENDING_REQUEST, PENDING_KEY, PENDING_URI))


def _request_pem(pending: Pending) -> bytes:
    if isinstance(pending.key, TokenKey):
        return _request_by_token(pending.requested, pending.key)
    builder = x509.CertificateSigningRequestBuilder().subject_name(pending.requested.subject)
    if pending.requested.names:
        names = x509.SubjectAlternativeName(pending.requested.names)
        builder = builder.add_extension(names, critical=False)
    key = pending.key.key
    digest = isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey)
    signed = builder.sign(key, hashes.SHA256() if digest else None)
    return signed.public_bytes(Encoding.PEM)


def _request_by_token(requested: RequestedNames, key: TokenKey) -> bytes:
    info = request_info(subject=requested.subject, key=key.spki, names=requested.names)
    algorithm = signature_algorithm_for(key.facts)
    with token_errors():
        signature = key.signer.sign(info.der(), algorithm)
    der = assemble(info.der(), algorithm, signature, Limits())
    return x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)


def _names(request: CertRequest) -> tuple[x509.GeneralName, ...]:
    try:
        found = request.decoded.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(found.value)


def _type_of(key: NewKey | TokenKey) -> str:
    """Return the kind of a key as --key-type has it, in lower case."""
    return key.facts.name.lower().replace(" ", ":")


def _unusable(directory: Path, reason: str) -> CliError:
    return CliError(
        f"the request pending in {directory} cannot be used: {reason}",
        ExitCode.LOCAL,
        f"remove {_key_file(directory)} and {directory / PENDING_REQUEST}",
    )


def _key_file(directory: Path) -> Path:
    path = directory / PENDING_URI
    return path if path.exists() else directory / PENDING_KEY
