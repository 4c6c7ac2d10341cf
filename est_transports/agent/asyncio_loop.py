"""Drives agents on asyncio: one pass, or a task for each certificate until it is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial

from est_core import Instant, LocalProtocolError
from est_core.arguments import checked
from est_transports import _clock
from est_transports.agent.actions import Answer, Ask, HookResult, Outcome, RunHook
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.driving import advance, cannot_ask
from est_transports.agent.hooks import run_hook
from est_transports.client_config import ClientConfig
from est_transports.on_asyncio.client import Client
from est_transports.pki.signers import SignerError


class _Clients:
    """The client of the last configuration that was used."""

    def __init__(self, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self._client: Client | None = None
        self._config: ClientConfig | None = None

    async def ask(self, action: Ask) -> Answer:
        """Run the exchange."""
        if self._client is None or self._config is not action.config:
            await self.aclose()
            self._client, self._config = Client(action.config, clock=self._clock), action.config
        try:
            return await self._client.run(action.exchange)
        except (LocalProtocolError, SignerError) as exc:
            return cannot_ask(exc)

    async def aclose(self) -> None:
        """Close its connection."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


@checked
async def run_pass_on_asyncio(
    agent: CertificateAgent,
    *,
    force: bool = False,
    clock: Callable[[], Instant] = _clock.instant,
) -> Outcome:
    """Do what is due for one certificate and return what came of it.

    Files are read and written in a thread. It may be cancelled: each step is durable, so what was
    begun goes on later.
    """
    answer: Answer | None = None
    clients = _Clients(clock)
    with closing(agent.work(force=force)) as steps:
        try:
            while True:
                # Not left alone where it is cancelled: a generator that runs cannot be closed.
                step = asyncio.ensure_future(asyncio.to_thread(advance, steps, answer))
                try:
                    action = await asyncio.shield(step)
                except asyncio.CancelledError:
                    await step
                    raise
                match action:
                    case Outcome():
                        return action
                    case Ask():
                        answer = await clients.ask(action)
                    case _:
                        answer = await _run_hook(action)
        finally:
            await clients.aclose()


@checked
async def run_agents_on_asyncio(
    agents: Sequence[CertificateAgent],
    *,
    told: Callable[[Outcome], None] = lambda _: None,
    clock: Callable[[], Instant] = _clock.instant,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Look after certificates, each in a task of its own, until it is cancelled.

    `told` is given the outcome of each pass.
    """

    async def look_after(agent: CertificateAgent) -> None:
        while True:
            outcome = await run_pass_on_asyncio(agent, clock=clock)
            told(outcome)
            await sleep(max(outcome.until.mono - clock().mono, 0.0))

    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(look_after(agent))


async def _run_hook(action: RunHook) -> HookResult:
    """Run a hook in a thread; cancelled, it is killed."""
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(partial(run_hook, action, stopped=cancelled.is_set))
    finally:
        cancelled.set()
