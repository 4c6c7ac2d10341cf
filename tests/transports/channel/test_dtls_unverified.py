"""Clients whose certificates do not verify: told why, and not for ever."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from est_core.wires.coapmap import Code
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import NO_ROOM, Established, HandshakeFailed
from est_transports.channel.dtls_unverified import UnverifiedShare
from est_transports.coap.questions import QUESTIONS_MAX, QUESTIONS_PER_HOST
from tests.pki import pki
from tests.transports.coap_site import CORE, CRTS, SEN, Client, Site, csr_of
from tests.transports.dtls_pair import DtlsNetwork, a_dtls_client

LIMITS = DtlsLimits(unverified_messages=3, unverified_per_host=2, unverified_s=60.0)
ROGUE = a_dtls_client(pki().rogue_client)
CSR = csr_of()


def unverified_client(site: Site, port: int = 40001, host: str = "192.0.2.1") -> Client:
    return site.connect((host, port), ROGUE)


# How long one goes on


@pytest.mark.req("COAPS-017")
def test_one_that_goes_on_is_ended_after_so_many_refusals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "est_transports")
    site = Site(dtls=LIMITS)
    client = unverified_client(site)
    codes = [site.ask(client, head).head.code for head in (CRTS, CORE, CRTS)]
    assert codes == [Code.FORBIDDEN] * 3
    assert site.endpoint.associations == 0
    assert client.engine.read() == b""  # close_notify: it was told
    assert "192.0.2.1:40001: ended" in caplog.text
    site.settle()
    assert len(site.log.codes) == 3


def test_what_it_says_besides_requests_counts_too() -> None:
    site = Site(dtls=LIMITS)
    client = unverified_client(site)
    for number in range(3):
        client.engine.write(bytes([0x40, 0, 0, number]))  # a CoAP ping
        site.settle()
    assert site.endpoint.associations == 0


def test_one_that_verifies_goes_on_as_long_as_it_likes() -> None:
    site = Site(dtls=LIMITS)
    client = site.connect()
    codes = [site.ask(client, CRTS).head.code for _ in range(10)]
    assert codes == [Code.CONTENT] * 10
    assert site.endpoint.associations == 1


def test_every_refusal_arrives_before_the_end() -> None:
    site = Site(dtls=replace(LIMITS, unverified_messages=1))
    client = unverified_client(site)
    assert site.ask(client, SEN, CSR).head.code == Code.FORBIDDEN


# How often they come


def test_of_one_host_so_many_come_in_a_time_the_ended_ones_included() -> None:
    network = DtlsNetwork(limits=LIMITS)
    for port in (1, 2):
        network.connect(("192.0.2.1", port), ROGUE)
        network.server.close(network.association(("192.0.2.1", port)))
    network.taken()
    network.connect(("192.0.2.1", 3), ROGUE)
    (failed,) = network.taken()
    assert isinstance(failed, HandshakeFailed)
    assert failed.code == NO_ROOM
    assert "does not verify" in failed.reason
    assert network.server.associations == ()


def test_clients_behind_the_same_address_that_verify_are_not_touched() -> None:
    network = DtlsNetwork(limits=LIMITS)
    for port in range(1, 5):
        network.connect(("192.0.2.1", port), ROGUE)
    network.taken()
    network.connect(("192.0.2.1", 99))
    assert [type(event) for event in network.taken()] == [Established]


def test_other_hosts_are_not_touched() -> None:
    network = DtlsNetwork(limits=LIMITS)
    for port in range(1, 4):
        network.connect(("192.0.2.1", port), ROGUE)
    network.taken()
    network.connect(("192.0.2.2", 1), ROGUE)
    assert [type(event) for event in network.taken()] == [Established]


def test_after_the_time_they_may_come_again() -> None:
    network = DtlsNetwork(limits=LIMITS)
    for port in (1, 2):
        network.connect(("192.0.2.1", port), ROGUE)
    network.taken()
    network.now += LIMITS.unverified_s
    network.connect(("192.0.2.1", 3), ROGUE)
    assert [type(event) for event in network.taken()] == [Established]


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    share = UnverifiedShare(per_host=1, seconds=60.0)
    assert share.take("first", 0.0)
    assert not share.take("first", 1.0)
    for number in range(1024):
        assert share.take(str(number), 2.0)
    assert len(share._hosts) == 1024
    assert share.take("first", 3.0)  # forgotten: so many hosts come to more than one of them


# Questions to the application


def test_clients_of_one_host_leave_questions_to_others() -> None:
    site = Site()
    site.holds = True
    clients = [site.connect(("192.0.2.1", port)) for port in range(QUESTIONS_PER_HOST + 1)]
    for client in clients:
        site.send(client, SEN, CSR)
    assert len(site.held) == QUESTIONS_PER_HOST < QUESTIONS_MAX
    assert site.log.codes == [(503, "server/busy")]
    other = site.connect(("192.0.2.2", 1))
    site.send(other, SEN, CSR)
    assert len(site.held) == QUESTIONS_PER_HOST + 1
    site.decide(site.held[0])
    site.send(clients[-1], SEN, CSR)
    assert len(site.held) == QUESTIONS_PER_HOST + 2


def test_of_too_many_hosts_the_one_that_was_longest_unseen_is_forgotten() -> None:
    share = UnverifiedShare(per_host=1, seconds=60.0)
    for number in range(1024):
        assert share.take(f"host {number}", 0.0)
    assert not share.take("host 0", 1.0)  # seen again
    assert share.take("another", 2.0)
    assert not share.take("host 0", 3.0)
    assert share.take("host 1", 3.0)
