"""Drives agents on asyncio: one pass, or a task for each certificate until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from est_core import Instant
from est_core.arguments import checked
from est_transports import _clock
from est_transports.agent.actions import Outcome
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.event_loop import look_after, run_pass_on
from est_transports.client_config import ClientConfig
from est_transports.on_asyncio.client import Client

_T = TypeVar("_T")


class _AsyncioLoop:
    """asyncio, as an AgentLoop. What is cancelled there is told so once."""

    def client(self, config: ClientConfig, clock: Callable[[], Instant]) -> Client:
        """Return a client on asyncio."""
        return Client(config, clock=clock)

    async def to_its_end(self, step: Callable[[], _T]) -> _T:
        """Return what a call in a thread comes to; cancelled, not before that is over."""
        running = asyncio.ensure_future(asyncio.to_thread(step))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await running
            raise

    async def while_wanted(self, step: Callable[[], _T]) -> _T:
        """Return what a call in a thread comes to; cancelled, at once."""
        return await asyncio.to_thread(step)

    async def in_any_case(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something to its end."""
        await work()


_LOOP: Final = _AsyncioLoop()


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
    return await run_pass_on(_LOOP, agent, force=force, clock=clock)


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
    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(look_after(_LOOP, agent, told=told, clock=clock, sleep=sleep))
