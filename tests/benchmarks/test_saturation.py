"""How busy servers are measured: many clients in one thread, another checkout beside this one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from benchmarks.crowd import crowd
from benchmarks.measure import Turn, percentile
from benchmarks.saturation import EST_SERVE, OTHER, Found


@dataclass(eq=False)
class Echo:
    """A client that asks for an octet and has it at once."""

    asked: int = 0
    pair: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)

    def steps(self) -> Iterator[socket.socket]:
        """Ask, wait for it, and take it."""
        near, far = self.pair
        self.asked += 1
        far.send(b"x")
        yield near
        near.recv(1)

    def close(self) -> None:
        """Close both ends."""
        for end in self.pair:
            end.close()


def test_every_client_comes_again_and_only_the_first_time_is_not_timed() -> None:
    clients = [Echo() for _ in range(3)]
    latencies_s: list[float] = []
    assert crowd(clients, latencies_s)(0.0) == 6
    assert [client.asked for client in clients] == [2, 2, 2]
    assert len(latencies_s) == 3
    for client in clients:
        client.close()


def test_a_server_is_compared_with_the_other_checkouts_in_each_round() -> None:
    ours = [Turn(cpu_us=us, per_second=rate) for us, rate in ((10, 8), (20, 4), (30, 2))]
    theirs = [Turn(cpu_us=20, per_second=4) for _ in range(3)]
    found = Found(turns={EST_SERVE: ours, EST_SERVE + OTHER: theirs})
    cpu, rate = found.beside("8 clients")
    assert (cpu.ratio, cpu.quartiles) == (1.0, (0.75, 1.25))
    assert (rate.ratio, rate.quartiles) == (1.0, (0.75, 1.5))
    assert {cpu.yardstick, rate.yardstick} == {EST_SERVE + OTHER}


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 2.5), (75, 3.25), (100, 4.0)])
def test_a_percentile_is_on_the_line_between_two_values(percent: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == value


def test_a_single_value_is_every_percentile() -> None:
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
