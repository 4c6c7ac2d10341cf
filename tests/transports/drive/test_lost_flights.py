"""A client's handshake gets through where a datagram of it is lost, on each of the runtimes."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from est_core import CACertsReceived, ClientExchange
from est_transports import on_asyncio
from est_transports.client_config import ClientConfig
from tests.transports.coap.test_runtimes import (
    WAIT_S,
    Est,
    bound,
    config,
    run_on_sockets,
    run_on_trio,
    serving,
)


def run_on_asyncio(config: ClientConfig, exchange: ClientExchange) -> list[Any]:
    """Run an exchange with a client on asyncio."""

    async def talk() -> list[Any]:
        async with asyncio.timeout(WAIT_S), on_asyncio.Client(config) as client:
            return [await client.run(exchange)]

    return asyncio.run(talk())


@contextmanager
def losing_the_first(est: Est) -> Iterator[list[bytes]]:
    """Put a network before a server that loses a datagram; yields what the client says.

    The session of `est` then leads there.
    """
    outside, inside = bound(), bound()
    inside.connect(("127.0.0.1", est.port))
    est.port = outside.getsockname()[1]
    over = threading.Event()
    said: list[bytes] = []

    def carry() -> None:
        client: tuple[str, int] | None = None
        with selectors.DefaultSelector() as selector:
            for sock in (outside, inside):
                selector.register(sock, selectors.EVENT_READ)
            while not over.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is outside:
                        datagram, client = outside.recvfrom(65535)
                        said.append(datagram)
                        if len(said) > 1:
                            inside.send(datagram)
                    elif client is not None:
                        outside.sendto(inside.recv(65535), client)

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield said
    finally:
        over.set()
        thread.join(WAIT_S)
        for each in (outside, inside):
            each.close()


@pytest.mark.parametrize(
    "run", [run_on_sockets, run_on_trio, run_on_asyncio], ids=["sockets", "trio", "asyncio"]
)
def test_a_flight_that_nobody_answers_is_said_again(
    run: Callable[[ClientConfig, ClientExchange], list[Any]],
) -> None:
    with serving() as est, losing_the_first(est) as said:
        (certs,) = run(config(), est.session().cacerts())
    assert isinstance(certs, CACertsReceived)
    assert in_record(said[0]) == in_record(said[1])


def in_record(datagram: bytes) -> bytes:
    """Return what is in a DTLS record, without the number that no two have. RFC 6347 4.1."""
    return datagram[:3] + datagram[11:]
