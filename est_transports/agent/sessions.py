"""How an agent talks to a certificate's EST server: whom it trusts there, and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core import (
    BearerCredentials,
    ClientSession,
    CodeCredentials,
    CredentialsRequested,
    LocalProtocolError,
    Login,
    Password,
)
from est_core.values import unchecked_value_class
from est_transports.agent.errors import AgentError
from est_transports.agent.settings import CertificateSettings, Credentials
from est_transports.client_config import ClientConfig
from est_transports.pairs.values import KeyReference, Pair
from est_transports.pki.signers import LateSigner
from est_transports.pki.trust import (
    CredentialFileError,
    TlsIdentity,
    by_fingerprint,
    load_identity,
    load_pem_certificates,
)

_SECRET_MAX_BYTES: Final = 7 * 1024
FILE: Final = "agent/file"
"""A file that est-agent.toml names cannot be used."""


@unchecked_value_class
class Access:
    """A session with a server, and the configuration of the client that runs its exchanges.

    The key to sign with is given to `signer` once it is made. `code` goes into the request.
    """

    session: ClientSession
    config: ClientConfig
    signer: LateSigner
    code: CodeCredentials | None = None


def bootstrap_access(settings: CertificateSettings) -> Access:
    """Return access to a server of which nothing but a fingerprint is known. RFC 7030 4.1.1."""
    trust = by_fingerprint(settings.fingerprint or "")
    config = ClientConfig(
        trust=trust,
        timeouts=settings.timeouts,
        proxy=settings.proxy,
        clock_floor=settings.clock_floor,
    )
    return Access(session=ClientSession(settings.uri), config=config, signer=LateSigner())


def renewing_access(
    settings: CertificateSettings,
    anchors: tuple[x509.Certificate, ...],
    identity: TlsIdentity,
    *,
    logs_in: bool = False,
) -> Access:
    """Return access with a certificate of the CA, and nothing else. RFC 7030 3.3.2.

    With `logs_in` a server that asks for more gets the login as well. Raises AgentError only then.
    """
    login = _login(settings.credentials)[0] if logs_in else None
    return _access(settings, anchors, identity, login, None)


def access_of(settings: CertificateSettings, running: Pair) -> Access:
    """Return access for questions about a certificate that is there, with it if TLS can show it."""
    if isinstance(running.key, KeyReference):
        return _access(settings, running.anchors, None, None, None)
    return renewing_access(settings, running.anchors, running.identity())


def enrolling_access(
    settings: CertificateSettings, anchors: tuple[x509.Certificate, ...]
) -> Access:
    """Return access with what a device has that has no certificate yet. Raises AgentError."""
    given = settings.credentials
    identity = None
    if given.certificate_file is not None and given.key_file is not None:
        try:
            identity = load_identity(given.certificate_file, given.key_file)
        except CredentialFileError as exc:
            raise AgentError(FILE, str(exc)) from exc
    login, code = _login(given)
    return _access(settings, anchors, identity, login, code)


def anchors_in(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the trust anchors of a file. Raises AgentError."""
    try:
        return load_pem_certificates(path)
    except CredentialFileError as exc:
        raise AgentError(FILE, str(exc)) from exc


def _access(
    settings: CertificateSettings,
    anchors: tuple[x509.Certificate, ...],
    identity: TlsIdentity | None,
    login: Login | None,
    code: CodeCredentials | None,
) -> Access:
    signer = LateSigner()
    session = ClientSession(
        settings.uri,
        trust=anchors,
        identity=None if identity is None else identity.certificate,
        pop=settings.pop,
    )
    config = ClientConfig(
        identities=() if identity is None else (identity,),
        signer=signer,
        credentials=_answering(login, settings),
        tls_exporter=settings.tls_exporter,
        timeouts=settings.timeouts,
        proxy=settings.proxy,
        clock_floor=floor_of(settings, None if identity is None else identity.certificate),
    )
    return Access(session=session, config=config, signer=signer, code=code)


def floor_of(
    settings: CertificateSettings, certificate: x509.Certificate | None
) -> datetime | None:
    """Return a moment that has passed for certain: a certificate that we have was issued by then.

    Not when we last looked at the clock: that was wrong if the clock was.
    """
    begin = None if certificate is None else certificate.not_valid_before_utc
    return max((each for each in (settings.clock_floor, begin) if each is not None), default=None)


def _answering(
    login: Login | None, settings: CertificateSettings
) -> Callable[[CredentialsRequested], Login | None]:
    """Return what answers a challenge of this server, once: what it refused, it refuses again."""

    def answer(question: CredentialsRequested) -> Login | None:
        is_ours = question.uri.origin == settings.uri.origin and question.attempt == 1
        return login if is_ours else None

    return answer


def _login(given: Credentials) -> tuple[Login | None, CodeCredentials | None]:
    """Return what answers challenges, and what goes into the request."""
    try:
        if given.password_file is not None:
            return Password(user=given.user, password=_secret(given.password_file)), None
        if given.token_file is not None:
            return BearerCredentials(token=_secret(given.token_file)), None
        if given.code_file is None:
            return None, None
        code = _secret(given.code_file)
        if given.code_in is not None:
            return None, CodeCredentials(code=code, source=given.code_in)
        return Password(user=given.user, password=code, basic_only=True), None
    except LocalProtocolError as exc:
        raise AgentError(FILE, f"what a device logs in with: {exc.message}") from exc


def _secret(path: Path) -> str:
    """Return the one line of a file. Raises AgentError, which never quotes it."""
    try:
        with path.open("rb") as file:
            raw = file.read(_SECRET_MAX_BYTES + 1)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    lines = raw.strip().splitlines()
    if len(lines) != 1 or len(raw) > _SECRET_MAX_BYTES:
        raise AgentError(FILE, f"{path}: holds one line of at most {_SECRET_MAX_BYTES} bytes")
    try:
        return lines[0].decode("utf-8")
    except UnicodeDecodeError:
        raise AgentError(FILE, f"{path}: is not UTF-8 text") from None


def _unreadable(path: Path, error: OSError) -> AgentError:
    return AgentError(FILE, f"{error.filename or path}: {error.strerror}")
