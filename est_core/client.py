"""The client's side: one thing asked for, over as many connections as it takes.

A session belongs to a server's URI and a state of trust, not to a connection. An exchange asks
for a connection, for a signature, for credentials; the driver provides them and tells what
came of it. The exchange never sleeps, never sends credentials to a server that is not
authorised, and signs a linked CSR anew, with the same key, for every new channel.
"""

from __future__ import annotations

from collections import deque

from cryptography import x509

from est_core._answers import failure_of, redirect_target, result_of
from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core._oids import CHALLENGE_PASSWORD
from est_core._tables import CLIENT_TRANSITIONS, ClientInput, ClientState
from est_core.asn1.attributes import challenge_attribute
from est_core.asn1.csrattrs import LINKING, CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import (
    CertRequest,
    CertRequestInfo,
    assemble,
    parse_cert_request,
    signature_is_valid,
)
from est_core.channel import Channel, ChannelBinding, TlsVersion
from est_core.checks.identity import check_server
from est_core.checks.pop import PopMode, check_foreign, linking_text
from est_core.codec.retry import retry_at
from est_core.credentials import Credentials, MalformedCredentials
from est_core.enrollment import check_renewal_info, signing
from est_core.events import (
    ClientEvent,
    ClientResult,
    ConnectRequested,
    CredentialsRequested,
    CSRAttrsReceived,
    Failed,
    RedirectRequested,
    RetryLater,
    SendRequest,
    SignatureRequested,
)
from est_core.model import OPERATIONS, Operation, Outcome, Request, Response
from est_core.uri import EstUri


class ClientSession:
    """What a client wants of one server.

    `trust` holds the explicit trust anchors (empty: the driver's implicit ones), `identity` the
    certificate to show in handshakes. `credentials` are sent without waiting for a challenge,
    on authorised channels only; leave them out to be asked. `max_version` caps TLS.
    """

    def __init__(
        self,
        uri: EstUri,
        *,
        trust: tuple[x509.Certificate, ...] = (),
        identity: x509.Certificate | None = None,
        credentials: Credentials | None = None,
        pop: PopMode = PopMode.AUTO,
        max_version: TlsVersion | None = None,
        limits: Limits | None = None,
    ) -> None:
        _check_credentials(credentials)
        self.uri = uri
        self.trust = trust
        self.identity = identity
        self.credentials = credentials
        self.pop = pop
        self.max_version = max_version
        self.limits = limits or Limits()

    def cacerts(self) -> ClientExchange:
        """Return an exchange that ends in CACertsReceived. RFC 7030 4.1."""
        return ClientExchange(self, Operation.CACERTS)

    def csrattrs(self) -> ClientExchange:
        """Return an exchange that ends in CSRAttrsReceived. RFC 7030 4.5."""
        return ClientExchange(self, Operation.CSRATTRS)

    def enroll(
        self,
        csr: CertRequestInfo | CertRequest,
        *,
        csrattrs: CsrAttrs | None = None,
        algorithm: SignatureAlgorithm | None = None,
    ) -> ClientExchange:
        """Return an exchange that ends in Enrolled. RFC 7030 4.2.

        A CertRequestInfo is linked to the channel and signed when the exchange asks for it, with
        `algorithm` or one that fits the key. A CertRequest is sent as it is: where it would have
        to be linked and is not, the exchange fails as "pop/cannot-relink". `csrattrs` is what
        the server asked for. Raises LocalProtocolError for a key that cannot be used so.
        """
        return ClientExchange(self, Operation.SIMPLEENROLL, csr, csrattrs, algorithm)

    def reenroll(
        self,
        csr: CertRequestInfo | CertRequest,
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
        check_renewal_info(csr, self.identity, self.limits)
        return ClientExchange(self, Operation.SIMPLEREENROLL, csr, csrattrs, algorithm)


class ClientExchange:
    """One request to a server, from the first connection to the result.

    Take events with `next_event` until it returns None; do what the last one asks; call the
    method it names. The last event is a ClientResult, kept in `result` too. A call out of turn
    raises LocalProtocolError and changes nothing. Nothing a server sends raises.
    """

    def __init__(
        self,
        session: ClientSession,
        operation: Operation,
        csr: CertRequestInfo | CertRequest | None = None,
        csrattrs: CsrAttrs | None = None,
        algorithm: SignatureAlgorithm | None = None,
    ) -> None:
        """Not for the public: the methods of ClientSession make exchanges."""
        self.session = session
        self.operation = operation
        self.result: ClientResult | None = None
        self.resume_at: Instant | None = None
        self._csr = csr
        self._spki = b"" if csr is None else csr.spki
        self._algorithm = algorithm
        if isinstance(csr, CertRequestInfo):
            self._spki, self._algorithm = signing(csr, algorithm, session.limits)
        self._must_link = csr is not None and (
            session.pop is PopMode.ALWAYS
            or (session.pop is PopMode.AUTO and csrattrs is not None and csrattrs.requires_linking)
        )
        self._linking_attribute = (
            csrattrs and csrattrs.linking_attribute
        ) or CHALLENGE_PASSWORD  # RFC 7894 4: estIdentityLinking alone where it is listed
        self._uri = session.uri
        self._max_version = session.max_version
        self._credentials = session.credentials
        self._channel: Channel | None = None
        self._signed: tuple[ChannelBinding | None, bytes] | None = None
        self._tbs = b""
        self._refusal: Response | None = None
        self._redirect: EstUri | None = None
        self._refusals = 0
        self._connects = 0
        self._redirects = 0
        self._state = ClientState.IDLE
        self._events: deque[ClientEvent] = deque()
        self._connect()

    def __repr__(self) -> str:
        """Say which operation this is and where it stands; no more."""
        return f"<ClientExchange {self.operation.value} {self._state.value}>"

    def next_event(self) -> ClientEvent | None:
        """Return the next event, or None until the driver has done what the last one asks."""
        return self._events.popleft() if self._events else None

    # What the driver tells

    def connected(self, channel: Channel) -> None:
        """Use this channel for what comes next; answer to ConnectRequested.

        The server is checked here (RFC 7030 3.6), and the binding is read here. Raises
        LocalProtocolError for a version above the one that was asked for.
        """
        self._expect(ClientState.CONNECTING)
        if self._max_version is not None and channel.version.is_above(self._max_version):
            raise LocalProtocolError(f"{channel.version.value} is more than was asked for")
        try:
            check_server(channel)
            self._channel = channel
            self._prepare(channel)
        except RemoteProtocolError as error:
            self._fail(error)

    def connect_failed(self, code: str, message: str) -> None:
        """No channel could be had; answer to ConnectRequested. Ends in Failed with this code."""
        self._expect(ClientState.CONNECTING)
        self._finish(Failed(code=code, message=message))

    def connection_lost(self, *, sent: bool) -> None:
        """The channel broke before an answer came; `sent` if any byte of the request had left.

        What was not sent, and a GET, is tried again on a new connection. A POST that may have
        arrived is not: the exchange ends in Failed "connection/lost".
        """
        self._expect(ClientState.SENT, ClientState.SIGNING)
        signing = self._state is ClientState.SIGNING
        if signing or not sent or OPERATIONS[self.operation].method == "GET":
            self._connect()
            return
        message = "the connection broke after the request was sent; a certificate may be issued"
        self._finish(Failed(code="connection/lost", message=message))

    def provide_signature(self, signature: bytes) -> None:
        """Attach the signature over the bytes asked for; answer to SignatureRequested.

        Raises LocalProtocolError for one that does not verify.
        """
        self._expect(ClientState.SIGNING)
        channel, algorithm = self._channel, self._algorithm
        if channel is None or algorithm is None:
            raise LocalProtocolError("no signature is wanted")
        limits = self.session.limits
        try:
            der = assemble(self._tbs, algorithm, signature, limits)
            valid = signature_is_valid(parse_cert_request(der, limits))
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"the CSR is not valid: {error.message}") from error
        if not valid:
            raise LocalProtocolError("the signature does not verify with the CSR's key")
        self._signed = (self._wanted_binding(channel), der)
        self._send(channel, der)

    def receive_response(self, response: Response, now: Instant) -> None:
        """Take the server's answer. RFC 7030 4.1.3, 4.2.3, 4.5.2."""
        self._expect(ClientState.SENT)
        if response.operation is not self.operation:
            raise LocalProtocolError("the response is for another operation")
        if response.outcome not in OPERATIONS[self.operation].outcomes | {Outcome.REDIRECT}:
            raise LocalProtocolError(f"{self.operation.value} has no {response.outcome.value}")
        match response.outcome:
            case Outcome.OK:
                self._accept(response)
            case Outcome.NOT_AVAILABLE:
                self._finish(CSRAttrsReceived(csrattrs=None))
            case Outcome.PENDING:
                self._wait(response, now)
            case Outcome.CHALLENGE:
                self._challenged(response)
            case Outcome.REDIRECT:
                self._redirected(response)
            case Outcome.DENIED | Outcome.FAULT:
                self._finish(failure_of(response))

    def receive_fault(self, error: RemoteProtocolError) -> None:
        """The answer could not be read; ends in Failed with the error's code."""
        self._expect(ClientState.SENT)
        self._fail(error)

    def provide_credentials(self, credentials: Credentials | None) -> None:
        """Use these from now on; answer to CredentialsRequested. None gives up."""
        self._expect(ClientState.CHALLENGED)
        _check_credentials(credentials)
        if credentials is None:
            self._refuse(
                "auth/no-credentials", "the server wants credentials and there are none to give"
            )
            return
        self._credentials = credentials
        self._connect()

    def provide_redirect(self, *, follow: bool) -> None:
        """Go to the other origin, or not; answer to RedirectRequested.

        Credentials do not go along: the other origin has to ask for its own.
        """
        self._expect(ClientState.REDIRECTED)
        if not follow or self._redirect is None:
            self._refuse(
                "redirect/refused",
                f"the server points to {self._redirect}, which was not followed",
            )
            return
        self._uri, self._credentials = self._redirect, None
        self._connect()

    def handle_timeout(self, now: Instant) -> None:
        """Ask again once `resume_at` has come; answer to RetryLater. Before it, do nothing."""
        self._expect(ClientState.WAITING)
        if self.resume_at is not None and now.mono >= self.resume_at.mono:
            self._connects = 0
            self._connect()

    # Steps

    def _expect(self, *states: ClientState) -> None:
        if self._state not in states:
            raise LocalProtocolError(f"out of turn while {self._state.value}")
        if self._events:
            raise LocalProtocolError("take the events first")

    def _move(self, cause: ClientInput) -> None:
        try:
            self._state = CLIENT_TRANSITIONS[self._state, cause]
        except KeyError:
            raise LocalProtocolError(f"no {cause.value} while {self._state.value}") from None

    def _finish(self, result: ClientResult) -> None:
        self._move(ClientInput.FINISH)
        self.result = result
        self._events.append(result)

    def _fail(self, error: RemoteProtocolError) -> None:
        self._finish(Failed(code=error.code, message=error.message))

    def _connect(self) -> None:
        self._connects += 1
        if self._connects > self.session.limits.connects:
            message = f"{self.session.limits.connects} connections led to no answer"
            self._finish(Failed(code="connection/too-many", message=message))
            return
        self._move(ClientInput.CONNECT)
        self._events.append(
            ConnectRequested(
                uri=self._uri,
                trust=self.session.trust,
                identity=self.session.identity,
                max_version=self._max_version,
            )
        )

    def _prepare(self, channel: Channel) -> None:
        """Send at once, or have a CSR signed for this channel first. RFC 7030 3.5."""
        csr = self._csr
        if csr is None:
            self._send(channel, b"")
        elif self._must_link and channel.binding is None:
            self._find_binding(channel)
        elif isinstance(csr, CertRequest):
            check_foreign(csr, channel, self.session.limits, required=self._must_link)
            self._send(channel, csr.der)
        elif self._signed is not None and self._signed[0] == self._wanted_binding(channel):
            self._send(channel, self._signed[1])
        else:
            self._ask_signature(csr, channel)

    def _ask_signature(self, info: CertRequestInfo, channel: Channel) -> None:
        for oid in LINKING:  # of another channel, if it is there
            info = info.without_attribute(oid)
        if (binding := self._wanted_binding(channel)) is not None:
            text = linking_text(binding)
            info = info.with_attribute(challenge_attribute(self._linking_attribute, text))
        if self._algorithm is None:
            raise LocalProtocolError("a CSR to be signed has an algorithm")
        self._tbs = info.der()
        self._move(ClientInput.ASK_SIGNATURE)
        self._events.append(SignatureRequested(tbs=self._tbs, algorithm=self._algorithm))

    def _find_binding(self, channel: Channel) -> None:
        """TLS 1.3 has no binding that EST names: go down to 1.2, which has one."""
        if channel.version is not TlsVersion.TLS_1_3:
            raise RemoteProtocolError(
                "pop/no-binding",
                "proof of possession must be linked, and this connection has no channel binding",
                Fault.FORBIDDEN,
            )
        self._max_version = TlsVersion.TLS_1_2
        self._connect()

    def _wanted_binding(self, channel: Channel) -> ChannelBinding | None:
        return None if self.session.pop is PopMode.NEVER else channel.binding

    def _send(self, channel: Channel, payload: bytes) -> None:
        self._move(ClientInput.SEND)
        request = Request(
            operation=self.operation,
            label=self._uri.label,
            payload=payload,
            credentials=self._credentials,
        )
        self._events.append(SendRequest(request=request, uri=self._uri, channel=channel))

    # Answers

    def _accept(self, response: Response) -> None:
        try:
            result = result_of(response, self.operation, self._spki, self.session.limits)
        except RemoteProtocolError as error:
            self._fail(error)
        else:
            self._finish(result)

    def _wait(self, response: Response, now: Instant) -> None:
        self.resume_at = retry_at(response.retry_after, now, self.session.limits)
        self._refusals = 0  # they were good; a Digest nonce will have expired by then
        self._move(ClientInput.WAIT)
        self._events.append(RetryLater(at=self.resume_at))

    def _challenged(self, response: Response) -> None:
        self._refusal = response
        if self._credentials is not None:
            self._refusals += 1
        if not response.challenges:
            self._refuse("auth/no-challenge", "the server wants credentials of no known kind")
        elif self._refusals >= self.session.limits.credential_tries:
            self._refuse("auth/refused", "the server refuses the credentials")
        else:
            self._move(ClientInput.ASK_CREDENTIALS)
            self._events.append(
                CredentialsRequested(
                    uri=self._uri, challenges=response.challenges, attempt=self._refusals + 1
                )
            )

    def _redirected(self, response: Response) -> None:
        """RFC 7030 3.2.1: same origin unasked, another one by consent, never off HTTPS."""
        self._refusal = response
        self._redirects += 1
        try:
            uri = redirect_target(response.location, self._uri, self.operation)
        except RemoteProtocolError as error:
            self._refuse(error.code, error.message)
            return
        if self._redirects > self.session.limits.redirects:
            self._refuse("redirect/too-many", "too many redirects")
        elif uri.origin == self._uri.origin:
            self._uri = uri
            self._connect()
        else:
            self._redirect = uri
            self._move(ClientInput.ASK_REDIRECT)
            self._events.append(RedirectRequested(uri=uri))

    def _refuse(self, code: str, message: str) -> None:
        self._finish(Failed(code=code, message=message, response=self._refusal))


def _check_credentials(credentials: Credentials | None) -> None:
    if isinstance(credentials, MalformedCredentials):
        raise LocalProtocolError("malformed credentials are for reading only")
