"""Drives agents on trio: one pass, or a task for each certificate until it is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import trio

from est_core import Instant
from est_core.arguments import checked
from est_transports import _clock
from est_transports.agent.actions import Outcome
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.event_loop import look_after, run_pass_on
from est_transports.client_config import ClientConfig
from est_transports.on_trio.client import Client

_T = TypeVar("_T")


class _TrioLoop:
    """trio, as an AgentLoop."""

    def client(self, config: ClientConfig, clock: Callable[[], Instant]) -> Client:
        """Return a client on trio."""
        return Client(config, clock=clock)

    async def to_its_end(self, step: Callable[[], _T]) -> _T:
        """Return what a call in a thread comes to; cancelled, not before that is over."""
        return await trio.to_thread.run_sync(step)

    async def while_wanted(self, step: Callable[[], _T]) -> _T:
        """Return what a call in a thread comes to; cancelled, at once."""
        return await trio.to_thread.run_sync(step, abandon_on_cancel=True)

    async def in_any_case(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something to its end."""
        with trio.CancelScope(shield=True):
            await work()


_LOOP: Final = _TrioLoop()


@checked
async def run_pass_on_trio(
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
async def run_agents_on_trio(
    agents: Sequence[CertificateAgent],
    *,
    told: Callable[[Outcome], None] = lambda _: None,
    clock: Callable[[], Instant] = _clock.instant,
    sleep: Callable[[float], Awaitable[object]] = trio.sleep,
) -> None:
    """Look after certificates, each in a task of its own, until it is cancelled.

    `told` is given the outcome of each pass.
    """
    async with trio.open_nursery() as nursery:
        for agent in agents:
            nursery.start_soon(
                partial(look_after, _LOOP, agent, told=told, clock=clock, sleep=sleep)
            )
