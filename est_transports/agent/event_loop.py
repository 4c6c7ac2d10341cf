"""Drives agents on an event loop: what trio_loop and asyncio_loop have in common."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import Any, Protocol, TypeVar

from est_core import Instant, LocalProtocolError
from est_transports.agent.actions import Answer, Ask, HookResult, Outcome, RunHook
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.driving import advance, cannot_ask
from est_transports.agent.hooks import run_hook
from est_transports.client_config import ClientConfig
from est_transports.drive.event_loop_client import EventLoopClient
from est_transports.pki.signers import SignerError

_T = TypeVar("_T")


class AgentLoop(Protocol):
    """What driving an agent asks of an event loop."""

    def client(self, config: ClientConfig, clock: Callable[[], Instant]) -> EventLoopClient[Any]:
        """Return a client of that runtime."""

    async def to_its_end(self, step: Callable[[], _T]) -> _T:
        """Return what a call in a thread comes to; cancelled, not before that is over."""

    async def while_wanted(self, step: Callable[[], _T]) -> _T:
        """Return what a call in a thread comes to; cancelled, at once, and it is left alone."""

    async def in_any_case(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something to its end, where that is cancelled by now too."""


class _Clients:
    """The client of the last configuration that was used."""

    def __init__(self, loop: AgentLoop, clock: Callable[[], Instant]) -> None:
        self._loop = loop
        self._clock = clock
        self._client: EventLoopClient[Any] | None = None
        self._config: ClientConfig | None = None

    async def ask(self, action: Ask) -> Answer:
        """Run the exchange."""
        if self._client is None or self._config is not action.config:
            await self.aclose()
            self._client = self._loop.client(action.config, self._clock)
            self._config = action.config
        try:
            return await self._client.run(action.exchange)
        except (LocalProtocolError, SignerError) as exc:
            return cannot_ask(exc)

    async def aclose(self) -> None:
        """Close its connection."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


async def run_pass_on(
    loop: AgentLoop, agent: CertificateAgent, *, force: bool, clock: Callable[[], Instant]
) -> Outcome:
    """Do what is due for one certificate and return what came of it.

    A step is not left alone where it is cancelled: a generator that runs cannot be closed.
    """
    answer: Answer | None = None
    clients = _Clients(loop, clock)
    with closing(agent.work(force=force)) as steps:
        try:
            while True:
                match action := await loop.to_its_end(partial(advance, steps, answer)):
                    case Outcome():
                        return action
                    case Ask():
                        answer = await clients.ask(action)
                    case _:
                        answer = await _run_hook(loop, action)
        finally:
            await loop.in_any_case(clients.aclose)


async def look_after(
    loop: AgentLoop,
    agent: CertificateAgent,
    *,
    told: Callable[[Outcome], None],
    clock: Callable[[], Instant],
    sleep: Callable[[float], Awaitable[object]],
) -> None:
    """Do what is due whenever it is, until it is cancelled."""
    while True:
        outcome = await run_pass_on(loop, agent, force=False, clock=clock)
        told(outcome)
        await sleep(max(outcome.until.mono - clock().mono, 0.0))


async def _run_hook(loop: AgentLoop, action: RunHook) -> HookResult:
    """Run a hook in a thread; cancelled, it is killed."""
    cancelled = threading.Event()
    try:
        return await loop.while_wanted(partial(run_hook, action, stopped=cancelled.is_set))
    finally:
        cancelled.set()
