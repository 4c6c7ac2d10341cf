"""Servers of EST-coaps that have their operations elsewhere: found by their lists, or told."""

from __future__ import annotations

from typing import Any

import pytest

from est_core import (
    CACERTS,
    CACertsReceived,
    ClientExchange,
    ClientSession,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Label,
    Limits,
    LocalProtocolError,
    Request,
)
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.wires.coapmap import CoapPaths, Code, RequestHead, ResponseHead
from est_transports.coap.client_wire import ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.coap.path_discovery import PathDiscovery
from est_transports.coap.server_wire import RequestReceived
from tests.application import certificate_for
from tests.pki import pki
from tests.transports.coap_simulation import Device, OddServer, World
from tests.transports.https_site import client_config, identity_of, new_device

URI = EstUri.parse("coaps://est.example")
DEVICE = new_device()
CORE = (".well-known", "core")
LINK_FORMAT = ResponseHead(code=Code.CONTENT, content_format=40)
NOT_FOUND = ResponseHead(code=Code.NOT_FOUND)
CERTS = ResponseHead(code=Code.CONTENT, content_format=281)
ATTRS = ResponseHead(code=Code.CONTENT, content_format=285)
WISHES = CsrAttrs(items=()).with_challenge_password()


class ForeignServer(OddServer):
    """A server with operations below a root of its own, and a list that says what it says."""

    def __init__(self, world: World, root: str, links: str | None) -> None:
        super().__init__(NOT_FOUND, chance=world.chance)
        self.root = tuple(root.split("/"))
        self.links = links
        self.asked: list[str] = []

    def answer(self, request: RequestReceived) -> tuple[ResponseHead, bytes]:
        path = request.head.path
        self.asked.append("/".join(path))
        if path == CORE and self.links is not None:
            return LINK_FORMAT, self.links.encode()
        if path[:-1] != self.root:
            return NOT_FOUND, b""
        match path[-1]:
            case "crts":
                return CERTS, write_certs_only((pki().ca.certificate,))
            case "att":
                return ATTRS, WISHES.der()
            case "sen" | "sren":
                certificate = certificate_for(parse_cert_request(request.payload, Limits()))
                return ResponseHead(code=Code.CHANGED, content_format=281), write_certs_only(
                    (certificate,)
                )
            case _:
                return NOT_FOUND, b""


@pytest.fixture
def world() -> World:
    return World()


def foreign(world: World, root: str = "est", links: str | None = "") -> ForeignServer:
    """Put such a server there. Without `links` it lists its /crts, with a type of its own."""
    if links == "":
        links = f'</{root}/crts>;rt="certificate"'
    server = ForeignServer(world, root, links)
    world.server = server
    return server


def session(uri: EstUri = URI) -> ClientSession:
    trust = (pki().ca.certificate,)
    return ClientSession(uri, trust=trust, identity=pki().client.certificate)


def device(world: World, **changes: Any) -> tuple[Device, list[CoapPaths]]:
    """Return a device, and what it is told of places."""
    found: list[CoapPaths] = []
    mine = (identity_of(pki().client),)
    values = {"signer": DEVICE.signer, "identities": mine, "discovered": found.append}
    return Device(world, client_config(**{**values, **changes})), found


def run(world: World, exchange: ClientExchange, **changes: Any) -> Any:
    return device(world, **changes)[0].run(exchange)


@pytest.mark.req("COAPS-005")
def test_a_server_with_another_root_is_found_by_its_list(world: World) -> None:
    server = foreign(world)
    client, found = device(world)
    assert isinstance(client.run(session().cacerts()), CACertsReceived)
    assert server.asked == [".well-known/est/crts", ".well-known/core", "est/crts"]
    assert client.run(session().csrattrs()) == CSRAttrsReceived(csrattrs=WISHES)
    assert isinstance(client.run(session().enroll(DEVICE.info)), Enrolled)
    assert server.asked[3:] == ["est/att", "est/sen"]
    assert [paths.root for paths in found] == [("est",)]
    assert server.handshakes == 1


def test_an_enrollment_that_is_answered_4_04_goes_where_the_list_says(world: World) -> None:
    """4.04 says that nothing was there to do anything with the request."""
    server = foreign(world, "pki/est", '</pki/est/sen>;rt="ace.est.sen"')
    assert isinstance(run(world, session().enroll(DEVICE.info)), Enrolled)
    assert server.asked == [".well-known/est/sen", ".well-known/core", "pki/est/sen"]


def test_with_discovery_the_list_comes_first(world: World) -> None:
    server = foreign(world)
    client, found = device(world, coap_discovery=True)
    assert isinstance(client.run(session().cacerts()), CACertsReceived)
    assert isinstance(client.run(session().csrattrs()), CSRAttrsReceived)
    assert server.asked == [".well-known/core", "est/crts", "est/att"]
    assert len(found) == 1


def test_a_root_that_is_given_is_not_looked_for(world: World) -> None:
    server = foreign(world, links=None)
    assert isinstance(run(world, session().cacerts(), coap_root="/est"), CACertsReceived)
    assert server.asked == ["est/crts"]
    failed = run(world, session().cacerts(), coap_root="/other")
    assert isinstance(failed, Failed)
    assert failed.response is not None
    assert failed.response.status == 404
    assert server.asked[1:] == ["other/crts"]


def test_the_usual_root_is_nothing_to_tell_of(world: World) -> None:
    foreign(world, ".well-known/est")
    client, found = device(world, coap_discovery=True)
    assert isinstance(client.run(session().cacerts()), CACertsReceived)
    assert found == []


@pytest.mark.parametrize(
    "links",
    [
        None,
        "no list",
        "</sensors/temp>;rt=temperature",
        "<coaps://other.example/est/crts>;rt=ace.est.crts",
        '</.well-known/est/crts>;rt="ace.est.crts"',
        "</a>," * 2000,
    ],
)
def test_a_list_that_does_not_help_leaves_the_answer_as_it_was(
    world: World, links: str | None
) -> None:
    server = foreign(world, links=links)
    client, found = device(world)
    for times in (1, 2):
        failed = client.run(session().cacerts())
        assert isinstance(failed, Failed)
        assert failed.response is not None
        assert failed.response.status == 404
        assert server.asked == [".well-known/est/crts", ".well-known/core"] * times
    assert found == []


@pytest.mark.parametrize(
    ("links", "code"), [(None, "coap/no-est"), ("no list", "coap/link-format")]
)
def test_with_discovery_a_list_that_does_not_help_is_the_end(
    world: World, links: str | None, code: str
) -> None:
    server = foreign(world, links=links)
    failed = run(world, session().cacerts(), coap_discovery=True)
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert server.asked == [".well-known/core"]


def test_a_server_that_is_there_and_has_no_attributes_is_not_asked_for_a_list(
    world: World,
) -> None:
    server = foreign(world, ".well-known/est", None)
    client, _ = device(world)
    assert isinstance(client.run(session().cacerts()), CACertsReceived)
    server.root = ("gone",)
    assert client.run(session().csrattrs()) == CSRAttrsReceived(csrattrs=None, not_found=True)
    assert ".well-known/core" not in server.asked


def test_another_label_is_looked_for_again(world: World) -> None:
    links = "</a/x>;rt=ace.est.crts,</est/web/crts>;rt=ace.est.crts"
    server = foreign(world, "est/web", links)
    client, _ = device(world)
    uri = EstUri.parse("coaps://est.example/web")
    assert isinstance(client.run(session(uri).cacerts()), CACertsReceived)
    assert server.asked[-1] == "est/web/crts"
    client.run(session().cacerts())
    assert server.asked[-3:] == [".well-known/est/crts", ".well-known/core", "a/x"]


@pytest.mark.parametrize(
    ("label", "uri", "path"),
    [
        (None, "coaps://est.example", ("a", "x")),
        (None, "coaps://est.example/web", ("est", "web", "crts")),
        (Label("web"), "coaps://est.example", ("est", "web", "crts")),
        (Label("web"), "coaps://est.example/lab", ("est", "web", "crts")),
    ],
)
def test_the_label_of_a_request_comes_before_that_of_its_server(
    label: Label | None, uri: str, path: tuple[str, ...]
) -> None:
    links = b"</a/x>;rt=ace.est.crts,</est/web/crts>;rt=ace.est.crts"
    found: list[CoapPaths] = []
    places = PathDiscovery(root=None, discover=True, tell=found.append)
    places.ask(Request(operation=CACERTS, label=label), EstUri.parse(uri))
    assert places.next_message()[0].path == CORE
    assert places.take(ResponseReceived(exchange_id=1, head=LINK_FORMAT, payload=links)) is None
    assert places.next_message()[0].path == path
    assert len(found) == 1


def test_places_are_of_no_use_before_anything_is_asked_for() -> None:
    places = PathDiscovery(root=None, discover=False, tell=lambda _paths: None)
    with pytest.raises(LocalProtocolError):
        places.next_message()


def test_a_path_that_leaves_no_room_for_a_block_is_the_servers_fault(world: World) -> None:
    foreign(world, "est", f"</{'x' * 200}/crts>;rt=ace.est.crts")
    small = CoapLimits(datagram_bytes=200, block_bytes=64)
    failed = run(world, session().cacerts(), coap=small)
    assert isinstance(failed, Failed)
    assert failed.code == "coap/no-est"


@pytest.mark.parametrize(
    "values",
    [{"coap_root": "est"}, {"coap_root": "/a?b"}, {"coap_root": "/est", "coap_discovery": True}],
)
def test_a_root_that_is_none_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        client_config(**values)


def test_the_head_of_a_list_request_is_plain(world: World) -> None:
    heads: list[RequestHead] = []
    server = foreign(world)
    answer = server.answer

    def watch(request: RequestReceived) -> tuple[ResponseHead, bytes]:
        heads.append(request.head)
        return answer(request)

    server.answer = watch  # type: ignore[method-assign]
    run(world, session().cacerts(), coap_discovery=True)
    assert heads[0] == RequestHead(code=Code.GET, path=CORE, accept=40, host="est.example")
