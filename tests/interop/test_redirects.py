"""Redirects over real connections, on every runtime: followed on one origin, asked about elsewhere.

The rules are the core's, and proved there; here it is what a server sees of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import trio

from est_core import ClientExchange, ClientResult, ClientSession, Enrolled, EstUri, Failed, Limits
from est_transports import on_asyncio, on_sockets, on_trio
from est_transports.client_config import ClientConfig
from tests.interop.foreign_answers import BASIC, answer, well_behaved
from tests.interop.foreign_server import Answers, Asked, ForeignServer, Said, foreign_server
from tests.interop.test_doctor import tls_of
from tests.interop.test_foreign_servers import PASSED, log_in
from tests.pki import SERVER_AUTH, Entity, Subject, pki
from tests.transports.https_site import new_device

ENROLL: Final = "/.well-known/est/simpleenroll"


def on_blocking_sockets(config: ClientConfig, exchange: ClientExchange) -> object:
    with on_sockets.Client(config) as client:
        return client.run(exchange)


def on_the_trio_loop(config: ClientConfig, exchange: ClientExchange) -> object:
    async def run() -> object:
        async with on_trio.Client(config) as client:
            return await client.run(exchange)

    return trio.run(run)


def on_the_asyncio_loop(config: ClientConfig, exchange: ClientExchange) -> object:
    async def run() -> object:
        async with on_asyncio.Client(config) as client:
            return await client.run(exchange)

    return asyncio.run(run())


RUNS: Final = {
    "sockets": on_blocking_sockets,
    "trio": on_the_trio_loop,
    "asyncio": on_the_asyncio_loop,
}
Run = Callable[[ClientConfig, ClientExchange], object]


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    """How an exchange is run."""
    found: Run = RUNS[request.param]
    return found


@dataclass
class Site:
    """Servers, each at an address of its own."""

    directory: Path
    stack: ExitStack

    def serve(self, answers: Answers, entity: Entity | None = None) -> ForeignServer:
        """Serve on a free port of 127.0.0.1, which makes an origin."""
        context = tls_of(entity or pki().server, self.directory)
        return self.stack.enter_context(foreign_server(answers, context))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """No server yet."""
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def pointing(status: int, location: str, *, at: str = ENROLL) -> Answers:
    """A server that points elsewhere from one path, and else does what it is asked."""
    well = well_behaved()

    def answers(asked: Asked) -> Said:
        return answer(status, b"", f"Location: {location}") if asked.path == at else well(asked)

    return answers


def enrolled(
    run: Run, server: ForeignServer, *, follow: bool = False, limits: Limits | None = None
) -> tuple[ClientResult, list[EstUri]]:
    """What an enrollment there comes to, and about which servers it was asked."""
    device, questions = new_device(), list[EstUri]()

    def ask(uri: EstUri) -> bool:
        questions.append(uri)
        return follow

    session = ClientSession(
        EstUri.parse(server.url),
        trust=(pki().ca.certificate,),
        credentials=PASSED,
        limits=limits or Limits(),
    )
    config = ClientConfig(signer=device.signer, credentials=log_in, follow=ask)
    result = run(config, session.enroll(device.info))
    assert isinstance(result, ClientResult)
    return result, questions


@pytest.mark.req("EST-019", "EST-023")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirected_post_stays_a_post_with_the_same_body(
    run: Run, site: Site, status: int
) -> None:
    server = site.serve(pointing(status, "/.well-known/est/plant/simpleenroll"))
    result, questions = enrolled(run, server)
    assert isinstance(result, Enrolled)
    asked = [each for _, each in server.asked]
    assert [each.path for each in asked] == [ENROLL, "/.well-known/est/plant/simpleenroll"]
    assert {each.method for each in asked} == {"POST"}
    assert len({each.body for each in asked}) == 1
    assert questions == []


@pytest.mark.req("EST-023")
def test_a_303_would_make_a_get_of_it_and_is_not_followed(run: Run, site: Site) -> None:
    server = site.serve(pointing(303, "/.well-known/est/plant/simpleenroll"))
    result, _ = enrolled(run, server)
    assert isinstance(result, Failed)
    assert result.code == "response/status-303"
    assert len(server.asked) == 1


@pytest.mark.req("EST-023")
def test_a_loop_ends_after_five(run: Run, site: Site) -> None:
    there = {ENROLL: "/.well-known/est/a/simpleenroll"}

    def answers(asked: Asked) -> Said:
        return answer(307, b"", f"Location: {there.get(asked.path, ENROLL)}")

    server = site.serve(answers)
    result, _ = enrolled(run, server)
    assert isinstance(result, Failed)
    assert result.code == "redirect/too-many"
    assert len(server.asked) == 6


@pytest.mark.req("EST-023")
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/.well-known/est/simpleenroll",
        "/.well-known/est/simplereenroll",
        "/.well-known/est/cacerts",
        "/login",
        "//127.0.0.1/.well-known/est/simpleenroll",
        "javascript:alert(1)",
    ],
)
def test_what_is_not_the_same_operation_over_https_is_not_gone_to(
    run: Run, site: Site, location: str
) -> None:
    server = site.serve(pointing(307, location))
    result, questions = enrolled(run, server, follow=True)
    assert isinstance(result, Failed)
    assert result.code == "redirect/not-followed"
    assert len(server.asked) == 1
    assert questions == []


@pytest.mark.req("EST-021")
def test_another_origin_is_not_even_connected_to_without_consent(run: Run, site: Site) -> None:
    other = site.serve(well_behaved())
    server = site.serve(pointing(307, f"{other.url}{ENROLL}"))
    result, questions = enrolled(run, server)
    assert isinstance(result, Failed)
    assert result.code == "redirect/refused"
    assert [str(each) for each in questions] == [other.url]
    assert other.connections == 0


@pytest.mark.req("EST-020", "EST-021")
def test_another_origin_that_was_consented_to_gets_no_credentials(run: Run, site: Site) -> None:
    other = site.serve(well_behaved())
    server = site.serve(pointing(308, f"{other.url}{ENROLL}"))
    result, _ = enrolled(run, server, follow=True)
    assert isinstance(result, Enrolled)
    assert [each.authorization != "" for _, each in server.asked] == [True]
    assert [(each.method, each.authorization) for _, each in other.asked] == [("POST", "")]


@pytest.mark.req("EST-020")
def test_another_origin_is_verified_anew(run: Run, site: Site) -> None:
    impostor = pki().rogue.issue(Subject(name="x", ips=("127.0.0.1",), eku=(SERVER_AUTH,)))
    other = site.serve(well_behaved(), impostor)
    server = site.serve(pointing(307, f"{other.url}{ENROLL}"))
    result, _ = enrolled(run, server, follow=True)
    assert isinstance(result, Failed)
    assert result.code == "tls/untrusted-server"
    assert other.asked == []


@pytest.mark.req("EST-023")
def test_two_origins_that_point_at_each_other_are_left_after_five(run: Run, site: Site) -> None:
    urls: list[str] = []

    def back(asked: Asked) -> Said:
        return answer(307, b"", f"Location: {urls[0]}{ENROLL}")

    other = site.serve(back)
    server = site.serve(pointing(307, f"{other.url}{ENROLL}"))
    urls.append(server.url)
    result, questions = enrolled(run, server, follow=True)
    assert isinstance(result, Failed)
    assert result.code == "redirect/too-many"
    assert len(questions) == 5
    assert len(server.asked) + len(other.asked) == 6


def test_a_challenge_behind_a_redirect_is_answered_there(run: Run, site: Site) -> None:
    """On one origin: the password was meant for this server."""
    well, there = well_behaved(), "/.well-known/est/plant/simpleenroll"

    def answers(asked: Asked) -> Said:
        if asked.path == ENROLL:
            return answer(307, b"", f"Location: {there}")
        return well(asked) if asked.authorization else answer(401, b"", BASIC)

    server = site.serve(answers)
    device = new_device()
    session = ClientSession(EstUri.parse(server.url), trust=(pki().ca.certificate,))
    config = ClientConfig(signer=device.signer, credentials=log_in)
    assert isinstance(run(config, session.enroll(device.info)), Enrolled)
    assert [each.path for _, each in server.asked] == [ENROLL, there, there]
