"""The DTLS server of many addresses: who gets an association, who keeps it, and what it costs."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.channel import TrustClass
from est_transports.channel.dtls import DtlsEngine, TlsError
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import (
    Address,
    Count,
    DtlsEvent,
    DtlsServer,
    Ended,
    Established,
    HandshakeFailed,
    Received,
)
from est_transports.channel.dtls_records import renumbered, sequence_number
from est_transports.pki.trust import TrustAnchors
from tests.pki import pki
from tests.reached import reached, reaches
from tests.transports.dtls_pair import DtlsNetwork, a_dtls_client, a_dtls_server, counting_entropy

ALICE: Address = ("192.0.2.1", 40001)
BOB: Address = ("192.0.2.2", 40002)
MALLORY: Address = ("203.0.113.66", 666)
SERVER = a_dtls_server()
CLIENT = a_dtls_client()
SERVER_HELLO = b"\x02"
ROGUE = a_dtls_client(pki().rogue_client)


def address(number: int) -> Address:
    """Return an address of its own for each number."""
    return (f"198.51.100.{number % 250}", 10000 + number)


def codes(events: list[DtlsEvent]) -> list[str]:
    """Return the kinds of events, endings and failures with their codes."""
    return [
        f"{type(event).__name__} {event.code}"
        if isinstance(event, Ended | HandshakeFailed)
        else type(event).__name__
        for event in events
    ]


def talks(network: DtlsNetwork, client: DtlsEngine, where: Address) -> bool:
    """True if a client and the server can still tell each other something."""
    network.taken()
    client.write(b"ping")
    for datagram in client.outgoing():
        network.server.receive(datagram, where, network.now)
    heard = [event for event in network.taken() if isinstance(event, Received)]
    if [event.datagram for event in heard] != [b"ping"]:
        return False
    network.server.send(heard[0].association, b"pong", network.now)
    for to, datagram in network.server.outgoing():
        if to == where:
            client.receive(datagram)
    return client.read() == b"pong"


def hello_of(client: DtlsEngine) -> bytes:
    """Return the one datagram with which a client begins, or goes on."""
    client.handshake()
    (hello,) = client.outgoing()
    return hello


def hello_with_cookie(network: DtlsNetwork, where: Address) -> tuple[DtlsEngine, bytes]:
    """Return a new client at an address, and the hello that proves it."""
    client = DtlsEngine(CLIENT)
    (verify,) = network.send(hello_of(client), where)
    client.receive(verify)
    return client, hello_of(client)


@pytest.mark.req("COAPS-017", "COAPS-024")
def test_two_clients_have_an_association_each_and_keep_it() -> None:
    network = DtlsNetwork(SERVER)
    alice = network.connect(ALICE, CLIENT)
    bob = network.connect(BOB, a_dtls_client(pki().manufacturer_client))
    events = network.taken()
    assert codes(events) == ["Established", "Established"]
    assert [each.address for each in network.server.associations] == [ALICE, BOB]
    assert network.association(ALICE).channel.binding == alice.channel().binding
    assert network.association(BOB).channel.trust_class is TrustClass.IMPLICIT
    assert network.association(ALICE).payload_bytes == alice.payload_bytes
    for _ in range(2):
        assert talks(network, bob, BOB)
        assert talks(network, alice, ALICE)


def test_a_certificate_that_fails_is_an_association_with_that_fact() -> None:
    network = DtlsNetwork(SERVER)
    network.connect(MALLORY, ROGUE)
    channel = network.association(MALLORY).channel
    assert channel.trust_class is TrustClass.FAILED
    assert "no trust anchor" in channel.failure


def test_a_handshake_that_fails_is_told_to_the_client_and_to_the_log() -> None:
    network = DtlsNetwork(SERVER)
    trust = TrustAnchors(explicit=(pki().rogue.certificate,))
    client = network.begin(ALICE, a_dtls_client(trust=trust))
    for _ in range(4):
        network.deliver()
    with pytest.raises(TlsError) as caught:
        client.handshake()
    assert caught.value.code == "tls/untrusted-server"
    (event,) = network.taken()
    assert isinstance(event, HandshakeFailed)
    assert (event.address, event.code) == (ALICE, "tls/peer-refused-certificate")
    assert network.server.handshakes == 0


# Cookies


def test_before_the_cookie_comes_back_there_is_nothing() -> None:
    network = DtlsNetwork(SERVER)
    client, second = hello_with_cookie(network, ALICE)
    assert network.server.handshakes == 0
    assert network.server.counts[Count.UNPROVEN] == 1
    client.receive(b"".join(network.send(second, ALICE)))
    assert network.server.handshakes == 1


def test_a_cookie_is_good_for_its_address_only() -> None:
    network = DtlsNetwork(SERVER)
    _, second = hello_with_cookie(network, ALICE)
    for where in (BOB, (ALICE[0], 40009), (*ALICE, 0)):
        (answer,) = network.send(second, where)
        assert len(answer) < len(second)
    assert network.server.handshakes == 0


def test_a_forged_cookie_gets_a_cookie_and_no_more() -> None:
    network = DtlsNetwork(SERVER)
    _, second = hello_with_cookie(network, ALICE)
    at = 59 + 1 + 1  # after the random come an empty session id and the cookie's length
    assert second[59] == 0
    assert second[60] == 32
    for changed in range(at, at + 32):
        forged = second[:changed] + bytes([second[changed] ^ 1]) + second[changed + 1 :]
        assert len(network.send(forged, ALICE)) == 1
    other_random = second[:27] + bytes(32) + second[59:]
    assert len(network.send(other_random, ALICE)) == 1
    assert network.server.handshakes == 0


@pytest.mark.req("COAPS-051")
def test_a_client_that_repeats_its_first_hello_beside_the_second_waits_for_nothing() -> None:
    """RFC 6347 4.2.4: its timer ran out while the HelloVerifyRequest was on its way."""
    network = DtlsNetwork(SERVER)
    first = DtlsEngine(CLIENT)
    first.handshake()
    (hello,) = first.outgoing()
    (verify,) = network.send(hello, ALICE)
    first.receive(verify)
    (second,) = first.outgoing()
    network.clients[ALICE] = first
    first.receive(b"".join(network.send(hello + second, ALICE)))
    assert network.server.handshakes == 1
    for _ in range(6):
        network.deliver()
    assert first.handshake()


def test_another_hello_behind_the_first_is_not_looked_at() -> None:
    network = DtlsNetwork(SERVER)
    _, second = hello_with_cookie(network, ALICE)
    stranger = DtlsEngine(CLIENT)
    stranger.handshake()
    (hello,) = stranger.outgoing()
    network.send(hello + second, ALICE)
    assert network.server.handshakes == 0


def test_a_cookie_outlives_one_change_of_the_key_and_not_two() -> None:
    for late_s, proven in ((61.0, 1), (121.0, 0)):
        network = DtlsNetwork(SERVER)
        _, second = hello_with_cookie(network, ALICE)
        network.send(hello_of(DtlsEngine(CLIENT)), BOB)
        network.now += late_s
        network.send(second, ALICE)
        assert network.server.handshakes == proven


def test_first_flights_from_forged_addresses_leave_no_state() -> None:
    server = DtlsServer(lambda: SERVER, entropy=counting_entropy())
    hello = hello_of(DtlsEngine(CLIENT))
    flights = [hello[:27] + number.to_bytes(32, "big") + hello[59:] for number in range(200)]

    def flood(rounds: int) -> None:
        for number in range(rounds):
            server.receive(flights[number % 200], address(number % 5000), 1000.0 + number / 1000)
            server.outgoing()

    flood(300)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    flood(10_000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 128 * 1024  # 13 bytes for each of them
    assert server.associations == ()
    assert server.handshakes == 0
    assert server.next_event() is None
    assert server.next_timeout(1000.0) is None
    assert server.counts[Count.UNPROVEN] == 10_300


def test_what_is_no_dtls_and_what_belongs_to_nobody_is_counted_and_dropped() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(datagram_bytes=2048))
    hello = hello_of(DtlsEngine(CLIENT))
    for bad in (b"", b"\x40\x01\x12\x34", b"GET / HTTP/1.1\r\n\r\n", hello[:-1], bytes(2048)):
        assert network.send(bad, MALLORY) == ()
    assert network.server.counts[Count.NOT_DTLS] == 5
    assert network.send(hello + bytes(2048), MALLORY) == ()
    assert network.server.counts[Count.TOO_LARGE] == 1
    for stray in (b"\x17" + hello[1:], hello[:21] + b"\x01" + hello[22:]):
        assert network.send(stray, MALLORY) == ()
    assert network.server.counts[Count.NO_ASSOCIATION] == 2
    assert network.taken() == []


def test_the_source_is_asked_for_every_hello_and_old_associations_keep_their_context() -> None:
    network = DtlsNetwork(SERVER)
    alice = network.connect(ALICE, CLIENT)
    network.send(hello_of(DtlsEngine(CLIENT)), MALLORY)
    network.context = a_dtls_server(trust=TrustAnchors())
    network.connect(BOB, CLIENT)
    assert network.association(ALICE).channel.is_verified
    assert not network.association(BOB).channel.is_verified
    assert talks(network, alice, ALICE)


@pytest.mark.parametrize("lost", [0, 1, 2, 70])
def test_the_server_hello_has_the_number_of_the_hello_that_it_answers(lost: int) -> None:
    """RFC 6347 4.2.1. One with a number that was used already is dropped as a repetition.

    The client says a lost hello again under the next number; here nothing waits for its clock.
    """
    network = DtlsNetwork()
    client = network.begin(ALICE)
    for _ in range(3):
        for datagram in client.outgoing():
            for answer in network.send(renumbered(datagram, lost), ALICE):
                if answer[13:14] == SERVER_HELLO:
                    assert sequence_number(answer) == 1 + lost
                client.receive(answer)
    assert client.handshake()
    assert talks(network, client, ALICE)


# One address, two associations


def test_a_client_that_begins_anew_takes_the_place_of_its_old_association() -> None:
    network = DtlsNetwork(SERVER)
    network.connect(ALICE, CLIENT)
    old = network.association(ALICE)
    network.taken()
    again = network.connect(ALICE, CLIENT)
    events = network.taken()
    assert codes(events) == ["Ended dtls/replaced", "Established"]
    assert isinstance(events[0], Ended)
    assert events[0].association is old
    assert network.server.associations != (old,)
    assert talks(network, again, ALICE)
    network.server.send(old, b"to nobody", network.now)
    network.server.close(old)
    assert network.server.outgoing() == ()
    assert talks(network, again, ALICE)


def test_the_old_association_lives_until_the_new_handshake_is_over() -> None:
    network = DtlsNetwork(SERVER)
    old = network.connect(ALICE, CLIENT)
    client, second = hello_with_cookie(network, ALICE)
    assert talks(network, old, ALICE)
    flight = network.send(second, ALICE)
    assert network.server.handshakes == 1
    assert talks(network, old, ALICE)
    for datagram in flight:
        client.receive(datagram)
    *most, last = client.outgoing()
    for datagram in most:
        network.send(datagram, ALICE)
    assert talks(network, old, ALICE)
    network.send(last, ALICE)
    assert codes(network.taken())[-2:] == ["Ended dtls/replaced", "Established"]


def test_one_who_writes_anothers_address_on_a_hello_cannot_end_its_association() -> None:
    network = DtlsNetwork(SERVER)
    alice = network.connect(ALICE, CLIENT)
    network.taken()
    for _ in range(20):
        network.send(hello_of(DtlsEngine(ROGUE)), ALICE)
    assert network.server.handshakes == 0
    assert network.taken() == []
    assert talks(network, alice, ALICE)


def test_a_repeated_hello_makes_no_second_association() -> None:
    network = DtlsNetwork(SERVER)
    client, second = hello_with_cookie(network, ALICE)
    network.clients[ALICE] = client
    for datagram in network.send(second, ALICE):
        client.receive(datagram)
    network.send(second, ALICE)
    assert network.server.handshakes == 1
    for _ in range(3):
        network.deliver()
    assert client.handshake()
    assert network.send(second, ALICE) == ()
    assert network.server.handshakes == 0
    assert codes(network.taken()) == ["Established"]
    assert talks(network, client, ALICE)


def test_a_handshake_begun_anew_replaces_the_one_that_was_under_way() -> None:
    network = DtlsNetwork(SERVER)
    _, second = hello_with_cookie(network, ALICE)
    network.send(second, ALICE)
    network.connect(ALICE, CLIENT)
    assert codes(network.taken()) == ["Established"]
    assert network.server.handshakes == 0


# Ends


def test_a_handshake_begun_anew_is_the_newest_one() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(half_open=2))
    where: list[Address] = [("192.0.2.1", 40000 + number) for number in range(3)]
    for place in (where[0], where[1], where[0], where[2]):
        _, second = hello_with_cookie(network, place)
        network.send(second, place)
    assert [event.address for event in network.taken() if isinstance(event, HandshakeFailed)] == [
        where[1]
    ]


def test_a_client_that_begins_anew_often_has_one_place_of_its_host() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations_per_host=2))
    neighbour: Address = (ALICE[0], 40002)
    for _ in range(3):
        network.connect(ALICE, CLIENT)
    network.connect(neighbour, CLIENT)
    assert codes(network.taken()).count("Ended dtls/replaced") == 2
    assert [each.address for each in network.server.associations] == [ALICE, neighbour]
    assert network.server.knows(ALICE)
    assert network.server.knows(neighbour)
    assert not network.server.knows(BOB)


def test_an_association_that_openssl_cannot_encrypt_for_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_connection: SSL.Connection, _data: bytes) -> int:
        raise SSL.Error([("SSL routines", "", "bad length")])

    network = DtlsNetwork(SERVER)
    network.connect(ALICE, CLIENT)
    network.taken()
    with monkeypatch.context() as patch:
        patch.setattr(SSL.Connection, "send", fail)
        network.server.send(network.association(ALICE), b"x", network.now)
    assert codes(network.taken()) == ["Ended tls/protocol"]
    assert network.server.associations == ()


def test_close_notify_of_the_client_ends_its_association_and_is_answered() -> None:
    network = DtlsNetwork(SERVER)
    alice = network.connect(ALICE, CLIENT)
    network.taken()
    alice.write(b"last words")
    alice.close()
    network.deliver()
    assert codes(network.events) == ["Received", "Ended dtls/closed"]
    assert alice.read() == b""
    assert network.server.associations == ()


def test_close_says_close_notify_and_makes_no_event() -> None:
    network = DtlsNetwork(SERVER)
    alice = network.connect(ALICE, CLIENT)
    network.taken()
    association = network.association(ALICE)
    network.server.close(association)
    network.server.close(association)
    network.deliver()
    assert alice.read() == b""
    assert network.taken() == []
    assert network.server.associations == ()


def test_an_association_expires_after_its_last_word_either_way() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(idle_s=100.0))
    alice = network.connect(ALICE, CLIENT)
    network.now += 60
    assert talks(network, alice, ALICE)
    network.now += 60
    network.server.send(network.association(ALICE), b"late answer", network.now)
    assert network.server.next_timeout(network.now) == network.now + 100
    network.now += 99.9
    network.server.handle_timeout(network.now)
    assert len(network.server.associations) == 1
    network.now += 0.1
    network.server.handle_timeout(network.now)
    network.deliver()
    assert codes(network.taken()) == ["Ended dtls/idle"]
    assert [alice.read(), alice.read()] == [b"late answer", b""]
    assert network.server.next_timeout(network.now) is None


def test_an_association_whose_client_alone_speaks_does_not_expire() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(idle_s=100.0))
    alice = network.connect(ALICE, CLIENT)
    for _ in range(3):
        network.now += 60
        alice.write(b"are you there?")
        network.deliver()
        network.server.handle_timeout(network.now)
    assert [each.address for each in network.server.associations] == [ALICE]


def test_forged_datagrams_do_not_keep_an_association_alive() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(idle_s=100.0))
    network.connect(ALICE, CLIENT)
    network.now += 99
    network.send(b"\x17\xfe\xfd" + bytes([0, 1]) + bytes(6) + b"\x00\x20" + bytes(32), ALICE)
    network.now += 1
    network.server.handle_timeout(network.now)
    assert network.server.associations == ()


def test_a_busy_association_does_not_expire() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(idle_s=100.0))
    network.connect(ALICE, CLIENT)
    network.connect(BOB, CLIENT)
    network.association(ALICE).is_busy = True
    network.now += 500
    network.server.handle_timeout(network.now)
    assert [each.address for each in network.server.associations] == [ALICE]
    assert network.server.next_timeout(network.now) is None
    network.association(ALICE).is_busy = False
    assert network.server.next_timeout(network.now) is not None
    network.server.handle_timeout(network.now)
    assert network.server.associations == ()


def test_a_handshake_that_stops_half_way_is_given_up() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(handshake_s=5.0))
    _, second = hello_with_cookie(network, ALICE)
    network.send(second, ALICE)
    due = network.server.next_timeout(network.now)
    assert due is not None
    assert network.now < due <= network.now + 1  # OpenSSL's first repetition
    network.now += 5
    network.server.handle_timeout(network.now)
    assert codes(network.taken()) == ["HandshakeFailed tls/timeout"]
    assert network.server.handshakes == 0


# Room


@pytest.mark.parametrize("left_s", [0.0, 0.5, 1.0])
def test_a_handshake_whose_client_never_answers_ends_when_openssl_gives_it_up(
    left_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(_connection: SSL.Connection) -> bool:
        raise SSL.Error([("SSL routines", "", "read timeout expired")])

    network = DtlsNetwork(SERVER)
    _, second = hello_with_cookie(network, ALICE)
    network.send(second, ALICE)
    with monkeypatch.context() as patch:
        patch.setattr(SSL.Connection, "DTLSv1_get_timeout", lambda _connection: left_s)
        patch.setattr(SSL.Connection, "DTLSv1_handle_timeout", give_up)
        assert network.server.next_timeout(network.now) == network.now + left_s
        network.server.handle_timeout(network.now)
    assert codes(network.taken()) == ([] if left_s else ["HandshakeFailed tls/timeout"])
    assert network.server.handshakes == (1 if left_s else 0)


def test_the_oldest_handshake_gives_way_and_no_association_does() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(half_open=3, associations=1))
    alice = network.connect(ALICE, CLIENT)
    network.taken()
    for number in range(5):
        where = address(number)
        network.send(hello_with_cookie(network, where)[1], where)
    failed = [event for event in network.taken() if isinstance(event, HandshakeFailed)]
    assert [(event.address, event.code) for event in failed] == [
        (address(0), "dtls/no-room"),
        (address(1), "dtls/no-room"),
    ]
    assert network.server.handshakes == 3
    assert talks(network, alice, ALICE)


def test_the_longest_idle_association_gives_way_to_a_new_one() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations=3))
    clients = [network.connect(address(number), CLIENT) for number in range(3)]
    assert talks(network, clients[0], address(0))
    network.connect(ALICE, CLIENT)
    assert codes(network.taken()) == ["Ended dtls/no-room", "Established"]
    assert [each.address for each in network.server.associations] == [
        address(2),
        address(0),
        ALICE,
    ]
    assert clients[1].read() == b""


def test_unverified_clients_are_evicted_before_verified_ones() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations=3))
    network.connect(ALICE, CLIENT)
    network.connect(BOB, CLIENT)
    for number in range(4):
        network.connect(address(number), ROGUE)
    assert [each.address for each in network.server.associations] == [ALICE, BOB, address(3)]


def test_a_busy_association_never_gives_way() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations=2))
    network.connect(ALICE, ROGUE)
    network.connect(BOB, CLIENT)
    network.association(ALICE).is_busy = True
    network.connect(address(0), CLIENT)
    assert {each.address for each in network.server.associations} == {ALICE, address(0)}


def test_where_all_are_busy_a_hello_is_not_answered_and_a_handshake_ends() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations=1))
    client, second = hello_with_cookie(network, BOB)
    flight = network.send(second, BOB)
    alice = network.connect(ALICE, CLIENT)
    network.association(ALICE).is_busy = True
    assert network.send(hello_of(DtlsEngine(CLIENT)), MALLORY) == ()
    assert network.server.counts[Count.NO_ROOM] == 1
    network.taken()
    for datagram in flight:
        client.receive(datagram)
    network.clients[BOB] = client
    network.deliver()
    assert codes(network.taken()) == ["HandshakeFailed dtls/no-room"]
    assert client.handshake()
    assert client.read() == b""
    again = network.connect(ALICE, CLIENT)  # its own place is its own
    assert talks(network, again, ALICE)
    assert not alice.read()


def at(host: str, port: int) -> Address:
    """Return an address as a socket of the host's family does."""
    return (host, port, 0, 0) if ":" in host else (host, port)


ONE_HOST = {
    "an IPv4 address": ["203.0.113.66"] * 5,
    "a network of IPv6": [f"2001:db8:66:66::{number}" for number in range(5)],
    "an IPv4 address of a socket for both": ["::ffff:203.0.113.66"] * 5,
}
MANY_HOSTS = {
    "IPv4": ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
    "IPv6": ["2001:db8:1::1", "2001:db8:1:1::1", "2001:db8:2::1"],
    "IPv4 of a socket for both": ["::ffff:192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3"],
    "names": ["node-1", "node-2", "node-3"],
}


@pytest.mark.parametrize("kind", ONE_HOST)
def test_many_handshakes_of_one_host_crowd_out_its_own(kind: str) -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(half_open=3))
    hosts = [ALICE, *(at(host, 600 + port) for port, host in enumerate(ONE_HOST[kind]))]
    for where in hosts:
        network.send(hello_with_cookie(network, where)[1], where)
    failed = [event for event in network.taken() if isinstance(event, HandshakeFailed)]
    assert [(event.address, event.code) for event in failed] == [
        (where, "dtls/no-room") for where in hosts[1:4]
    ]
    assert network.server.handshakes == 3


@pytest.mark.parametrize("kind", ONE_HOST)
def test_one_host_cannot_hold_all_associations_even_if_all_are_busy(kind: str) -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations=4, associations_per_host=2))
    hosts = [at(host, 600 + port) for port, host in enumerate(ONE_HOST[kind])]
    for where in hosts[:2]:
        network.connect(where, CLIENT)
        network.association(where).is_busy = True
    for where in hosts[2:]:
        assert network.send(hello_of(DtlsEngine(CLIENT)), where) == ()
    assert network.server.counts[Count.NO_ROOM] == 3
    network.connect(ALICE, CLIENT)
    network.connect(BOB, CLIENT)
    assert [each.address for each in network.server.associations] == [*hosts[:2], ALICE, BOB]


@pytest.mark.parametrize("kind", MANY_HOSTS)
def test_a_host_with_its_share_makes_room_for_itself(kind: str) -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations=9, associations_per_host=2))
    first, second, third = MANY_HOSTS[kind]
    for host in (second, third, first):
        network.connect(at(host, 1), CLIENT)
    for port in (2, 3, 4):
        network.connect(at(first, port), CLIENT)
    assert [each.address for each in network.server.associations] == [
        *(at(second, 1), at(third, 1), at(first, 3), at(first, 4))
    ]
    network.server.close(network.association(at(first, 3)))
    network.connect(at(first, 5), CLIENT)
    assert len(network.server.associations) == 4
    assert codes(network.taken()).count("Ended dtls/no-room") == 2


@pytest.mark.parametrize("where", [ALICE, MALLORY])
def test_a_client_that_does_not_verify_takes_no_place_of_one_that_does(where: Address) -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(associations=1))
    alice = network.connect(ALICE, CLIENT)
    network.taken()
    unverified = network.connect(where, ROGUE)
    assert codes(network.taken()) == ["HandshakeFailed dtls/no-room"]
    assert unverified.read() == b""
    assert talks(network, alice, ALICE)
    network.connect(where, CLIENT)
    assert [each.address for each in network.server.associations] == [where]


def test_what_nobody_takes_is_bounded() -> None:
    network = DtlsNetwork(SERVER, DtlsLimits(queued_datagrams=5))
    alice = network.connect(ALICE, CLIENT)
    network.taken()
    for _ in range(20):
        alice.write(b"x")
    for datagram in alice.outgoing():
        network.server.receive(datagram, ALICE, network.now)
    for _ in range(20):
        network.server.send(network.association(ALICE), b"y", network.now)
    assert len(network.server.outgoing()) == 5
    assert codes(network.taken()) == ["Received"] * 5
    assert network.server.counts[Count.NOT_TAKEN] == 30
    assert talks(network, alice, ALICE)


def test_a_datagram_that_does_not_fit_is_the_callers_mistake() -> None:
    network = DtlsNetwork(SERVER)
    alice = network.connect(ALICE, CLIENT)
    association = network.association(ALICE)
    with pytest.raises(LocalProtocolError):
        network.server.send(association, bytes(association.payload_bytes + 1), network.now)
    assert talks(network, alice, ALICE)


# Hostile networks


def test_every_datagram_cut_or_changed_at_every_byte_hurts_nobody() -> None:
    network = DtlsNetwork(SERVER)
    alice = network.connect(ALICE, CLIENT)
    client, second = hello_with_cookie(network, BOB)
    alice.write(b"mine")
    network.taken()
    for datagram in (second, *alice.outgoing()):
        for at in range(len(datagram)):
            changed = datagram[:at] + bytes([datagram[at] ^ 0x55]) + datagram[at + 1 :]
            for bad in (datagram[:at], changed):
                network.send(bad, MALLORY)
                network.send(bad, ALICE)
    assert network.taken() == []
    assert network.server.handshakes == 0
    assert talks(network, alice, ALICE)
    for datagram in network.send(second, BOB):
        client.receive(datagram)
    assert client.outgoing() != ()


@reaches(Established=50, Received=50)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_a_replaying_reordering_misdirecting_network_raises_nothing(seed: int) -> None:
    chance = random.Random(seed)
    network = DtlsNetwork(SERVER, DtlsLimits(associations=2, half_open=2))
    overheard: list[bytes] = []
    where = [ALICE, BOB, MALLORY]

    def send(datagram: bytes, source: Address) -> None:
        source = source if chance.random() < 0.9 else chance.choice(where)
        network.server.receive(datagram, source, network.now)

    for spot in where:
        network.begin(spot, chance.choice([CLIENT, ROGUE]))
    for _ in range(25):
        for spot, client in network.clients.items():
            said = list(client.outgoing())
            overheard += said
            if chance.random() < 0.3:
                said.reverse()
            for datagram in said:
                send(datagram, spot)
            for _ in range(chance.randrange(3)):
                send(chance.choice(overheard), chance.choice(where))
        for spot, datagram in network.flush():
            overheard.append(datagram)
            network.clients[spot].receive(datagram)
        for client in network.clients.values():
            with suppress(TlsError):
                if client.handshake():
                    client.write(b"x")
        network.now += chance.random()
        network.server.handle_timeout(network.now)
    assert len(network.server.associations) <= 2
    assert network.server.handshakes <= 2
    reached(*codes(network.taken()))


@dataclass
class Lossy:
    """A client whose handshake loses the datagrams of these numbers, counted both ways."""

    client: DtlsEngine
    lost: frozenset[int]
    carried: int = 0
    done: bool = False

    def passes(self) -> bool:
        """Count a datagram; True if it arrives."""
        self.carried += 1
        return self.carried not in self.lost


def test_twenty_handshakes_at_once_survive_lost_datagrams_in_real_time() -> None:
    small, context = a_dtls_client(mtu_bytes=300), a_dtls_server(mtu_bytes=300)
    server = DtlsServer(lambda: context, entropy=counting_entropy())
    peers = {
        address(number): Lossy(DtlsEngine(small), frozenset({number % 11 + 1, number // 11 * 6}))
        for number in range(20)
    }
    give_up_at = time.monotonic() + 60
    established = 0
    while not all(peer.done for peer in peers.values()) or established < 20:
        assert time.monotonic() < give_up_at
        for where, peer in peers.items():
            if peer.client.timeout_s() == 0:
                peer.client.handle_timeout()
            peer.done = peer.client.handshake()
            for datagram in peer.client.outgoing():
                if peer.passes():
                    server.receive(datagram, where, time.monotonic())
        server.handle_timeout(time.monotonic())
        for where, datagram in server.outgoing():
            if peers[where].passes():
                peers[where].client.receive(datagram)
        while (event := server.next_event()) is not None:
            assert isinstance(event, Established)
            established += 1
        time.sleep(0.01)
    assert len(server.associations) == 20
    assert all(peer.carried > max(peer.lost) for peer in peers.values())
    for peer in peers.values():
        assert peer.client.channel().binding is not None
