"""The client's machine: one thing asked for, over as many connections as it takes.

What can happen, in this order. The exchange asks for a connection (`ConnectRequested`); on its
channel a linked CSR is signed anew, with the same key (`SignatureRequested`); then the request is
sent (`SendRequest`). The answer ends it, or leads back: a challenge to the question for credentials
and a new request, a redirect to another connection, a 202 to `RetryLater` and the same again. A
connection that breaks leads to another one, where what was sent may be sent twice or was not sent.

The driver does what the last event says and tells what came of it; where the exchange stands is
one state of `client.tables`, and a call out of turn changes nothing. The exchange never sleeps,
tries credentials a bounded number of times and never sends them to a server that is not authorised.
Only a bootstrap goes on with such a server, sends it nothing, and ends in `TrustDecisionRequested`.
What an answer means is the operation's to say; the machine knows none by name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from cryptography import x509

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._instant import Entropy, Instant
from est_core.arguments import checked_throughout
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import CsrArgument
from est_core.channel import Channel, TlsVersion
from est_core.checks.identity import check_server
from est_core.client.answers import (
    check_expected,
    failure_of,
    not_provisionally,
    redirect_target,
    result_of,
    trust_question,
)
from est_core.client.http_auth import HttpAuth, sendable
from est_core.client.linked_csr import LinkedCsr
from est_core.client.session_settings import SessionSettings
from est_core.client.tables import CLIENT_TRANSITIONS, ClientInput, ClientState
from est_core.codec.retry import retry_at
from est_core.credentials import CodeCredentials, Login
from est_core.events import (
    CACertsReceived,
    ClientEvent,
    ClientResult,
    ConnectRequested,
    CredentialsRequested,
    Failed,
    RedirectRequested,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TrustDecisionRequested,
)
from est_core.model import (
    Challenged,
    NotAvailable,
    Pending,
    Redirected,
    Refused,
    Request,
    Response,
    Success,
)
from est_core.operations.definition import OperationDefinition
from est_core.uri import EstUri


@checked_throughout
class ClientExchange:
    """One request to a server, from the first connection to the result.

    Take events with `next_event` until it returns None; do what the last one asks; call the
    method it names. The last event is a ClientResult, kept in `result` too. A call out of turn
    raises LocalProtocolError and changes nothing. Nothing a server sends raises.
    """

    def __init__(
        self,
        session: SessionSettings,
        operation: OperationDefinition,
        csr: CsrArgument | None = None,
        csrattrs: CsrAttrs | None = None,
        algorithm: SignatureAlgorithm | None = None,
        *,
        code: CodeCredentials | None = None,
        payload: bytes = b"",
        item: str = "",
        bootstrap: bool = False,
    ) -> None:
        """Not for the public: the methods of ClientSession make exchanges."""
        self._payload, self._item = payload, item
        self.session = session
        self.operation = operation
        self.result: ClientResult | None = None
        self.resume_at: Instant | None = None
        self._csr: LinkedCsr | None = None
        if csr is not None:
            self._csr = LinkedCsr(csr, csrattrs, algorithm, session, code)
        self._uri = session.uri
        self._max_version = session.max_version
        self._http_auth = HttpAuth(
            session.credentials,
            session.uri,
            session.limits,
            session.nonce_counts,
            session.entropy,
        )
        self._provisional = bootstrap  # until a server proves to be authorised
        self._channel: Channel | None = None
        self._trust_question: TrustDecisionRequested | None = None
        self._refusal: Challenged | Redirected | None = None
        self._redirect: EstUri | None = None
        self._connects = self._redirects = 0
        self._repeated = False
        self._state = ClientState.IDLE
        self._events: deque[ClientEvent] = deque()
        self._connect()

    def __repr__(self) -> str:
        """Say which operation this is and where it stands."""
        return f"<ClientExchange {self.operation.name} {self._state.value}>"

    @property
    def channel(self) -> Channel | None:
        """The channel that was used last: by what certificates its server was verified, say."""
        return self._channel

    def next_event(self) -> ClientEvent | None:
        """Return the next event, or None until the driver has done what the last one asks."""
        return self._events.popleft() if self._events else None

    # What the driver tells

    def connected(self, channel: Channel) -> None:
        """Use this channel for what comes next; answer to ConnectRequested.

        The server is checked here (RFC 7030 3.6), and the binding is read here. A bootstrap goes
        on with a server that fails, and is no bootstrap any more with one that passes. Raises
        LocalProtocolError for a version above the one that was asked for.
        """
        self._expect(ClientState.CONNECTING)
        if self._max_version is not None and channel.version.is_above(self._max_version):
            raise LocalProtocolError(f"{channel.version.value} is more than was asked for")
        try:
            self._check_server(channel)
            self._channel = channel
            self._prepare(channel)
        except RemoteProtocolError as error:
            self._fail(error)

    def connect_failed(self, code: str, message: str) -> None:
        """No channel could be had; answer to ConnectRequested. Ends in Failed with this code.

        Or in "pop/no-binding", where a server has no TLS 1.2, which only linking wants.
        """
        self._expect(ClientState.CONNECTING)
        if code == "tls/version" and self._max_version is not self.session.max_version:
            code = "pop/no-binding"
            message = f"the request must be linked, which needs TLS 1.2 here: {message}"
        self._finish(Failed(code=code, message=message))

    def connection_lost(self, *, sent: bool) -> None:
        """The channel broke before an answer came; `sent` if any byte of the request had left.

        What was not sent is tried again on a new connection, and so is a GET, once: RFC 9110
        9.2.2. A POST that may have arrived is not, nor a bootstrap: the exchange ends in Failed
        "connection/lost".
        """
        self._expect(ClientState.SENT, ClientState.SIGNING)
        may_repeat = self._is_idempotent and not self._provisional and not self._repeated
        if self._state is ClientState.SIGNING or not sent or may_repeat:
            self._repeated = self._repeated or sent
            self._connect()
            return
        may_be = "" if self._is_idempotent else "; a certificate may be issued"
        message = f"the connection broke after the request was sent{may_be}"
        self._finish(Failed(code="connection/lost", message=message))

    def provide_signature(self, signature: bytes) -> None:
        """Attach the signature over the bytes asked for; answer to SignatureRequested.

        Raises LocalProtocolError for one that does not verify.
        """
        self._expect(ClientState.SIGNING)
        channel, csr = self._channel, self._csr
        if channel is None or csr is None:
            raise LocalProtocolError("no signature is wanted")
        self._send(channel, csr.signed(signature, channel))

    def receive_response(self, response: Response, now: Instant) -> None:
        """Take the server's answer. RFC 7030 4.1.3, 4.2.3, 4.5.2."""
        self._expect(ClientState.SENT)
        check_expected(response, self.operation)
        self._repeated = False
        if self._provisional and (refusal := not_provisionally(response)):
            self._finish(refusal)
            return
        match response:
            case Success() | NotAvailable():
                self._accept(response, now)
            case Pending():
                self._wait(response, now)
            case Challenged():
                self._challenged(response)
            case Redirected():
                self._redirected(response)
            case Refused():
                self._finish(failure_of(response))

    def receive_fault(self, error: RemoteProtocolError) -> None:
        """The answer could not be read; ends in Failed with the error's code."""
        self._expect(ClientState.SENT)
        self._fail(error)

    def provide_entropy(self, entropy: Entropy) -> None:
        """Use this source where the session has none. Digest cannot be answered without any."""
        self._http_auth.entropy = self._http_auth.entropy or entropy

    def provide_credentials(self, credentials: Login | None) -> None:
        """Use these from now on; answer to CredentialsRequested. None gives up.

        Ends in Failed for what answers none of the challenges: "auth/scheme-not-offered",
        "auth/unanswerable-challenge", "auth/no-entropy".
        """
        self._expect(ClientState.CHALLENGED)
        refusal = self._refusal if isinstance(self._refusal, Challenged) else None
        failed = self._http_auth.provide(sendable(credentials), refusal)
        if failed is None:
            self._connect()
        else:
            self._finish(failed)

    def provide_redirect(self, *, follow: bool) -> None:
        """Go to the other origin, or not; answer to RedirectRequested.

        Credentials do not go along, nor a code: the other origin has to ask for its own.
        """
        self._expect(ClientState.REDIRECTED)
        if not follow or self._redirect is None:
            self._refuse(
                "redirect/refused",
                f"the server points to {self._redirect}, which was not followed",
            )
            return
        self._uri = self._redirect
        self._http_auth.forget()
        if self._csr is not None:
            self._csr.forget_code()
        self._connect()

    def provide_trust(self, anchors: Iterable[x509.Certificate]) -> None:
        """Take these candidates as trust anchors; answer to TrustDecisionRequested.

        None of them ends in Failed "trust/refused". Raises LocalProtocolError for a certificate
        that is not among the candidates. Close the connection now: it is good for nothing else.
        """
        self._expect(ClientState.DECIDING_TRUST)
        kept, question = tuple(dict.fromkeys(anchors)), self._trust_question
        if question is None or not set(kept) <= set(question.candidates):
            raise LocalProtocolError("only a candidate can become a trust anchor")
        if not kept:
            self._refuse("trust/refused", "none of the server's CA certificates was accepted")
            return
        self._finish(question.accepted(kept))

    def handle_timeout(self, now: Instant) -> None:
        """Ask again once `resume_at` has come; answer to RetryLater. Before it, do nothing."""
        self._expect(ClientState.WAITING)
        if self.resume_at is not None and now.mono >= self.resume_at.mono:
            self._connects, self.resume_at = 0, None
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
                identity=None if self._provisional else self.session.identity,
                max_version=self._max_version,
                provisional=self._provisional,
                idempotent=self._is_idempotent,
            )
        )

    @property
    def _is_idempotent(self) -> bool:
        return self.operation.method == "GET"

    def _check_server(self, channel: Channel) -> None:
        """RFC 7030 3.6: "MAY perform bootstrapping [...] even if these checks fail"."""
        try:
            check_server(channel)
        except RemoteProtocolError:
            if not self._provisional:
                raise
        else:
            self._provisional = False

    def _prepare(self, channel: Channel) -> None:
        """Send at once, or have a CSR signed for this channel first. RFC 7030 3.5."""
        if self._csr is None:
            self._send(channel, self._payload)
        elif self._csr.needs_older_tls(channel):
            self._max_version = TlsVersion.TLS_1_2
            self._connect()
        elif isinstance(csr := self._csr.for_channel(channel), SignatureRequested):
            self._move(ClientInput.ASK_SIGNATURE)
            self._events.append(csr)
        else:
            self._send(channel, csr)

    def _send(self, channel: Channel, payload: bytes) -> None:
        self._move(ClientInput.SEND)
        operation, label = self.operation, self._uri.label
        credentials = None
        if not self._provisional:
            target = operation.http_path(None if label is None else label.text, self._item)
            credentials = self._http_auth.of_request(operation.method, target)
        request = Request(
            operation=operation,
            label=label,
            item=self._item,
            payload=payload,
            credentials=credentials,
        )
        self._events.append(SendRequest(request=request, uri=self._uri, channel=channel))

    # Answers

    def _accept(self, response: Success | NotAvailable, now: Instant) -> None:
        try:
            limits, strict = self.session.limits, not self.session.accept_changes
            result = result_of(response, self.operation, self._csr, now, limits, strict=strict)
            if self._provisional and isinstance(result, CACertsReceived):
                self._ask_trust(result)
            else:
                self._finish(result)
        except RemoteProtocolError as error:
            self._fail(error)

    def _ask_trust(self, received: CACertsReceived) -> None:
        self._trust_question = trust_question(received, self._uri, self._channel)
        self._move(ClientInput.ASK_TRUST)
        self._events.append(self._trust_question)

    def _wait(self, response: Pending, now: Instant) -> None:
        self.resume_at = retry_at(response.retry_after, now, self.session.limits)
        self._http_auth.forget_refusals()
        self._move(ClientInput.WAIT)
        self._events.append(RetryLater(at=self.resume_at))

    def _challenged(self, response: Challenged) -> None:
        self._refusal = response
        match self._http_auth.challenged(response, self._uri):
            case None:
                self._connect()
            case Failed() as failed:
                self._finish(failed)
            case CredentialsRequested() as question:
                self._move(ClientInput.ASK_CREDENTIALS)
                self._events.append(question)

    def _redirected(self, response: Redirected) -> None:
        """RFC 7030 3.2.1: same origin unasked, another one by consent, never off HTTPS."""
        self._refusal = response
        self._redirects += 1
        try:
            uri = redirect_target(response.location, self._uri, self.operation, self._item)
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
