"""Both sides of a CoAP connection over a bad network: every request is answered once, or failed."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est_core.wires.coapmap import Code, RequestHead
from est_transports.coap.client_wire import ClientConnection, RequestFailed, ResponseReceived
from est_transports.coap.limits import BLOCK_SIZES, CoapLimits
from est_transports.coap.server_wire import RequestReceived
from tests.reached import reached, reaches
from tests.transports.coap_network import CALM, Network, Weather
from tests.transports.raw_coap import CHANGED, ENROLL, LIMITS, JudgedConnection

AWFUL: Final = Weather(loss=0.2, duplication=0.05, delay_s=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request: what is sent and expected, and how long the server thinks about it."""

    head: RequestHead
    body: bytes
    answer_bytes: int
    thinking_s: float

    @property
    def answer(self) -> bytes:
        """What the server answers to that body, and to no other."""
        return answer_to(self.body, self.answer_bytes)


def answer_to(body: bytes, size: int) -> bytes:
    return hashlib.shake_128(body).digest(size)


class Run:
    """A client with jobs, a server that does them, and the network between."""

    def __init__(
        self,
        *jobs: Job,
        seed: int = 1,
        weather: Weather = CALM,
        client: CoapLimits = LIMITS,
        server: CoapLimits = LIMITS,
        at_once: int = 4,
    ) -> None:
        chance = Random(seed)
        self.client = ClientConnection(limits=client, entropy=chance.randbytes)
        self.server = JudgedConnection(limits=server, entropy=chance.randbytes)
        self.network = Network(self.client, self.server, chance=chance, weather=weather)
        self.seen: Counter[bytes] = Counter()
        self.outcomes: dict[int, ResponseReceived | RequestFailed] = {}
        self.asked: dict[int, Job] = {}
        self.held_bytes = 0
        self._waiting = list(reversed(jobs))
        self._jobs = {job.body: job for job in jobs}
        self._at_once = at_once

    def to_the_end(self) -> Run:
        """Go on until every job has its outcome and nothing more happens."""
        while True:
            while self._waiting and self.client.open_exchanges < self._at_once:
                job = self._waiting.pop()
                number = self.client.send_request(job.head, job.body, self.network.now)
                self.asked[number] = job
            if not self.network.step():
                return self
            self._serve()
            while (event := self.client.next_event()) is not None:
                assert event.exchange_id not in self.outcomes
                self.outcomes[event.exchange_id] = event
            self.held_bytes = max(self.held_bytes, self.server.held_bytes)

    def _serve(self) -> None:
        while (event := self.server.next_event()) is not None:
            if isinstance(event, RequestReceived):
                self.seen[event.payload] += 1
                job = self._jobs[event.payload]
                assert event.head == job.head
                then = self.network.now + job.thinking_s
                self.network.at(then, partial(self._respond, event.exchange_id, job))

    def _respond(self, exchange_id: int, job: Job) -> None:
        self.server.respond(exchange_id, CHANGED, job.answer, self.network.now)

    def check(self) -> list[RequestFailed]:
        """Assert what holds in every weather; return the failures."""
        assert self.outcomes.keys() == self.asked.keys()
        assert not [body for body, times in self.seen.items() if times > 1]
        failures = []
        for number, event in self.outcomes.items():
            job = self.asked[number]
            if isinstance(event, RequestFailed):
                failures.append(event)
                assert event.sent or not self.seen[job.body]
                continue
            assert (event.head, event.payload) == (CHANGED, job.answer)
            assert self.seen[job.body] == 1
        assert self.client.is_idle
        assert self.server.is_idle
        assert self.server.held_bytes == self.client.held_bytes == 0
        return failures


def job(
    number: int, *, body_bytes: int = 20, answer_bytes: int = 20, thinking_s: float = 0.0
) -> Job:
    body = number.to_bytes(4, "big") + answer_to(b"body", body_bytes)
    head = replace(ENROLL, query=(str(number % 3),))
    return Job(head=head, body=body, answer_bytes=answer_bytes, thinking_s=thinking_s)


jobs = st.lists(
    st.builds(
        lambda *facts: facts,
        st.integers(0, 3000),
        st.integers(0, 3000),
        st.floats(0.0, 6.0),
    ),
    min_size=1,
    max_size=5,
).map(
    lambda rows: [
        job(number, body_bytes=body, answer_bytes=answer, thinking_s=thinking)
        for number, (body, answer, thinking) in enumerate(rows)
    ]
)
percents = st.integers(0, 40).map(lambda percent: percent / 100)
weathers = st.builds(Weather, loss=percents, duplication=percents, delay_s=st.floats(0.0, 3.0))
block_limits = st.sampled_from(BLOCK_SIZES[1:]).map(lambda size: replace(LIMITS, block_bytes=size))


@reaches(answered=70, failed=2)
@settings(max_examples=60, deadline=None)
@given(
    jobs=jobs, weather=weathers, client=block_limits, server=block_limits, seed=st.integers(0, 9999)
)
def test_in_any_weather_a_request_is_seen_once_and_has_one_outcome(
    jobs: list[Job], weather: Weather, client: CoapLimits, server: CoapLimits, seed: int
) -> None:
    run = Run(*jobs, seed=seed, weather=weather, client=client, server=server).to_the_end()
    failures = run.check()
    assert {event.code for event in failures} <= {"coap/timeout"}
    reached(*(["failed"] if failures else []))
    reached(*(["answered"] if len(failures) < len(run.outcomes) else []))


@settings(max_examples=40, deadline=None)
@given(
    jobs=jobs, weather=weathers, client=block_limits, server=block_limits, seed=st.integers(0, 9999)
)
def test_without_loss_every_request_is_answered(
    jobs: list[Job], weather: Weather, client: CoapLimits, server: CoapLimits, seed: int
) -> None:
    weather = replace(weather, loss=0.0)
    run = Run(*jobs, seed=seed, weather=weather, client=client, server=server).to_the_end()
    assert run.check() == []


@pytest.mark.req("COAPS-051", "COAPS-053")
def test_a_thousand_requests_survive_an_awful_network() -> None:
    chance = Random(7)
    jobs = [
        job(number, answer_bytes=chance.choice((20, 1500)), thinking_s=chance.choice((0.0, 2.0)))
        for number in range(1000)
    ]
    run = Run(*jobs, seed=7, weather=AWFUL).to_the_end()
    failures = run.check()
    assert len(run.outcomes) == 1000
    assert {event.code for event in failures} <= {"coap/timeout"}
    assert len(failures) < 50  # 0.36 to the fifth power for each message
    assert run.held_bytes < LIMITS.kept_bytes + LIMITS.remembered_bytes


def test_the_same_chance_gives_the_same_run() -> None:
    runs = [
        Run(*(job(number, answer_bytes=1500) for number in range(20)), seed=3, weather=AWFUL)
        for _ in range(2)
    ]
    first, second = (run.to_the_end() for run in runs)
    assert first.outcomes == second.outcomes
    assert first.network.datagrams == second.network.datagrams
    assert first.network.now == second.network.now


@pytest.mark.req("COAPS-046", "COAPS-050", "COAPS-055")
@pytest.mark.parametrize("thinking_s", [0.0, 3.0])
def test_on_a_calm_network_nothing_is_sent_twice(thinking_s: float) -> None:
    """RFC 9148 Figures 3, 4 and 6: 10 blocks of a CSR, then 20 of the answer."""
    limits = replace(LIMITS, block_bytes=64)
    work = job(1, body_bytes=640 - 4, answer_bytes=1280, thinking_s=thinking_s)
    run = Run(work, client=limits).to_the_end()
    assert run.check() == []
    separate = 2 if thinking_s else 0  # the answer is a message of its own, and acknowledged
    assert run.network.datagrams == 2 * 10 + 2 * 19 + separate


def test_requests_of_one_head_do_not_mix_their_blocks() -> None:
    jobs = [
        replace(job(number, body_bytes=2000, answer_bytes=2000, thinking_s=1.0), head=ENROLL)
        for number in range(4)
    ]
    run = Run(*jobs, client=replace(LIMITS, block_bytes=64)).to_the_end()
    assert run.check() == []


def test_a_network_that_carries_nothing_fails_every_request() -> None:
    run = Run(job(1), job(2), weather=Weather(loss=1.0)).to_the_end()
    assert [event.code for event in run.check()] == ["coap/timeout"] * 2
    assert run.network.datagrams == 5
    assert run.seen == {}


def test_the_largest_request_and_the_largest_answer_pass() -> None:
    body = bytes(LIMITS.request_bytes)
    work = Job(head=ENROLL, body=body, answer_bytes=LIMITS.response_bytes, thinking_s=0.0)
    assert Run(work).to_the_end().check() == []


def test_get_has_no_body_and_a_long_answer() -> None:
    head = RequestHead(code=Code.GET, path=("est", "crts"), accept=281)
    work = Job(head=head, body=b"", answer_bytes=5000, thinking_s=0.0)
    assert Run(work).to_the_end().check() == []
