"""Drives agents on blocking sockets: one pass, or a thread for each certificate until stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing

from est_core import Instant, LocalProtocolError
from est_core.arguments import checked
from est_transports import _clock
from est_transports.agent.actions import Answer, Ask, Outcome
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.driving import advance, cannot_ask
from est_transports.agent.hooks import run_hook
from est_transports.client_config import ClientConfig
from est_transports.on_sockets.client import Client
from est_transports.pki.signers import SignerError


class _Clients:
    """The client of the last configuration that was used."""

    def __init__(self, clock: Callable[[], Instant]) -> None:
        self._clock = clock
        self._client: Client | None = None
        self._config: ClientConfig | None = None

    def ask(self, action: Ask) -> Answer:
        """Run the exchange."""
        if self._client is None or self._config is not action.config:
            self.close()
            self._client, self._config = Client(action.config, clock=self._clock), action.config
        try:
            return self._client.run(action.exchange)
        except (LocalProtocolError, SignerError) as exc:
            return cannot_ask(exc)

    def close(self) -> None:
        """Close its connection."""
        if self._client is not None:
            self._client.close()
        self._client = None


@checked
def run_pass(
    agent: CertificateAgent,
    *,
    force: bool = False,
    hook_alone: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], Instant] = _clock.instant,
) -> Outcome | None:
    """Do what is due for one certificate and return what came of it; None once it is `stopped`.

    That is looked at between two steps; each is durable, so what was begun goes on later.
    With `hook_alone` nothing but the hook is run, if it is due.
    """
    answer: Answer | None = None
    work = agent.run_hook() if hook_alone else agent.work(force=force)
    with closing(work) as steps, closing(_Clients(clock)) as clients:
        while not stopped():
            match action := advance(steps, answer):
                case Outcome():
                    return action
                case Ask():
                    answer = clients.ask(action)
                case _:
                    answer = run_hook(action, stopped=stopped)
    return None


@checked
def run_agents(
    agents: Sequence[CertificateAgent],
    *,
    stop: threading.Event,
    told: Callable[[Outcome], None] = lambda _: None,
    clock: Callable[[], Instant] = _clock.instant,
) -> None:
    """Look after certificates, each in a thread of its own, until `stop` is set.

    `told` is given the outcome of each pass, in that thread. What a thread raises stops all, and is
    raised here. A pass that is under way when `stop` is set ends after the step it is at.
    """
    errors: list[BaseException] = []

    def look_after(agent: CertificateAgent) -> None:
        try:
            while (outcome := run_pass(agent, stopped=stop.is_set, clock=clock)) is not None:
                told(outcome)
                stop.wait(max(outcome.until.mono - clock().mono, 0.0))
        except BaseException as exc:  # noqa: BLE001 - raised where somebody waits for it
            errors.append(exc)
            stop.set()

    threads = [
        threading.Thread(target=look_after, args=(agent,), name=agent.settings.name, daemon=True)
        for agent in agents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
