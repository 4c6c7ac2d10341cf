"""EST as a resource of an aiocoap Site, for programs that run an aiocoap Context already.

aiocoap does messages, blocks and retransmission, and whoever provides DTLS tells what it knows of
the client; the rest is as in the servers of our own::

    def channel_of(remote: EndpointAddress) -> Channel | None:
        association = associations.get(remote)  # the embedder's; None: nobody knows this client
        return None if association is None else association.channel

    async def main() -> None:
        site = aiocoap.resource.Site()
        est = EstResource(
            policy=default_policy(), application=application, channel_of=channel_of
        )
        site.add_resource([".well-known", "est"], est)
        site.add_resource(
            [".well-known", "core"],
            aiocoap.resource.WKCResource(site.get_resources_as_linkheader),
        )
        context = await aiocoap.Context.create_server_context(site)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await context.shutdown()
            est.close()

Use `coap_server` where there is a choice. What aiocoap 0.4.17 does is not ours to change:

* Its own DTLS knows pre-shared keys only, which EST does not; without another one every client
  is refused. A cap on associations, and an end to idle ones, are that other one's work too.
* Blocks of requests, finished ones too, and answers sent in blocks, are kept for 93 to 186
  seconds, in any number. Here a body is bounded while its blocks come in, nothing is assembled
  that its head refuses, and nothing in blocks for a client that no trust anchor verified.
* Remotes stay in memory for 247 seconds after their last message, with what hangs on them; a
  remote's `hash` and `blockwise_key` must differ from association to association.
* Unknown options and Content-Formats are noted for the life of the process, one by one.
* An empty acknowledgement goes out after 0.1 seconds already; libcoap 4.3.1 as a client loses a
  long answer that comes separately after a GET.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from aiocoap import NON, Message
from aiocoap.error import RequestEntityIncomplete
from aiocoap.interfaces import EndpointAddress
from aiocoap.pipe import Pipe
from aiocoap.resource import PathCapable, Resource
from aiocoap.util.linkformat import Link, LinkFormat, parse

from est_core import (
    Channel,
    ClientIdentity,
    Decision,
    Fail,
    Fault,
    Instant,
    Limits,
    LocalProtocolError,
    Operation,
    Outcome,
    RemoteProtocolError,
    Response,
    ResponseReady,
    ServerExchange,
    ServerPolicy,
    ServerQuestion,
    ServerSession,
    TlsVersion,
    coapmap,
)
from est_core.arguments import checked
from est_core.wires.coapmap import RequestHead, ResponseHead
from est_transports import _clock
from est_transports.drive.application import Application
from est_transports.drive.records import (
    Observe,
    Record,
    Wire,
    consult,
    ignore,
    internal_error,
    notify,
)
from est_transports.fairness.fair_pool import FairPool
from est_transports.on_aiocoap.messages import (
    ROOT,
    address_of,
    body_bytes,
    misfit,
    request_head,
    response_message,
    target_of,
)

_log: Final = logging.getLogger("est_transports")

THREADS: Final = 8
OPEN_EXCHANGES: Final = 64
_BUSY_RETRY_S: Final = 10
_METHODS: Final[dict[int, str]] = {coapmap.Code.GET: "GET", coapmap.Code.POST: "POST"}
_STRANGER: Final = Channel(version=TlsVersion.DTLS_1_2, can_challenge=False)
_NO_RESPONSE_AT_ALL: Final = 26  # RFC 7967 2.1: to none of the classes 2, 4 and 5

ChannelOf = Callable[[EndpointAddress], Channel | None]
"""Tells the facts of the DTLS association that a message's remote stands for.

None where there is no association: the client counts as one without a certificate. Asked for
every message, so it must be quick.
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that is with the application. `job` is None where it never needed a thread."""

    question: ServerQuestion
    decision: asyncio.Future[Decision]
    job: Future[None] | None


@checked
class EstResource(Resource, PathCapable):  # type: ignore[misc]  # aiocoap has no types
    """The EST operations that `policy` offers on datagram channels, below any path of a Site.

    `application` is called in at most `threads` threads at once; with 0 in the event loop itself,
    which is right for one that never waits. While `open_exchanges` decisions are due, requests
    are answered with 5.03. `observe` gets a Record of every request, in the event loop. Nothing
    that a client sends raises; an error in `channel_of`, or facts that are not of DTLS, cost the
    client a 5.00. Call `close` after the Context's `shutdown`. RFC 9148.
    """

    def __init__(
        self,
        *,
        policy: ServerPolicy,
        application: Application,
        channel_of: ChannelOf,
        limits: Limits | None = None,
        observe: Observe = ignore,
        threads: int = THREADS,
        open_exchanges: int = OPEN_EXCHANGES,
        clock: Callable[[], Instant] = _clock.instant,
    ) -> None:
        super().__init__()
        if open_exchanges <= 0:
            raise LocalProtocolError("open_exchanges must be positive")
        self._policy = policy
        self._application = application
        self._channel_of = channel_of
        self._limits = limits or Limits()
        self._observe = observe
        self._clock = clock
        self._pool: FairPool[None] | None = FairPool(threads, "est-aiocoap") if threads else None
        self._open_exchanges = open_exchanges
        self._owed: set[asyncio.Future[Decision]] = set()
        self._closed = False

    @property
    def owed(self) -> int:
        """How many decisions the application owes, those that nobody waits for included."""
        return len(self._owed)

    def close(self) -> None:
        """Answer what was asked, refuse what comes from now on (5.03), and let the threads go."""
        self._closed = True
        if self._pool is not None:
            self._pool.close()

    # What aiocoap calls

    def get_resources_as_linkheader(self) -> LinkFormat:
        """Return links to what is offered, for a Site to list. RFC 9148 4.1, RFC 6690."""
        head = RequestHead(code=coapmap.Code.GET, path=(".well-known", "core"))
        found = coapmap.discover(head, policy=self._policy, limits=self._limits)
        text = b"" if found is None else found[1]
        above = "/" + "/".join(ROOT)
        links = parse(text.decode("ascii")).links
        return LinkFormat([Link(each.href.removeprefix(above), each.attr_pairs) for each in links])

    async def render_to_pipe(self, pipe: Pipe) -> None:
        """Answer a request, or one block of one. What is refused by its head is not assembled."""
        refusal = self._screen(pipe.request)
        if refusal is not None:
            pipe.add_response(refusal, is_last=True)
            return
        try:
            await super().render_to_pipe(pipe)
        except ValueError as exc:  # aiocoap's word for a block that does not follow the last
            raise RequestEntityIncomplete("this block does not follow the last") from exc

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        """Return True, but for the blocks of a client that is not verified.

        Such a client is refused at the first of them, or makes do with a single message.
        """
        if request.opt.block1 is None:
            return True
        channel = self._channel(request.remote)
        return channel is not None and channel.is_verified

    async def render(self, request: Message) -> Message:
        """Return the answer to a whole request; 5.03 where the application takes too long.

        When aiocoap cancels this, since the client does not want the answer any more, a decision
        to issue that is still due is waited for all the same, without an answer.
        """
        now = self._clock()
        head = request_head(request)
        refusal = coapmap.check_head(head, policy=self._policy, limits=self._limits)
        if refusal is not None:
            return self._reply(request, refusal)
        wanted, _ = coapmap.read(head, request.payload, limits=self._limits)
        channel = self._channel(request.remote)
        if channel is None:
            return self._reply(request, internal_error(wanted.operation))
        if self._closed or self.owed >= self._open_exchanges:
            return self._reply(request, _busy(wanted.operation, stopping=self._closed))
        session = ServerSession(policy=self._policy, channel=channel, limits=self._limits)
        exchange = session.receive_request(wanted, now)
        try:
            response = await self._response(exchange)
        except asyncio.CancelledError:
            unanswered = internal_error(wanted.operation)
            record = self._record(request, unanswered, None, exchange=exchange, started=now)
            reason = "the client did not wait"
            notify(self._observe, replace(record, status=0, code="connection/lost", reason=reason))
            raise
        return self._reply(request, response, exchange=exchange, started=now)

    # Before anything is assembled

    def _screen(self, request: Message) -> Message | None:
        """Return the refusal that needs no more than one block. RFC 7252 5.4.1, RFC 7959 2."""
        refused = misfit(request)
        if refused is not None:
            code, text = refused
            answer = response_message(ResponseHead(code=code), text.encode("ascii"))
            if code is coapmap.Code.BAD_OPTION and request.mtype is NON:
                # RFC 7252 5.4.1: "MUST cause the message to be rejected", in silence.
                answer.opt.no_response = _NO_RESPONSE_AT_ALL
            return answer
        if request.opt.block2 is not None and request.opt.block2.block_number > 0:
            return None  # of an answer that aiocoap has or has not; it does not come to `render`
        refusal = coapmap.check_head(
            request_head(request), policy=self._policy, limits=self._limits
        )
        if refusal is not None:
            return self._reply(request, refusal)
        most = self._limits.body_bytes
        if body_bytes(request) > most:
            error = RemoteProtocolError(
                "body/too-large", f"the payload is longer than {most} bytes", Fault.BODY_TOO_LARGE
            )
            answer = self._reply(request, Response.of_error(error))
            answer.opt.size1 = most
            return answer
        return None

    def _channel(self, remote: EndpointAddress) -> Channel | None:
        """Return the facts about a client; None, with the reason in the log, if there are none."""
        try:
            channel = self._channel_of(remote) or _STRANGER
            if not channel.version.is_datagram:
                raise LocalProtocolError("EST over CoAP needs a channel of DTLS")
            peer = channel.peer_address or address_of(remote)
            return replace(channel, can_challenge=False, peer_address=peer)
        except Exception:  # noqa: BLE001  # whatever an embedder's function may raise
            _log.exception("nothing can be said about a client")
            return None

    # The exchange

    async def _response(self, exchange: ServerExchange) -> Response:
        while True:
            match event := exchange.next_event():
                case ResponseReady():
                    return event.response
                case None:  # it broke on the decision
                    return internal_error(exchange.request.operation)
                case question:
                    await self._settle(exchange, self._ask(question))

    async def _settle(self, exchange: ServerExchange, asked: _Asked) -> None:
        """Have the decision taken, or the exchange timed out or abandoned.

        In both of the latter cases what has been issued by then is still taken, when it comes.
        """
        try:
            in_time = await self._in_time(asked.decision, exchange.deadline)
        except asyncio.CancelledError:
            exchange.abandon("the client did not wait")
            self._leave(exchange, asked)
            raise
        if in_time:
            _decide(exchange, asked)
        else:
            exchange.handle_timeout(self._clock())
            self._leave(exchange, asked)

    async def _in_time(self, decision: asyncio.Future[Decision], deadline: Instant) -> bool:
        while True:
            left_s = deadline.mono - self._clock().mono
            if decision.done() or left_s <= 0:
                return left_s > 0
            await asyncio.wait((decision,), timeout=left_s)

    def _leave(self, exchange: ServerExchange, asked: _Asked) -> None:
        """Wait no longer for a decision, and take it if it comes."""
        if asked.job is not None and asked.job.cancel():
            self._owed.discard(asked.decision)  # no thread was free for it: it will not come
        else:
            asked.decision.add_done_callback(lambda _: _decide(exchange, asked))

    def _ask(self, question: ServerQuestion) -> _Asked:
        loop = asyncio.get_running_loop()
        decision: asyncio.Future[Decision] = loop.create_future()
        if self._pool is None:
            decision.set_result(consult(self._application, question))
            return _Asked(question, decision, None)

        def arrive(decided: Decision) -> None:
            self._owed.discard(decision)
            if not decision.done():
                decision.set_result(decided)

        def work() -> None:
            decided = consult(self._application, question)
            with suppress(RuntimeError):  # the loop is closed, and nobody there to be told
                loop.call_soon_threadsafe(arrive, decided)

        try:
            job = self._pool.submit(work, question.channel.peer_address)
        except RuntimeError:  # no thread to be had
            _log.exception("the application could not be asked")
            decision.set_result(Fail())
            return _Asked(question, decision, None)
        self._owed.add(decision)
        return _Asked(question, decision, job)

    # Answers and records

    def _reply(
        self,
        request: Message,
        response: Response,
        *,
        exchange: ServerExchange | None = None,
        started: Instant | None = None,
    ) -> Message:
        written = coapmap.write(
            response, coapmap.reply_shape(request_head(request)), now=self._clock()
        )
        record = self._record(request, response, written, exchange=exchange, started=started)
        notify(self._observe, record)
        return response_message(*written)

    def _record(
        self,
        request: Message,
        response: Response,
        written: tuple[ResponseHead, bytes] | None,
        *,
        exchange: ServerExchange | None,
        started: Instant | None,
    ) -> Record:
        return Record(
            peer=exchange.channel.peer_address if exchange else address_of(request.remote),
            wire=Wire.COAPS,
            method=_METHODS.get(request.code, ""),
            target=target_of(request),
            operation=response.operation,
            label=exchange.request.label if exchange else None,
            identity=exchange.identity if exchange else ClientIdentity(),
            channel=exchange.channel if exchange else None,
            status=0 if written is None else coapmap.status_of(written[0].code),
            code=response.code,
            reason=response.reason,
            issued=exchange.issued if exchange else None,
            seconds=self._clock().mono - started.mono if started else 0.0,
            received_bytes=len(request.payload),
            sent_bytes=0 if written is None else len(written[1]),
        )


def _decide(exchange: ServerExchange, asked: _Asked) -> None:
    """Give the application's decision; one that comes late is settled where it still matters."""
    if not exchange.is_open:
        return
    try:
        exchange.decide(asked.decision.result())
    except Exception:  # noqa: BLE001  # an application can put anything into a decision
        _log.exception("the application gave no answer to %s", type(asked.question).__name__)
        if exchange.is_open:
            exchange.decide(Fail())


def _busy(operation: Operation, *, stopping: bool) -> Response:
    return Response(
        operation=operation,
        outcome=Outcome.FAULT,
        fault=Fault.BUSY,
        retry_after=_BUSY_RETRY_S,
        code="server/stopping" if stopping else "server/busy",
        reason="the server is about to stop" if stopping else "too many requests at one time",
    )
