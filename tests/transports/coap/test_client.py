"""The client's end of EST-coaps in memory: real DTLS, a real server, time that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from est_core import (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    BasicCredentials,
    CACertsReceived,
    ClientResult,
    ClientSession,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Instant,
    LocalProtocolError,
    PopMode,
    RemoteProtocolError,
    Request,
    RetryLater,
    default_policy,
)
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequestInfo
from est_core.channel import TlsVersion
from est_core.events import ConnectRequested
from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.channel.dtls_records import is_dtls
from est_transports.channel.errors import CLOSED, TlsError
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.client_config import ClientConfig, ClientTimeouts
from est_transports.coap.client import REUSE_S, CoapLink
from est_transports.coap.client_wire import ClientConnection
from est_transports.coap.limits import CoapLimits
from est_transports.coap.server_wire import RequestReceived
from est_transports.drive.client import ClientDriver, Connect
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import TrustAnchors
from tests.application import FakeApplication
from tests.pki import CMC_RA, SERVER_AUTH, Entity, Subject, pki
from tests.reached import reached, reaches
from tests.transports.coap_network import Weather
from tests.transports.coap_simulation import Device, EstServer, OddServer, World
from tests.transports.dtls_pair import a_dtls_server
from tests.transports.https_site import client_config, identity_of, new_device
from tests.transports.raw_coap import TURNS_MAX, JudgedConnection

URI = EstUri.parse("coaps://est.example")
DEVICE = new_device()
BAD_WEATHER = Weather(loss=0.1, duplication=0.05, delay_s=0.8)


def config(**changes: Any) -> ClientConfig:
    """Return the configuration of a device that has the usual client's certificate."""
    mine = (identity_of(pki().client),)
    return client_config(**{"signer": DEVICE.signer, "identities": mine, **changes})


def session(uri: EstUri = URI, **changes: Any) -> ClientSession:
    """Return a session of that device, which trusts the EST CA."""
    values = {"trust": (pki().ca.certificate,), "identity": pki().client.certificate, **changes}
    return ClientSession(uri, **values)


def renewal() -> tuple[CertRequestInfo, LocalSigner]:
    """Return a request for the same certificate again, and who signs it."""
    signer = LocalSigner(pki().client.key)
    subject = pki().client.certificate.subject
    return CertRequestInfo(subject=subject, spki=signer.public_key_spki, attributes=()), signer


def failed(result: ClientResult | RetryLater | None) -> Failed:
    """Return that failure."""
    assert isinstance(result, Failed), result
    return result


# Operations


@pytest.mark.req("COAPS-001", "COAPS-002", "COAPS-024", "COAPS-025", "COAPS-040", "COAPS-047")
def test_every_operation_on_one_association() -> None:
    world = World()
    server = world.serve(FakeApplication(csrattrs=CsrAttrs(items=()).with_challenge_password()))
    device = Device(world, config())
    certs = device.run(session().cacerts())
    assert isinstance(certs, CACertsReceived)
    assert certs.certificates == (pki().ca.certificate,)
    wishes = device.run(session().csrattrs())
    assert isinstance(wishes, CSRAttrsReceived)
    assert wishes.csrattrs is not None
    enrolled = device.run(session().enroll(DEVICE.info, csrattrs=wishes.csrattrs))
    assert isinstance(enrolled, Enrolled)
    assert enrolled.certificate == server.log.records[-1].issued
    assert [record.operation for record in server.log.records] == [
        *(CACERTS, CSRATTRS, SIMPLEENROLL)
    ]
    assert len(device.links) == 1


@pytest.mark.req("COAPS-018")
def test_a_certificate_renews_itself() -> None:
    info, signer = renewal()
    world = World()
    server = world.serve()
    result = Device(world, config(signer=signer)).run(session().reenroll(info))
    assert isinstance(result, Enrolled)
    assert server.log.codes == [(204, "")]


@pytest.mark.req("COAPS-044")
def test_no_csr_attributes_are_none() -> None:
    world = World()
    world.serve()
    result = Device(world, config()).run(session().csrattrs())
    assert result == CSRAttrsReceived(csrattrs=None, not_found=True)


@pytest.mark.req("COAPS-047", "COAPS-049", "COAPS-053")
@pytest.mark.parametrize("seed", range(6))
def test_a_bad_line_costs_time_and_nothing_else(seed: int) -> None:
    world = World(weather=BAD_WEATHER, chance=Random(seed))
    server = world.serve()
    patient = ClientTimeouts(response_s=300)  # in such weather forty blocks take minutes
    device = Device(world, config(coap=CoapLimits(block_bytes=64), timeouts=patient))
    for exchange in (session().cacerts(), session().enroll(DEVICE.info)):
        result = device.run(exchange)
        assert isinstance(result, CACertsReceived | Enrolled), result
    assert server.log.codes == [(205, ""), (204, "")]
    assert len(device.links) == 1


@pytest.mark.req("COAPS-055")
def test_an_answer_that_takes_its_time_comes_separately() -> None:
    world = World()
    server = world.serve()
    server.thinks_s = 40.0
    device = Device(world, config())
    assert isinstance(device.run(session().enroll(DEVICE.info)), Enrolled)
    world.wait(5.0)  # the acknowledgement of the answer arrives
    assert server.endpoint.is_idle


@pytest.mark.req("COAPS-054")
@pytest.mark.parametrize("mtu_bytes", [256, 400, 1232])
def test_datagrams_are_no_larger_than_allowed(mtu_bytes: int) -> None:
    world = World()
    world.serve(context=a_dtls_server(mtu_bytes=mtu_bytes))
    device = Device(world, config(mtu_bytes=mtu_bytes))
    assert isinstance(device.run(session().enroll(DEVICE.info)), Enrolled)
    assert max(world.sizes) <= mtu_bytes


@pytest.mark.parametrize("mtu_bytes", [700, 1232])
def test_long_names_leave_room_for_smaller_blocks(mtu_bytes: int) -> None:
    host, label = ".".join(["x" * 60] * 4), "y" * 128
    entity = pki().ca.issue(Subject(name="long", dns=(host,), eku=(SERVER_AUTH,)))
    world = World()
    policy = default_policy(labels=frozenset({EstUri.parse(f"coaps://h/{label}").label}))  # type: ignore[arg-type]  # it has one
    server = world.serve(context=a_dtls_server(entity=entity, mtu_bytes=mtu_bytes), policy=policy)
    uri = EstUri.parse(f"coaps://{host}/{label}")
    device = Device(world, config(mtu_bytes=mtu_bytes))
    assert isinstance(device.run(session(uri).enroll(DEVICE.info)), Enrolled)
    assert str(server.log.records[-1].label) == label
    assert max(world.sizes) <= mtu_bytes


def test_names_that_leave_no_room_are_the_callers_mistake() -> None:
    limits = CoapLimits().fitting(227)
    connection = ClientConnection(limits=limits, entropy=Random(1).randbytes)
    path = (".well-known", "est", "y" * 128, "crts")
    connection.send_request(RequestHead(code=Code.GET, path=path), b"", 0.0)
    connection.outgoing()
    with pytest.raises(LocalProtocolError, match="no room"):
        connection.send_request(RequestHead(code=Code.GET, path=path, host="x" * 60), b"", 0.0)
    assert connection.open_exchanges == 1
    assert connection.outgoing() == ()


@reaches(one=70, several=30)
@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(1, 63), max_size=3),
    label_chars=st.integers(1, 128),
    datagram_bytes=st.integers(200, 1300),
    body=st.integers(0, 2000).map(lambda size: (bytes(range(250)) * 8)[:size]),
)
def test_no_message_is_larger_than_a_datagram(
    labels: list[int], label_chars: int, datagram_bytes: int, body: bytes
) -> None:
    host = ".".join("x" * chars for chars in labels) or None
    path = (".well-known", "est", "y" * label_chars, "sen")
    head = RequestHead(code=Code.POST, path=path, host=host, content_format=286)
    client = ClientConnection(
        limits=CoapLimits().fitting(datagram_bytes), entropy=Random(1).randbytes
    )
    server = JudgedConnection(limits=CoapLimits(), entropy=Random(2).randbytes)
    try:
        client.send_request(head, body, 0.0)
    except LocalProtocolError:
        assert datagram_bytes < 60 + 16 + 4 + label_chars + len(host or "")
        return
    rounds = 0
    while said := client.outgoing():
        rounds += 1
        reached("one" if rounds == 1 else "several")
        for datagram in said:
            assert len(datagram) <= datagram_bytes
            server.receive(datagram, 0.0)
        for datagram in server.outgoing():
            client.receive(datagram, 0.0)
    arrived = server.next_event()
    assert isinstance(arrived, RequestReceived)
    assert (arrived.head.host, arrived.payload) == (host, body)


# Linking


@pytest.mark.req("COAPS-073", "COAPS-074", "COAPS-076", "COAPS-077")
def test_a_request_is_linked_with_tls_unique() -> None:
    application, world = FakeApplication(), World()
    world.serve(application, policy=default_policy(require_pop=True))
    device = Device(world, config())
    result = device.run(session(pop=PopMode.ALWAYS).enroll(DEVICE.info))
    assert isinstance(result, Enrolled)
    assert application.enrollments[0].linked
    assert device.links[0].channel.version is TlsVersion.DTLS_1_2
    assert device.links[0].channel.binding is not None


def test_without_a_binding_a_request_that_must_be_linked_is_not_sent() -> None:
    world = World()
    server = world.serve()
    device = Device(world, config())
    exchange = session(pop=PopMode.ALWAYS).enroll(DEVICE.info)
    event = exchange.next_event()
    assert isinstance(event, ConnectRequested)
    device.run(session().cacerts())
    exchange.connected(replace(device.links[0].channel, binding=None))
    assert failed(exchange.result).code == "pop/no-binding"
    assert server.log.codes == [(205, "")]


# Whom the client believes


def server_with(entity: Entity) -> tuple[World, EstServer]:
    """Return a world whose server shows that certificate."""
    world = World()
    return world, world.serve(context=a_dtls_server(entity=entity))


def other_host(*, ra: bool = False) -> Entity:
    """Return a server of the EST CA with another name."""
    eku = (SERVER_AUTH, CMC_RA) if ra else (SERVER_AUTH,)
    return pki().ca.issue(Subject(name="other", dns=("other.example",), eku=eku))


@pytest.mark.req("COAPS-016")
def test_a_server_of_another_ca_is_not_believed() -> None:
    subject = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
    world, server = server_with(pki().rogue.issue(subject))
    failure = failed(Device(world, config()).run(session().cacerts()))
    assert failure.code == "tls/untrusted-server"
    assert "no trust anchor" in failure.message
    world.wait(1.0)
    assert [record.status for record in server.log.records] == [0]


def test_a_server_with_another_name_is_not_believed() -> None:
    world, server = server_with(other_host())
    device = Device(world, config())
    assert failed(device.run(session().cacerts())).code == "server/name-mismatch"
    assert device.kept is None
    assert server.log.records == []


@pytest.mark.req("COAPS-032")
def test_a_server_is_believed_by_its_address() -> None:
    world = World()
    world.serve()
    uri = EstUri.parse("coaps://127.0.0.1")
    assert isinstance(Device(world, config()).run(session(uri).cacerts()), CACertsReceived)


@pytest.mark.parametrize("explicit", [True, False])
def test_an_ra_is_believed_under_another_name_by_the_ca_that_made_it_one(explicit: bool) -> None:
    world, _ = server_with(other_host(ra=True))
    implicit = TrustAnchors(implicit=(pki().ca.certificate,))
    mine = session() if explicit else session(trust=())
    result = Device(world, config(implicit=implicit)).run(mine.cacerts())
    if explicit:
        assert isinstance(result, CACertsReceived)
    else:
        assert failed(result).code == "server/name-mismatch"


@pytest.mark.req("COAPS-028")
def test_new_trust_anchors_are_for_a_new_association_which_they_verify() -> None:
    world = World()
    world.serve()
    first = pki().manufacturer.certificate
    config_ = config(implicit=TrustAnchors(implicit=(first, pki().ca.certificate)))
    device = Device(world, config_)
    received = device.run(session(trust=()).cacerts())
    assert isinstance(received, CACertsReceived)
    assert isinstance(device.run(session(trust=received.certificates).csrattrs()), CSRAttrsReceived)
    assert len(device.links) == 2
    assert failed(device.run(session(trust=(first,)).csrattrs())).code == "tls/untrusted-server"


@pytest.mark.req("COAPS-017")
def test_a_client_that_the_server_does_not_believe_is_refused() -> None:
    rogue = pki().rogue_client
    world = World()
    server = world.serve()
    device = Device(world, config(identities=(identity_of(rogue),)))
    failure = failed(device.run(session(identity=rogue.certificate).cacerts()))
    assert failure.code == "response/status-403"
    assert server.log.codes == [(403, "auth/certificate-not-accepted")]
    assert device.kept is None


@pytest.mark.req("COAPS-016", "COAPS-020")
def test_there_is_no_bootstrap_no_anonymity_and_no_password() -> None:
    with pytest.raises(LocalProtocolError):
        session(identity=None)
    with pytest.raises(LocalProtocolError):
        session(credentials=BasicCredentials(user="a", password="b"))
    with pytest.raises(LocalProtocolError, match="bootstrap"):
        session(trust=()).cacerts(bootstrap=True)


@pytest.mark.req("COAPS-016")
@pytest.mark.parametrize("change", [{"identity": None}, {"trust": TrustAnchors()}])
def test_a_link_needs_an_identity_and_trust_anchors(change: dict[str, Any]) -> None:
    world = World()
    wanted = ClientTlsConfig(
        server_name="est.example",
        trust=TrustAnchors(explicit=(pki().ca.certificate,)),
        identity=identity_of(pki().client),
    )
    for tls in (replace(wanted, **change), replace(wanted, provisional=True)):
        with pytest.raises(LocalProtocolError):
            CoapLink(
                Connect(uri=URI, config=tls), config(), entropy=Random(1).randbytes, now=world.now
            )


def test_without_trust_anchors_nobody_is_spoken_to() -> None:
    world = World()
    server = world.serve()
    device = Device(world, config())
    with pytest.raises(LocalProtocolError, match="trust anchors"):
        device.run(session(trust=()).cacerts())
    assert server.endpoint.associations == 0


# Later


@pytest.mark.req("COAPS-056", "COAPS-057", "COAPS-058")
def test_a_pending_request_is_sent_again_as_it_was_on_the_same_association() -> None:
    application, world = FakeApplication(), World()
    application.pend(30, 30)
    world.serve(application)
    device = Device(world, config())
    exchange = session(pop=PopMode.ALWAYS).enroll(DEVICE.info)
    for _ in range(2):
        later = device.run(exchange)
        assert isinstance(later, RetryLater)
        assert later.at.mono == pytest.approx(world.now.mono + 30, abs=1)
        world.wait(later.at.mono - world.now.mono)
    assert isinstance(device.run(exchange), Enrolled)
    assert len({question.csr.der for question in application.enrollments}) == 1
    assert len(device.links) == 1


@pytest.mark.req("COAPS-061")
def test_on_a_new_association_it_is_signed_anew_with_the_same_key() -> None:
    application, world = FakeApplication(), World()
    application.pend(600)
    world.serve(application, policy=default_policy(require_pop=True))
    device = Device(world, config())
    exchange = session().enroll(DEVICE.info)
    later = device.run(exchange)
    assert isinstance(later, RetryLater)
    world.wait(600.0)
    assert isinstance(device.run(exchange), Enrolled)
    first, second = application.enrollments
    assert first.linked
    assert second.linked
    assert (first.csr.spki, first.csr.subject) == (second.csr.spki, second.csr.subject)
    assert first.csr.der != second.csr.der
    assert len(device.links) == 2


@pytest.mark.req("COAPS-059")
def test_5_03_without_max_age_means_a_minute() -> None:
    world = World()
    world.server = OddServer(ResponseHead(code=Code.SERVICE_UNAVAILABLE), chance=world.chance)
    later = Device(world, config()).run(session().enroll(DEVICE.info))
    assert isinstance(later, RetryLater)
    assert later.at.mono == pytest.approx(world.now.mono + 60, abs=1)


# The association


def connections_of(device: Device, world: World, seconds: float, second: ClientSession) -> int:
    """Return how many associations two requests take, with so much time between them."""
    assert isinstance(device.run(session().cacerts()), CACertsReceived)
    world.wait(seconds)
    device.run(second.cacerts())
    return len(device.links)


@pytest.mark.req("COAPS-024", "COAPS-025")
@pytest.mark.parametrize("seconds, links", [(0.0, 1), (REUSE_S - 2, 1), (REUSE_S + 0.1, 2)])
def test_an_association_is_kept_for_what_follows_closely(seconds: float, links: int) -> None:
    world = World()
    world.serve()
    assert connections_of(Device(world, config()), world, seconds, session()) == links


@pytest.mark.parametrize(
    "second",
    [
        session(EstUri.parse("coaps://est.example:5685")),
        session(EstUri.parse("coaps://localhost")),
        session(trust=(pki().ca.certificate, pki().rogue.certificate)),
        session(identity=pki().manufacturer_client.certificate),
    ],
    ids=["port", "host", "trust", "identity"],
)
def test_an_association_serves_one_origin_trust_and_identity(second: ClientSession) -> None:
    world = World()
    world.serve()
    both = (identity_of(pki().client), identity_of(pki().manufacturer_client))
    device = Device(world, config(identities=both))
    assert connections_of(device, world, 0.0, second) == 2


def test_another_label_needs_no_other_association() -> None:
    world = World()
    world.serve()
    second = session(EstUri.parse("coaps://EST.example/devices"))
    assert connections_of(Device(world, config()), world, 0.0, second) == 2  # another host name
    second = session(EstUri.parse("coaps://est.example/devices"))
    assert connections_of(Device(world, config()), world, 0.0, second) == 1


def test_an_association_that_failed_is_not_kept() -> None:
    world = World()
    server = world.serve()
    device = Device(world, config())
    missing = session(EstUri.parse("coaps://est.example/nothing"))
    assert failed(device.run(missing.cacerts())).code == "response/status-404"
    assert device.kept is None
    world.wait(1.0)
    assert server.endpoint.associations == 0  # it sent close_notify


def test_what_comes_too_late_for_one_request_is_no_answer_to_the_next() -> None:
    world = World()
    server = world.serve()
    server.thinks_s = 10.0
    device = Device(world, config())
    assert device.run(session().csrattrs(), give_up_after=1) is None
    server.thinks_s = 0.0
    received = device.run(session().cacerts())
    assert isinstance(received, CACertsReceived)
    assert len(device.links) == 2


def test_a_server_that_sent_close_notify_is_spoken_to_anew() -> None:
    world = World()
    server = world.serve()
    device = Device(world, config())
    device.run(session().cacerts())
    server.endpoint.close(world.now)
    world.wait(1.0)
    assert isinstance(device.run(session().enroll(DEVICE.info)), Enrolled)
    assert len(device.links) == 2


def hang_up(world: World, server: EstServer) -> None:
    """Have the server send close_notify in five seconds, and stay."""
    server.thinks_s = 1000.0

    def close() -> None:
        server.endpoint.close(world.now)
        server.thinks_s = 0.0

    world.at(world.now.mono + 5, close)


def test_a_close_notify_in_the_middle_of_an_enrollment_leaves_it_open_what_became_of_it() -> None:
    world = World()
    server = world.serve()
    hang_up(world, server)
    device = Device(world, config())
    assert failed(device.run(session().enroll(DEVICE.info))).code == "connection/lost"
    assert device.kept is None
    world.wait(1.0)
    assert server.endpoint.associations == 0


def test_a_close_notify_in_the_middle_of_anything_else_is_made_good() -> None:
    world = World()
    hang_up(world, world.serve())
    device = Device(world, config())
    assert isinstance(device.run(session().cacerts()), CACertsReceived)
    assert len(device.links) == 2


def a_link(world: World, device: Device) -> CoapLink:
    """Return a link on which a request for CA certificates is open."""
    assert device.run(session().cacerts(), give_up_after=0) is None
    return device.links[-1]


@pytest.mark.parametrize(
    "error, code",
    [
        (TlsError("tls/peer-alert", "internal error"), "tls/peer-alert"),
        (TlsError(CLOSED, "gone"), None),
        (None, None),
    ],
)
def test_an_association_that_breaks_is_lost_or_has_an_error(
    error: TlsError | None, code: str | None
) -> None:
    world = World()
    world.serve()
    link = a_link(world, Device(world, config()))
    assert link.answer(CACERTS, world.now) is None
    link.break_off(error)
    if code is None:
        lost = link.answer(CACERTS, world.now)
        assert lost is not None
    else:
        with pytest.raises(Exception, match="internal error") as caught:
            link.answer(CACERTS, world.now)
        assert getattr(caught.value, "code", "") == code
    assert not link.may_stay(CACertsReceived(certificates=()))


def refused_by_openssl(_connection: SSL.Connection, _data: bytes | int) -> bytes:
    raise SSL.Error([("SSL routines", "", "bad length")])


@pytest.mark.parametrize("method", ["send", "recv"])
def test_a_record_that_fails_in_openssl_is_the_answer(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.serve()
    device = Device(world, config())
    device.inbox = inbox = Tapped()
    link = a_link(world, device)
    monkeypatch.setattr(SSL.Connection, method, refused_by_openssl)
    if method == "send":
        link.handle_timeout(world.now.after(10))
        link.outgoing()
    else:
        link.receive(inbox.heard[-1], world.now)
    with pytest.raises(RemoteProtocolError, match="bad length"):
        link.answer(CACERTS, world.now)


def test_nothing_is_said_on_an_association_that_is_over() -> None:
    world = World()
    world.serve()
    link = a_link(world, Device(world, config()))
    link.handle_timeout(world.now.after(10))
    link.break_off(None)
    assert link.outgoing() == ()


def kept_link(device: Device, *, now: Instant) -> tuple[CoapLink, Connect]:
    """Return the link of an exchange that went well, and what it is wanted for again."""
    received = device.run(session().cacerts())
    assert isinstance(received, CACertsReceived)
    link = device.kept
    assert link is not None
    assert link.may_stay(received)
    wanted = ClientDriver(session().cacerts(), device.config, now).next_step(now)
    assert isinstance(wanted, Connect)
    return link, wanted


def test_an_association_is_kept_for_less_than_its_time() -> None:
    world = World()
    world.serve()
    link, wanted = kept_link(Device(world, config()), now=world.now)
    assert link.fits(wanted, world.now.after(REUSE_S - 1))
    assert not link.fits(wanted, world.now.after(REUSE_S))


def wait_for_attributes(link: CoapLink, now: Instant) -> None:
    for _ in range(TURNS_MAX):
        if link.answer(CSRATTRS, now) is not None:
            return
        now = now.after((link.next_timeout() or now.mono) - now.mono)
        link.handle_timeout(now)


def silence(link: CoapLink, now: Instant) -> None:
    """Ask something that nobody answers, to the end."""
    link.send(Request(operation=CSRATTRS), URI, now)
    with pytest.raises(RemoteProtocolError, match="no acknowledgement"):
        wait_for_attributes(link, now)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda link, _now: link.close(), id="closed"),
        pytest.param(lambda link, _now: link.spoil(), id="spoilt"),
        pytest.param(lambda link, _now: link.break_off(None), id="ended by the server"),
        pytest.param(silence, id="silent"),
    ],
)
def test_an_association_that_is_over_serves_nothing_more(
    end: Callable[[CoapLink, Instant], None],
) -> None:
    world = World()
    world.serve()
    link, wanted = kept_link(Device(world, config()), now=world.now)
    assert link.fits(wanted, world.now)
    end(link, world.now)
    assert not link.fits(wanted, world.now)
    assert not link.may_stay(CSRAttrsReceived(csrattrs=None))


# Silence


@pytest.mark.parametrize(
    "response_s, waited_s, message",
    [(20.0, (20.0, 20.0), "no answer within 20 seconds"), (200.0, (62.0, 93.0), "acknowledgement")],
    ids=["the user's timeout", "the protocol's"],
)
@pytest.mark.req("COAPS-053")
def test_a_server_that_falls_silent_is_given_up(
    response_s: float, waited_s: tuple[float, float], message: str
) -> None:
    world = World()
    server = world.serve()
    device = Device(world, config(timeouts=ClientTimeouts(response_s=response_s)))
    device.run(session().cacerts())
    server.is_gone = True
    start = world.now.mono
    failure = failed(device.run(session().enroll(DEVICE.info)))
    assert failure.code == "coap/timeout"
    assert message in failure.message
    assert waited_s[0] <= world.now.mono - start <= waited_s[1]
    assert device.kept is None


# Answers that cannot be read


@pytest.mark.req("COAPS-034", "COAPS-052")
@pytest.mark.parametrize(
    "head, payload, code",
    [
        (ResponseHead(code=Code.CHANGED, content_format=285), b"0\0", "response/media-type"),
        (ResponseHead(code=Code.CHANGED), b"0\0", "response/media-type"),
        (ResponseHead(code=Code.CHANGED, content_format=281), b"garbage", "der/"),
        (ResponseHead(code=Code.CHANGED, content_format=281), b"0\0", "cms/"),
        (ResponseHead(code=Code.CHANGED, content_format=287), b"0\0", "cms/"),
        (ResponseHead(code=Code.CHANGED, content_format=281), b"x" * 200_000, "coap/too-large"),
        (ResponseHead(code=Code.BAD_REQUEST), b"because", "response/status-400"),
        (ResponseHead(code=Code.UNAUTHORIZED), b"", "auth/no-challenge"),
        (ResponseHead(code=Code.NOT_FOUND), b"", "response/status-404"),
        (ResponseHead(code=0xBF), b"", "response/status-531"),
    ],
)
def test_an_answer_that_is_none_fails_with_a_stable_code(
    head: ResponseHead, payload: bytes, code: str
) -> None:
    world = World()
    world.server = OddServer(head, payload, chance=world.chance)
    device = Device(world, config(coap=CoapLimits(response_bytes=128 * 1024)))
    assert failed(device.run(session().enroll(DEVICE.info))).code.startswith(code)
    assert device.kept is None


def test_an_empty_2_04_is_a_failure() -> None:
    head = ResponseHead(code=Code.CHANGED, content_format=281)
    world = World()
    world.server = OddServer(head, chance=world.chance)
    assert failed(Device(world, config()).run(session().enroll(DEVICE.info))).code == "body/empty"


# Anything


def test_a_link_is_of_no_use_before_its_handshake() -> None:
    world = World()
    world.serve()
    link = a_link(world, Device(world, config()))
    wanted = Connect(uri=URI, config=link._wanted.config)
    young = CoapLink(wanted, config(), entropy=Random(1).randbytes, now=world.now)
    for call in (
        lambda: young.answer(CACERTS, world.now),
        young.next_timeout,
        lambda: young.handle_timeout(world.now),
        lambda: young.channel,
    ):
        with pytest.raises(LocalProtocolError):
            call()
    assert not young.fits(wanted, world.now)
    assert not young.may_stay(CSRAttrsReceived(csrattrs=None))
    young.close()
    assert young.outgoing() == ()


@pytest.mark.parametrize(("left_s", "is_due"), [(0, True), (1, False), (None, False)])
def test_a_handshake_goes_on_by_the_clock_of_openssl(
    left_s: int | None, is_due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(_connection: SSL.Connection) -> bool:
        raise SSL.Error([("SSL routines", "", "read timeout expired")])

    world = World()
    world.serve()
    wanted = a_link(world, Device(world, config()))._wanted
    link = CoapLink(wanted, config(), entropy=Random(1).randbytes, now=world.now)
    assert not link.handshake()
    monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", give_up)
    monkeypatch.setattr(SSL.Connection, "DTLSv1_get_timeout", lambda _connection: left_s)
    assert link.handshake_timeout_s() == left_s
    link.repeat_handshake()
    if is_due:
        with pytest.raises(TlsError, match="does not answer"):
            link.handshake()
    else:
        assert not link.handshake()


class Tapped(list[bytes]):
    """An inbox of which somebody else has a copy, too."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bytes] = []

    def append(self, datagram: bytes) -> None:
        self.heard.append(datagram)
        super().append(datagram)


Forgery = Callable[[list[bytes]], bytes]


def one_heard(which: int, where: float, flip: int) -> Forgery:
    """A datagram that was heard: again, with one octet changed, or cut."""

    def forge(heard: list[bytes]) -> bytes:
        datagram = heard[which % len(heard)]
        at = int(where * len(datagram))
        return datagram[:at] + (
            b"" if flip > 255 else bytes([datagram[at] ^ flip]) + datagram[at + 1 :]
        )

    return forge


def made_up(raw: bytes) -> Forgery:
    return lambda _heard: raw


@reaches(record=50, known=30)
@settings(max_examples=40)
@given(
    forgeries=st.lists(
        st.builds(
            one_heard,
            st.integers(0, 99),
            st.floats(0, 1, exclude_max=True),
            st.just(0) | st.integers(0, 256),
        )
        | st.binary(max_size=80).map(made_up)
        | st.binary(max_size=40).map(
            lambda tail: made_up(b"\x17\xfe\xfd\0\1\0\0\0\0\0\7\0\x28" + tail)
        )
        | st.binary(max_size=30).map(
            lambda tail: made_up(b"\x15\xfe\xfd\0\0\0\0\0\0\0\7\0\2" + tail)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_what_anybody_sends_disturbs_nobody(forgeries: list[Forgery]) -> None:
    world = World()
    world.serve()
    device = Device(world, config())
    device.inbox = inbox = Tapped()
    assert isinstance(device.run(session().csrattrs()), CSRAttrsReceived)
    link = device.kept
    assert link is not None
    for forge in forgeries:
        datagram = forge(inbox.heard)
        reached(*(["record"] if is_dtls(datagram) else []))
        reached(*(["known"] if datagram in inbox.heard else []))
        link.receive(datagram, world.now)
    assert link.outgoing() == ()
    assert isinstance(device.run(session().cacerts()), CACertsReceived)
    assert len(device.links) == 1
