"""What a client asks of one server, by operation: each makes an exchange.

A session belongs to a server's URI and a state of trust, not to a connection.
"""

from __future__ import annotations

from cryptography import x509

from est_core._errors import LocalProtocolError
from est_core._instant import Instant
from est_core.arguments import checked_throughout
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import CsrArgument
from est_core.client.enrollment import check_renewal_request
from est_core.client.exchange import ClientExchange
from est_core.client.session_settings import SessionSettings
from est_core.credentials import CodeCredentials
from est_core.operation import NotOnWire, Operation
from est_core.operations.cacerts import CACERTS
from est_core.operations.csrattrs import CSRATTRS
from est_core.operations.definition import defined
from est_core.operations.renewal_info import RENEWAL_INFO, renewal_item
from est_core.operations.simpleenroll import SIMPLEENROLL
from est_core.operations.simplereenroll import SIMPLEREENROLL


@checked_throughout
class ClientSession(SessionSettings):
    """What a client wants of one server: see `SessionSettings` for what it is made with."""

    def cacerts(self, *, bootstrap: bool = False) -> ClientExchange:
        """Return an exchange that ends in CACertsReceived. RFC 7030 4.1.

        With `bootstrap` the server need not verify. What comes from one that does not is only good
        for TrustDecisionRequested, to be answered by out-of-band knowledge (RFC 7030 4.1.1). It
        sees no credentials and no certificate, and its redirects are not followed.
        Raises LocalProtocolError for `bootstrap` with trust anchors, and over CoAP (RFC 9148 3).
        """
        if bootstrap and (self.trust or self.uri.scheme == "coaps"):
            raise LocalProtocolError("only HTTPS without explicit trust anchors has a bootstrap")
        return ClientExchange(self, CACERTS, bootstrap=bootstrap)

    def csrattrs(self) -> ClientExchange:
        """Return an exchange that ends in CSRAttrsReceived. RFC 7030 4.5."""
        return ClientExchange(self, CSRATTRS)

    def renewal_info(
        self, certificate: x509.Certificate, *, now: Instant | None = None
    ) -> ClientExchange:
        """Return an exchange that ends in RenewalInfoReceived: when to renew that certificate.

        Ask for the one in use, and for none that was replaced. Raises LocalProtocolError for one
        that has expired at `now`, where that is given, and for one that does not say by which key
        it was issued. draft-ietf-lamps-est-renewal-info-00 4.1.
        """
        if now is not None and now.wall > certificate.not_valid_after_utc:
            raise LocalProtocolError("the certificate has expired: there is nothing to ask about")
        return self.ask(RENEWAL_INFO, item=renewal_item(certificate))

    def enroll(
        self,
        csr: CsrArgument,
        *,
        csrattrs: CsrAttrs | None = None,
        algorithm: SignatureAlgorithm | None = None,
        code: CodeCredentials | None = None,
    ) -> ClientExchange:
        """Return an exchange that ends in Enrolled. RFC 7030 4.2.

        A CertRequestInfo is linked to the channel and signed when the exchange asks for it, with
        `algorithm` or one that fits the key. A request that is signed is sent as it is: where it
        would have to be linked and is not, the exchange fails as "pop/cannot-relink". `csrattrs` is
        what the server asked for. Raises LocalProtocolError for a key that cannot be used so.

        `code` is a one-time code for an attribute of the CSR. In challengePassword it stands where
        linking would: then the request is linked by estIdentityLinking if `csrattrs` lists that,
        else not at all. LocalProtocolError for that with PopMode.ALWAYS, and for a code with a
        request that is signed.
        """
        return ClientExchange(self, SIMPLEENROLL, csr, csrattrs, algorithm, code=code)

    def reenroll(
        self,
        csr: CsrArgument,
        *,
        csrattrs: CsrAttrs | None = None,
        algorithm: SignatureAlgorithm | None = None,
    ) -> ClientExchange:
        """Return an exchange that renews `identity`, as `enroll` otherwise. RFC 7030 4.2.2.

        Raises LocalProtocolError where the session has no identity to renew, and where the CSR
        does not repeat its subject and subjectAltName, unless it asks for the change with
        ChangeSubjectName.
        """
        if self.identity is None:
            raise LocalProtocolError("a session without identity has nothing to renew")
        check_renewal_request(csr, self.identity, self.limits)
        return ClientExchange(self, SIMPLEREENROLL, csr, csrattrs, algorithm)

    def ask(self, operation: Operation, payload: bytes = b"", *, item: str = "") -> ClientExchange:
        """Return an exchange of any operation that takes no CSR; it ends in what `read` gives.

        `payload` is the body, in DER, of one that has a body, and `item` what it is about, of one
        whose path says that. Raises LocalProtocolError for an enrollment, for a body or an item
        where none belongs, none where one does, and an operation that the server's wire has not, or
        that has facts only.
        """
        if operation.is_enrollment:
            raise LocalProtocolError(f"{operation.name} takes a CSR")
        if operation.has_body != bool(payload):
            raise LocalProtocolError(f"{operation.name}: a POST has a payload, and a GET none")
        operation.check_item(item)
        place = operation.coap if self.uri.scheme == "coaps" else operation.http
        if isinstance(place, NotOnWire):
            wire = f"the wire of {self.uri.scheme}"
            raise LocalProtocolError(f"{operation.name} is not on {wire}: {place.reason}")
        return ClientExchange(self, defined(operation), payload=payload, item=item)
