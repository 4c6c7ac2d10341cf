"""Sockets to listen on: every address of a host, one port, a set for each worker."""

from __future__ import annotations

import os
import select
import socket
import sys
from itertools import chain
from typing import Any

import pytest

from est_transports.service.config.listen import ListenAddress
from est_transports.service.errors import ServingError
from est_transports.service.listening import open_datagram_sockets, open_sockets
from tests.transports.service.test_initialisation import open_files

HERE = ListenAddress(host="127.0.0.1", port=0)


def closed(*sets: tuple[socket.socket, ...]) -> list[int]:
    """Close sockets and return the ports that they had."""
    ports = []
    for each in chain(*sets):
        ports.append(each.getsockname()[1])
        each.close()
    return ports


@pytest.mark.parametrize("workers", [1, 3])
def test_each_worker_has_datagram_sockets_of_its_own_on_one_port(workers: int) -> None:
    sets = open_datagram_sockets(ListenAddress(host="localhost", port=0), workers)
    assert len(sets) == workers
    assert len({len(each) for each in sets}) == 1
    assert all(each.type is socket.SOCK_DGRAM for each in chain(*sets))
    (port,) = set(closed(*sets))
    assert port != 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_datagram_port_of_another_server_is_taken_even_if_that_shares_it(workers: int) -> None:
    first = open_datagram_sockets(ListenAddress(host="127.0.0.1", port=0), workers)
    port = first[0][0].getsockname()[1]
    with pytest.raises(ServingError, match=f"cannot listen on 127.0.0.1:{port}: Address"):
        open_datagram_sockets(ListenAddress(host="127.0.0.1", port=port), 2)
    closed(*first)


def test_a_client_comes_to_the_same_worker_each_time() -> None:
    sets = open_datagram_sockets(ListenAddress(host="127.0.0.1", port=0), 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(20):
            client.sendto(b"x", sets[0][0].getsockname())
    readable, _, _ = select.select(list(chain(*sets)), [], [], 0)
    assert len(readable) == 1
    closed(*sets)


def test_all_addresses_of_a_host_share_one_port() -> None:
    sockets = open_sockets(ListenAddress(host="localhost", port=0))
    try:
        assert len({each.getsockname()[1] for each in sockets}) == 1
        assert sockets[0].getsockname()[1] != 0
    finally:
        for each in sockets:
            each.close()


def test_a_port_that_is_taken_is_said_to_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"cannot listen on 127.0.0.1:{port}: Address"):
            open_sockets(ListenAddress(host="127.0.0.1", port=port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "192.0.2.1"])
def test_an_address_of_another_machine_is_no_place_to_listen(host: str) -> None:
    with pytest.raises(ServingError, match="cannot listen"):
        open_sockets(ListenAddress(host=host, port=0))


def option(sock: socket.socket, name: int, level: int = socket.SOL_SOCKET) -> bool:
    return bool(sock.getsockopt(level, name))


def test_a_listener_listens_does_not_block_and_may_come_back_soon() -> None:
    (listener,) = open_sockets(HERE)
    with listener, socket.create_connection(listener.getsockname()) as client:
        assert client.getpeername() == listener.getsockname()
        assert listener.gettimeout() == 0.0
        assert option(listener, socket.SO_REUSEADDR)
        assert not option(listener, socket.SO_REUSEPORT)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_datagram_port_is_shared_by_the_workers_and_nobody_else(workers: int) -> None:
    opened = [sock for each in open_datagram_sockets(HERE, workers) for sock in each]
    try:
        assert {sock.gettimeout() for sock in opened} == {0.0}
        assert not any(option(sock, socket.SO_REUSEADDR) for sock in opened)
        assert {option(sock, socket.SO_REUSEPORT) for sock in opened} == {workers > 1}
    finally:
        for sock in opened:
            sock.close()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
def test_a_socket_of_ipv6_is_for_that_alone() -> None:
    (listener,) = open_sockets(ListenAddress(host="::1", port=0))
    with listener:
        assert listener.family is socket.AF_INET6
        assert option(listener, socket.IPV6_V6ONLY, socket.IPPROTO_IPV6)
    with pytest.raises(ServingError, match="cannot listen"):  # it is one of IPv4
        open_sockets(ListenAddress(host="::ffff:127.0.0.1", port=0))


def test_why_a_host_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServingError, match="not a host name"):
        open_sockets(ListenAddress(host="a" * 70, port=0))

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ServingError, match=r"cannot listen on x\.example:0: Name or service"):
        open_sockets(ListenAddress(host="x.example", port=0))


@pytest.mark.skipif(sys.platform != "linux", reason="where open files are seen")
def test_workers_that_do_not_all_get_their_sockets_leave_none_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = socket.getaddrinfo, list[object]()

    def once(*of: Any, **more: Any) -> object:
        calls.append(of)
        if len(calls) > 1:
            raise socket.gaierror(socket.EAI_AGAIN, os.strerror(11))
        return real(*of, **more)

    before = open_files()
    monkeypatch.setattr(socket, "getaddrinfo", once)
    with pytest.raises(ServingError, match="cannot listen") as caught:
        open_datagram_sockets(HERE, 2)
    assert len(calls) == 2
    assert open_files() == before, caught.value  # the frames of which are still there
