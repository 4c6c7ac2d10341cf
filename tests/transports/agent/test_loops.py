"""The drivers on sockets and on trio, against a server on loopback."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import EstUri, LocalProtocolError
from est_core.life_cycle import RenewalPolicy
from est_transports.agent import asyncio_loop, sockets_loop, trio_loop
from est_transports.agent.actions import Outcome
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.settings import CertificateSettings, Credentials, HookSettings
from est_transports.pairs import PairDirectory
from est_transports.pki.pkcs11_uri import TokenError
from est_transports.tunnels import Proxy
from tests.application import PASSWORD, USER
from tests.cli.canned import CannedServer, canned_server
from tests.pki import pki
from tests.transports.proxy_site import OPEN, answering, proxy_site

HANGS = HookSettings(command=(sys.executable, "-c", "import time; time.sleep(600)"))


def on_sockets(agent: CertificateAgent) -> Outcome:
    outcome = sockets_loop.run_pass(agent, force=True)
    assert outcome is not None
    return outcome


def on_trio(agent: CertificateAgent) -> Outcome:
    async def run() -> Outcome:
        return await trio_loop.run_pass_on_trio(agent, force=True)

    return trio.run(run)


def on_asyncio(agent: CertificateAgent) -> Outcome:
    return asyncio.run(asyncio_loop.run_pass_on_asyncio(agent, force=True))


LOOPS = pytest.mark.parametrize("run", [on_sockets, on_trio, on_asyncio])


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


@contextmanager
def agent_of(
    server: CannedServer,
    directory: Path,
    name: str = "gate",
    hook: HookSettings | None = None,
    proxy: str | None = None,
) -> Iterator[CertificateAgent]:
    trust, password = directory / "ca.pem", directory / "password"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    password.write_text(PASSWORD)
    settings = CertificateSettings(
        name=name,
        uri=EstUri.parse(server.url),
        trust_file=trust,
        credentials=Credentials(user=USER, password_file=password),
        subject=x509.Name.from_rfc4514_string(f"CN={name}"),
        policy=RenewalPolicy(renewal_info=False),
        verify_live=True,
        hook=hook,
        proxy=None if proxy is None else Proxy.parse(proxy),
    )
    with PairDirectory.open(directory / name, create=True) as pairs:
        yield CertificateAgent(settings, pairs)


@LOOPS
def test_a_pass_gets_a_certificate_and_another_renews_it(
    server: CannedServer, tmp_path: Path, run: Callable[[CertificateAgent], Outcome]
) -> None:
    hook = HookSettings(command=(sys.executable, "-c", ""))
    with agent_of(server, tmp_path, hook=hook) as agent:
        first, second = run(agent), run(agent)
    assert (first.renewed, first.code, first.hook_problem) == (True, "", "")
    assert (second.renewed, second.code, second.hook_problem) == (True, "", "")
    assert len(server.application.issued) == 2


@LOOPS
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LocalProtocolError("no such key here"), "agent/cannot-ask"),
        (TokenError("token/removed", "no such key here"), "token/removed"),
    ],
    ids=["no such key", "a token that is away"],
)
def test_what_this_machine_cannot_do_is_a_failure_of_the_pass(
    server: CannedServer,
    tmp_path: Path,
    run: Callable[[CertificateAgent], Outcome],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: str,
) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise error

    for loop in (sockets_loop, trio_loop, asyncio_loop):
        monkeypatch.setattr(loop.Client, "run", cannot)
    with agent_of(server, tmp_path) as agent:
        outcome = run(agent)
    assert (outcome.code, outcome.message) == (code, "no such key here")


def test_threads_look_after_several_certificates_until_they_are_stopped(
    server: CannedServer, tmp_path: Path
) -> None:
    stop, told = threading.Event(), []

    def tell(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 2:
            stop.set()

    with ExitStack() as stack:
        agents = [stack.enter_context(agent_of(server, tmp_path, name)) for name in ("a", "b")]
        sockets_loop.run_agents(agents, stop=stop, told=tell)
    assert sorted(each.name for each in told) == ["a", "b"]
    assert all(each.renewed for each in told)


def test_what_a_thread_raises_stops_all_and_is_raised(server: CannedServer, tmp_path: Path) -> None:
    def tell(outcome: Outcome) -> None:
        if outcome.name == "a":
            raise ZeroDivisionError

    with ExitStack() as stack:
        agents = [stack.enter_context(agent_of(server, tmp_path, name)) for name in ("a", "b")]
        with pytest.raises(ZeroDivisionError):
            sockets_loop.run_agents(agents, stop=threading.Event(), told=tell)


def test_a_pass_that_is_stopped_ends_between_two_steps_and_is_gone_on_with(
    server: CannedServer, tmp_path: Path
) -> None:
    looks = iter([False, False, False, True])
    with agent_of(server, tmp_path) as agent:
        assert sockets_loop.run_pass(agent, stopped=lambda: next(looks)) is None
        outcome = sockets_loop.run_pass(agent)
    assert outcome is not None
    assert outcome.renewed


def test_tasks_look_after_several_certificates_until_they_are_cancelled(
    server: CannedServer, tmp_path: Path
) -> None:
    async def run() -> list[Outcome]:
        told: list[Outcome] = []
        with trio.CancelScope() as scope, ExitStack() as stack:

            def tell(outcome: Outcome) -> None:
                told.append(outcome)
                if len(told) == 2:
                    scope.cancel()

            agents = [stack.enter_context(agent_of(server, tmp_path, name)) for name in ("a", "b")]
            await trio_loop.run_agents_on_trio(agents, told=tell)
        return told

    assert sorted(each.name for each in trio.run(run)) == ["a", "b"]


def test_a_hook_that_hangs_ends_when_its_task_is_cancelled(
    server: CannedServer, tmp_path: Path
) -> None:
    async def run() -> bool:
        with trio.move_on_after(60) as limit, agent_of(server, tmp_path, hook=HANGS) as agent:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio_loop.run_pass_on_trio, agent)
                while not (tmp_path / "gate" / "current").is_symlink():
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        return limit.cancelled_caught

    assert trio.run(run) is False


@LOOPS
def test_all_that_an_agent_asks_goes_through_its_proxy(
    server: CannedServer, tmp_path: Path, run: Callable[[CertificateAgent], Outcome]
) -> None:
    with (
        proxy_site(answering(OPEN)) as proxy,
        agent_of(server, tmp_path, proxy=proxy.url()) as agent,
    ):
        first, second = run(agent), run(agent)
    assert (first.renewed, second.renewed) == (True, True)
    assert proxy.connections == server.connections > 0


@LOOPS
def test_a_proxy_that_is_not_there_is_what_an_agent_tells(
    server: CannedServer, tmp_path: Path, run: Callable[[CertificateAgent], Outcome]
) -> None:
    with agent_of(server, tmp_path, proxy="http://proxy.invalid:1") as agent:
        outcome = run(agent)
    assert (outcome.renewed, outcome.code) == (False, "proxy/unknown-host")


def test_on_asyncio_tasks_look_after_several_certificates_until_they_are_cancelled(
    server: CannedServer, tmp_path: Path
) -> None:
    async def run() -> list[Outcome]:
        told: list[Outcome] = []
        both = asyncio.Event()

        def tell(outcome: Outcome) -> None:
            told.append(outcome)
            if len(told) == 2:
                both.set()

        with ExitStack() as stack:
            agents = [stack.enter_context(agent_of(server, tmp_path, name)) for name in ("a", "b")]
            task = asyncio.create_task(asyncio_loop.run_agents_on_asyncio(agents, told=tell))
            await both.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return told

    assert sorted(each.name for each in asyncio.run(run())) == ["a", "b"]


def test_on_asyncio_a_hook_that_hangs_ends_when_its_task_is_cancelled(
    server: CannedServer, tmp_path: Path
) -> None:
    async def run() -> None:
        with agent_of(server, tmp_path, hook=HANGS) as agent:
            task = asyncio.create_task(asyncio_loop.run_pass_on_asyncio(agent))
            while not (tmp_path / "gate" / "current").is_symlink():
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
