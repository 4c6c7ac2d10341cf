"""One command's conversation with a server: exchanges on one connection, failures as CliErrors."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from cryptography import x509

from est_core import (
    CACERTS,
    CSRATTRS,
    RENEWAL_INFO,
    CACertsReceived,
    ClientExchange,
    ClientResult,
    ClientSession,
    CSRAttrsReceived,
    Enrolled,
    Failed,
    LocalProtocolError,
    Operation,
    RenewalInfoReceived,
    RetryLater,
    TrustDecisionRequested,
)
from est_core.asn1.certificates import UnreadableCertificate
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo
from est_core.wires.coapmap import CoapPaths
from est_transports import _clock
from est_transports.cli.client.failures import DOING, exit_code_of, failure
from est_transports.cli.client.target import Target
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.output import warn
from est_transports.client_config import ClientConfig
from est_transports.on_sockets.client import Client
from est_transports.pki.signers import LateSigner, Signer, SignerError
from est_transports.pki.trust import TrustAnchors

MAX_WAIT_S: Final = 30 * 24 * 3600.0


def refuse_all(_question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
    """Trust nobody: what a client does that has no fingerprint."""
    return ()


def _decides(
    target: Target,
) -> Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]]:
    """Return what says which CA certificates to trust, of those of an unverified server."""
    if not target.is_to_be_confirmed:
        return target.fingerprint or refuse_all
    from est_transports.cli.client.confirmation import ask_person  # seldom needed

    return ask_person


def warn_of_left_out(result: ClientResult | RetryLater) -> None:
    """Warn of each certificate of an answer that cannot be read."""
    anchor = "; it may be a trust anchor" if isinstance(result, CACertsReceived) else ""
    if isinstance(result, CACertsReceived | Enrolled):
        for each in result.left_out:
            warn(f"left out of the server's answer: {each.text}{anchor}")


class EnrollmentFailedError(CliError):
    """An enrollment failed; `may_be_issued` if a certificate may exist all the same.

    `left_out` are certificates that came and cannot be read.
    """

    def __init__(
        self,
        error: CliError,
        *,
        may_be_issued: bool,
        left_out: tuple[UnreadableCertificate, ...] = (),
    ) -> None:
        super().__init__(
            error.message,
            error.code,
            error.hint,
            error_code=error.error_code,
            server_code=error.server_code,
            refusal=error.refusal,
        )
        self.may_be_issued = may_be_issued
        self.left_out = left_out


class Conversation:
    """Asks one server for things, in a `with` statement.

    Its methods raise CliError for whatever the server or the network does. Without `logs_in` it
    sends nothing unasked to log in with. What was passed over
    is warned of at the end, unless the enrollment failed for the same reason.
    """

    def __init__(self, target: Target, *, logs_in: bool = True) -> None:
        self.target = target
        self._signer = LateSigner()
        self._passed_over: list[tuple[Failed, CliError]] = []
        self._session = ClientSession(
            target.uri,
            trust=target.trust,
            identity=target.identity.certificate if target.identity else None,
            credentials=target.login.unasked() if logs_in else None,
            pop=target.pop,
            link_with=target.link_with,
            max_version=target.max_version,
        )
        self._client = Client(
            ClientConfig(
                implicit=TrustAnchors(implicit=target.implicit, revocation=target.revocation),
                identities=(target.identity,) if target.identity else (),
                signer=self._signer,
                credentials=target.login,
                trust=_decides(target),
                tls_exporter=target.tls_exporter,
                srp=target.srp,
                coap_root=target.coap_paths.root,
                coap_discovery=target.coap_paths.discover,
                discovered=self._report_discovered,
                timeouts=target.timeouts,
                proxy=target.proxy,
                clock_floor=target.clock_floor,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._client.close()
        for _, error in self._passed_over:
            warn(error.text)

    def ca_certs(self) -> tuple[x509.Certificate, ...]:
        """Return the CA certificates in the server's order. RFC 7030 4.1."""
        return self.ca_certs_and_chain()[0]

    def ca_certs_and_chain(
        self,
    ) -> tuple[tuple[x509.Certificate, ...], tuple[x509.Certificate, ...]]:
        """Return the CA certificates, and those by which the server was verified, its own first."""
        exchange = self._session.cacerts()
        result = self._run(exchange)
        if not isinstance(result, CACertsReceived):
            raise self._unexpected(result, CACERTS)
        shown = () if exchange.channel is None else exchange.channel.peer_chain
        return result.certificates, shown

    def bootstrap(self) -> CACertsReceived:
        """Return the CA certificates, and of them as `trusted` those that were accepted.

        The server is not verified, and its connection is good for nothing else. RFC 7030 4.1.1.
        """
        result = self._run(self._session.cacerts(bootstrap=True))
        if not isinstance(result, CACertsReceived) or not result.trusted:
            raise self._unexpected(result, CACERTS)
        return result

    def csr_attrs(self) -> CsrAttrs | None:
        """Return the CSR attributes, None where the server has none. RFC 7030 4.5.

        A 404 says that there are none only where there are CA certificates.
        """
        result = self._run(self._session.csrattrs())
        if not isinstance(result, CSRAttrsReceived):
            raise self._unexpected(result, CSRATTRS)
        if result.not_found:
            self._check_found()
        return result.csrattrs

    def _check_found(self) -> None:
        """Raise CliError if the server's 404 meant that there is no EST at this URL."""
        result = self._run(self._session.cacerts())
        if isinstance(result, Failed) and result.response and result.response.status == 404:
            raise self._unexpected(result, CSRATTRS)

    def renewal_info(self, certificate: x509.Certificate) -> RenewalInfoReceived:
        """Return when the server suggests to renew a certificate."""
        try:
            exchange = self._session.renewal_info(certificate, now=_clock.instant())
        except LocalProtocolError as exc:
            raise CliError(f"{DOING[RENEWAL_INFO]}: {exc.message}", ExitCode.LOCAL) from exc
        result = self._run(exchange)
        if not isinstance(result, RenewalInfoReceived):
            raise self._unexpected(result, RENEWAL_INFO)
        return result

    def ca_certs_if_any(self) -> tuple[x509.Certificate, ...]:
        """Return the CA certificates; a server that has none to give gets a warning."""
        result = self._run(self._session.cacerts())
        if isinstance(result, CACertsReceived):
            return result.certificates
        self._pass_over(result, CACERTS)
        return ()

    def csr_attrs_if_any(self) -> CsrAttrs | None:
        """Return the CSR attributes; a server that fails to give them gets a warning.

        RFC 8951 4: errors need not block enrollment. Where the network failed, enrollment would
        too, and CliError is raised.
        """
        result = self._run(self._session.csrattrs())
        if isinstance(result, CSRAttrsReceived):
            return result.csrattrs
        self._pass_over(result, CSRATTRS)
        return None

    def enroll(
        self,
        csr: CertRequestInfo | CertRequest,
        *,
        key: Signer | None,
        csrattrs: CsrAttrs | None,
        algorithm: SignatureAlgorithm | None,
        renew: bool = False,
        wait_s: float = 0.0,
    ) -> Enrolled | RetryLater:
        """Return the certificate, or when to ask again if that is more than `wait_s` away.

        Raises EnrollmentFailedError. RFC 7030 4.2.
        """
        self._signer.signer = key
        exchange = self._enrollment(csr, csrattrs, algorithm, renew=renew)
        result = self._run(exchange, wait_s)
        if isinstance(result, Enrolled | RetryLater):
            return result
        error = self._unexpected(result, exchange.operation)
        maybe = False
        left_out: tuple[UnreadableCertificate, ...] = ()
        if isinstance(result, Failed):
            self._forget(result)
            maybe, left_out = result.may_be_issued, result.left_out
        raise EnrollmentFailedError(error, may_be_issued=maybe, left_out=left_out)

    def _enrollment(
        self,
        csr: CertRequestInfo | CertRequest,
        csrattrs: CsrAttrs | None,
        algorithm: SignatureAlgorithm | None,
        *,
        renew: bool,
    ) -> ClientExchange:
        if renew:
            return self._session.reenroll(csr, csrattrs=csrattrs, algorithm=algorithm)
        code = self.target.code
        try:
            return self._session.enroll(csr, csrattrs=csrattrs, algorithm=algorithm, code=code)
        except LocalProtocolError as exc:
            if code is None:
                raise
            raise CliError(
                f"--code: {exc.message}", ExitCode.USAGE, "nothing was sent; try another --code-in"
            ) from exc

    def _run(self, exchange: ClientExchange, wait_s: float = 0.0) -> ClientResult | RetryLater:
        try:
            result = self._client.run(exchange, wait_s=wait_s)
            warn_of_left_out(result)
            return result
        except LocalProtocolError as exc:
            # Ours, not the server's: a key or a certificate that TLS cannot use, say.
            doing = DOING[exchange.operation]
            raise CliError(f"{doing}: {exc.message}", ExitCode.LOCAL) from exc
        except SignerError as exc:
            # Of the request that was to be signed nothing has been sent.
            from est_transports.cli.client.token_keys import signing_error

            raise signing_error(DOING[exchange.operation], exc) from exc

    def _unexpected(self, result: ClientResult | RetryLater, operation: Operation) -> CliError:
        if isinstance(result, Failed):
            return failure(result, operation, self.target)
        raise TypeError(f"{operation.name} ended in {type(result).__name__}")

    def _report_discovered(self, paths: CoapPaths) -> None:
        """Say where the server has its EST, for a list has sent us there."""
        found = (paths.root, *paths.others.values())
        places = ", ".join(dict.fromkeys("/" + "/".join(path) for path in found))
        warn(f"{self.target.uri}: the server's list of resources says that EST is at {places}")

    def _forget(self, told: Failed) -> None:
        """Do not warn of what is told anyway."""
        self._passed_over = [
            (failed, error)
            for failed, error in self._passed_over
            if (failed.code, failed.message) != (told.code, told.message)
        ]

    def _pass_over(self, result: ClientResult | RetryLater, operation: Operation) -> None:
        error = self._unexpected(result, operation)
        if not isinstance(result, Failed) or exit_code_of(result.code) is ExitCode.NETWORK:
            raise error
        self._passed_over.append((result, error))
