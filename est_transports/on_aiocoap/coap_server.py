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
from dataclasses import dataclass, replace
from typing import Final

from aiocoap import NON, Message
from aiocoap.error import RequestEntityIncomplete
from aiocoap.interfaces import EndpointAddress
from aiocoap.pipe import Pipe
from aiocoap.resource import PathCapable, Resource
from aiocoap.util.linkformat import Link, LinkFormat, parse

from est_core import (
    AuthenticateRequested,
    Channel,
    Decision,
    Fault,
    Instant,
    Limits,
    LocalProtocolError,
    Refused,
    RemoteProtocolError,
    Response,
    ServerPolicy,
    TlsVersion,
    coapmap,
)
from est_core.arguments import checked
from est_core.wires.coapmap import RequestHead, ResponseHead
from est_transports import _clock
from est_transports.coap.records import BUSY, METHODS, STOPPING
from est_transports.drive.application import Application, offered_at_start
from est_transports.drive.observe import Observe, ignore, notify
from est_transports.drive.open_request import (
    Ask,
    OpenRequest,
    internal_error,
    session_with,
)
from est_transports.drive.question_threads import AUTHENTICATION_THREADS, PooledThreads
from est_transports.drive.records import Wire
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
_UNAUTHENTICATED: Final = Channel(version=TlsVersion.DTLS_1_2, can_challenge=False)
_BUSY: Final = replace(BUSY, reason="too many requests at one time")
_NO_RESPONSE_AT_ALL: Final = 26  # RFC 7967 2.1: to none of the classes 2, 4 and 5

ChannelOf = Callable[[EndpointAddress], Channel | None]
"""Tells the facts of the DTLS association that a message's remote stands for.

None where there is no association: the client counts as one without a certificate. Asked for
every message, so it must be quick.
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that is with the application. `job` is None where it never needed a thread."""

    step: Ask
    decision: asyncio.Future[Decision | None]
    job: Future[Decision | None] | None
    clock: Callable[[], Instant]

    def decide(self, _decision: object = None) -> None:
        """Hand the decision, which is there, to its request."""
        self.step.request.decide(self.step, self.decision.result(), self.clock())


@checked
class EstResource(Resource, PathCapable):  # type: ignore[misc]  # aiocoap has no types
    """The EST operations that `policy` offers on datagram channels, below any path of a Site.

    `application` is called in at most `threads` threads at once, and to authenticate in
    AUTHENTICATION_THREADS others; with 0 in the event loop itself, which is right for one that
    never waits. While `open_exchanges` decisions are due, requests are answered with 5.03.
    `observe` gets a Record of every request, in the event loop. Nothing that a client sends raises;
    an error in `channel_of`, or facts that are not of DTLS, cost the client a 5.00. Call `close`
    after the Context's `shutdown`. RFC 9148.
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
        self._policy = offered_at_start(policy, application)
        self._application = application
        self._channel_of = channel_of
        self._limits = limits or Limits()
        self._observe = observe
        self._clock = clock
        self._threads = PooledThreads(threads, "est-aiocoap", _threadsafe) if threads else None
        self._authentication_threads = PooledThreads(
            AUTHENTICATION_THREADS, "est-aiocoap-authentication", _threadsafe
        )
        self._open_exchanges = open_exchanges
        self._owed: set[asyncio.Future[Decision | None]] = set()
        self._closed = False

    @property
    def owed(self) -> int:
        """How many decisions the application owes, those that nobody waits for included."""
        return len(self._owed)

    def close(self) -> None:
        """Answer what was asked, refuse what comes from now on (5.03), and let the threads go."""
        self._closed = True
        if self._threads is not None:
            self._threads.close()
        self._authentication_threads.close()

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
        return channel is not None and self._policy.may_take(channel)

    async def render(self, request: Message) -> Message:
        """Return the answer to a whole request; 5.03 where the application takes too long.

        When aiocoap cancels this, since the client does not want the answer any more, a decision
        to issue that is still due is waited for all the same, without an answer.
        """
        now = self._clock()
        opened, head = self._open(request, now), request_head(request)
        judged = coapmap.check_head(head, policy=self._policy, limits=self._limits)
        if isinstance(judged, Refused):
            return self._reply(request, opened, judged, now)
        wanted = coapmap.read(judged, request.payload, limits=self._limits)
        channel = self._channel(request.remote)
        if channel is None:
            return self._reply(request, opened, internal_error(wanted.operation), now)
        if self._closed or self.owed >= self._open_exchanges:
            busy = STOPPING if self._closed else _BUSY
            return self._reply(request, opened, replace(busy, operation=wanted.operation), now)
        peer = channel.peer_address or address_of(request.remote)
        session = session_with(peer, channel, policy=self._policy, limits=self._limits)
        opened.begin(session, wanted, now, self._application)
        try:
            response = await self._response(opened)
        except asyncio.CancelledError:
            notify(self._observe, opened.abandon("the client did not wait", self._clock()))
            raise
        return self._reply(request, opened, response, self._clock())

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
        judged = coapmap.check_head(request_head(request), policy=self._policy, limits=self._limits)
        if isinstance(judged, Refused):
            return self._refuse(request, judged)
        most = self._limits.body_bytes
        if body_bytes(request) > most:
            error = RemoteProtocolError(
                "body/too-large", f"the payload is longer than {most} bytes", Fault.BODY_TOO_LARGE
            )
            answer = self._refuse(request, Refused.of_error(error))
            answer.opt.size1 = most
            return answer
        return None

    def _channel(self, remote: EndpointAddress) -> Channel | None:
        """Return the facts about a client; None, with the reason in the log, if there are none."""
        try:
            channel = self._channel_of(remote) or _UNAUTHENTICATED
            if not channel.version.is_datagram:
                raise LocalProtocolError("EST over CoAP needs a channel of DTLS")
            return replace(channel, can_challenge=False)
        except Exception:  # noqa: BLE001  # whatever an embedder's function may raise
            _log.exception("nothing can be said about a client")
            return None

    # The exchange

    def _open(self, request: Message, now: Instant) -> OpenRequest:
        opened = OpenRequest(
            wire=Wire.COAPS,
            peer=address_of(request.remote),
            channel=None,
            started=now.mono,
            method=METHODS.get(request.code, ""),
            target=target_of(request),
        )
        opened.received_bytes = len(request.payload)
        return opened

    async def _response(self, opened: OpenRequest) -> Response:
        step = opened.next_step()
        while isinstance(step, Ask):
            step = await self._settle(self._ask(step))
        return internal_error(opened.exchange.request.operation) if step is None else step

    async def _settle(self, asked: _Asked) -> Ask | Response | None:
        """Return what comes after the decision, or the end of the time for it.

        In the latter case, and where the client does not wait, what has been issued by then is
        still taken, when it comes.
        """
        request = asked.step.request
        try:
            in_time = await self._in_time(asked.decision, asked.step.deadline)
        except asyncio.CancelledError:
            self._leave(asked)
            raise
        if in_time:
            asked.decide()
            return request.next_step()
        self._leave(asked)
        return request.handle_timeout(self._clock())

    async def _in_time(self, decision: asyncio.Future[Decision | None], deadline: float) -> bool:
        while True:
            left_s = deadline - self._clock().mono
            if decision.done() or left_s <= 0:
                return left_s > 0
            await asyncio.wait((decision,), timeout=left_s)

    def _leave(self, asked: _Asked) -> None:
        """Wait no longer for a decision, and take it if it comes."""
        if asked.job is not None and asked.job.cancel():
            self._owed.discard(asked.decision)  # no thread was free for it: it will not come
        else:
            asked.decision.add_done_callback(asked.decide)

    def _ask(self, step: Ask) -> _Asked:
        loop = asyncio.get_running_loop()
        decision: asyncio.Future[Decision | None] = loop.create_future()
        if self._threads is None:
            decision.set_result(step.consult())
            return _Asked(step, decision, None, self._clock)

        def arrive(decided: Decision | None) -> None:
            self._owed.discard(decision)
            if not decision.done():
                decision.set_result(decided)

        self._owed.add(decision)
        is_authentication = isinstance(step.question, AuthenticateRequested)
        threads = self._authentication_threads if is_authentication else self._threads
        job = threads.submit(step.consult, arrive, step.question.channel.peer_address)
        return _Asked(step, decision, job, self._clock)

    def _refuse(self, request: Message, refusal: Response) -> Message:
        now = self._clock()
        return self._reply(request, self._open(request, now), refusal, now)

    def _reply(
        self, request: Message, opened: OpenRequest, response: Response, now: Instant
    ) -> Message:
        shape = coapmap.reply_shape(request_head(request))
        response, (head, payload) = opened.written(
            response, lambda each: coapmap.write(each, shape, now=now)
        )
        status = coapmap.status_of(head.code)
        record = opened.finish(response, status=status, sent_bytes=len(payload), now=now)
        notify(self._observe, record)
        return response_message(head, payload)


def _threadsafe() -> Callable[[Callable[[], None]], object]:
    return asyncio.get_running_loop().call_soon_threadsafe
