"""An application of coroutine functions, which answers as FakeApplication does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from est_core import (
    AuthenticateRequested,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    EnrollRequested,
    ReenrollRequested,
)
from tests.transports.fake_application import FakeApplication


async def _at_once() -> None:
    """Wait for nothing."""


@dataclass
class AsyncFakeApplication:
    """`before` is awaited first in every method, and may raise or wait."""

    before: Callable[[], Awaitable[None]] = _at_once
    decider: FakeApplication = field(default_factory=FakeApplication)

    async def authenticate(self, question: AuthenticateRequested) -> Decision:
        """Verify against the one password."""
        await self.before()
        return self.decider.authenticate(question)

    async def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return the test CA."""
        await self.before()
        return self.decider.ca_certs(question)

    async def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        """Return none."""
        await self.before()
        return self.decider.csr_attrs(question)

    async def enroll(self, question: EnrollRequested) -> Decision:
        """Issue."""
        await self.before()
        return self.decider.enroll(question)

    async def reenroll(self, question: ReenrollRequested) -> Decision:
        """Issue."""
        await self.before()
        return self.decider.reenroll(question)


class HalfAsync(FakeApplication):
    """One method is a coroutine function, which is a mistake."""

    async def enroll(  # type: ignore[override]  # that is the mistake
        self, question: EnrollRequested
    ) -> Decision:
        """Issue."""
        return FakeApplication.enroll(self, question)
