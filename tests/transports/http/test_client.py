"""A kept HTTPS connection: for which other requests it may serve, and for which not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    ChannelBinding,
    CSRAttrsReceived,
    EstUri,
    Failed,
    Operation,
    RemoteProtocolError,
    Request,
    Response,
    RetryLater,
    TlsVersion,
)
from est_core.testing import FIXED_INSTANT
from est_transports.channel.errors import CLOSED, TRUNCATED, TlsError
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.drive.client import Connect, Lost
from est_transports.http.client import HttpLink
from est_transports.pki.trust import TrustAnchors
from tests.core.cast import BINDING, EXPORTER
from tests.core.client_cast import reached
from tests.pki import pki
from tests.transports.https_site import client_config, identity_of
from tests.transports.tls_pair import anchors

NOW = FIXED_INSTANT
WANTED = Connect(
    uri=EstUri.parse("https://est.example:8443"),
    config=ClientTlsConfig(
        server_name="est.example", trust=anchors(), identity=identity_of(pki().client)
    ),
    idempotent=True,
)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def kept(version: TlsVersion = TlsVersion.TLS_1_3, status: bytes = b"204 No Content") -> HttpLink:
    """Return a connection that has answered a request for CSR attributes."""
    link = HttpLink(WANTED, replace(reached(), version=version, binding=None), client_config())
    link.send(Request(operation=CSRATTRS), WANTED.uri, NOW)
    assert link.outgoing()
    assert not link.fits(WANTED, NOW), "one answer is not there yet"
    link.receive(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n", NOW)
    assert link.answer(CSRATTRS, NOW) is not None
    return link


@pytest.mark.parametrize(
    "place",
    [
        "https://est.example:8444",
        "https://est.example",
        "https://other.example:8443",
        "https://127.0.0.1:8443",
        "coaps://est.example:8443",
    ],
)
@pytest.mark.req("EST-020")
def test_it_does_not_serve_another_origin(place: str) -> None:
    """The name in the certificate is that of the host, whatever the port: TLS does not tell."""
    link = kept()
    assert link.fits(WANTED, NOW)
    assert link.fits(replace(WANTED, uri=EstUri.parse("https://est.example:8443/tls")), NOW)
    assert not link.fits(replace(WANTED, uri=EstUri.parse(place)), NOW)


def test_it_does_not_serve_whoever_wants_another_identity_or_other_anchors() -> None:
    link = kept()
    for config in (
        replace(WANTED.config, identity=None),
        replace(WANTED.config, identity=identity_of(pki().manufacturer_client)),
        replace(WANTED.config, trust=TrustAnchors(explicit=(pki().ca.certificate,))),
        replace(WANTED.config, server_name="localhost"),
        replace(WANTED.config, provisional=True),
        replace(WANTED.config, tls_exporter=True),
        replace(WANTED.config, require_ems=False),
    ):
        assert not link.fits(replace(WANTED, config=config), NOW)


def test_it_does_not_serve_whoever_wants_an_older_version_of_tls() -> None:
    older = replace(WANTED, config=replace(WANTED.config, max_version=TlsVersion.TLS_1_2))
    newer = replace(WANTED, config=replace(WANTED.config, max_version=TlsVersion.TLS_1_3))
    assert not kept(TlsVersion.TLS_1_3).fits(older, NOW)
    assert kept(TlsVersion.TLS_1_2).fits(older, NOW)
    assert kept(TlsVersion.TLS_1_2).fits(newer, NOW)
    assert kept(TlsVersion.TLS_1_3).fits(newer, NOW)


@pytest.mark.req("CB-018")
@pytest.mark.parametrize("operation", list(OPERATIONS))
@pytest.mark.parametrize("binding", [None, BINDING, EXPORTER], ids=["none", "unique", "exporter"])
def test_it_ends_with_the_request_that_tls_exporter_may_have_linked(
    operation: Operation, binding: ChannelBinding | None
) -> None:
    version = TlsVersion.TLS_1_2 if binding is BINDING else TlsVersion.TLS_1_3
    on = replace(reached(), version=version, binding=binding)
    link = HttpLink(WANTED, on, client_config())
    link.send(Request(operation=operation), WANTED.uri, NOW)
    link.receive(OK, NOW)
    with suppress(RemoteProtocolError):  # an empty answer
        link.answer(operation, NOW)
    used = binding is EXPORTER and operation.is_enrollment
    assert link.fits(WANTED, NOW) is not used
    assert link.may_stay(CSRAttrsReceived(csrattrs=None)) is not used


def test_it_does_not_serve_a_post_after_another_answer_than_200() -> None:
    post = replace(WANTED, idempotent=False)
    assert not kept().fits(post, NOW)
    assert kept(status=b"200 OK").fits(post, NOW)
    fresh = HttpLink(WANTED, replace(reached(), binding=None), client_config())
    assert fresh.fits(post, NOW)


def opened(*, provisional: bool = False) -> HttpLink:
    """Return a connection on which CSR attributes were asked for, and nothing came yet."""
    wanted = replace(WANTED, config=replace(WANTED.config, provisional=provisional))
    link = HttpLink(wanted, replace(reached(), binding=None), client_config())
    link.send(Request(operation=CSRATTRS), wanted.uri, NOW)
    return link


def test_a_provisional_connection_serves_for_nothing_else() -> None:
    link = opened(provisional=True)
    link.receive(OK, NOW)
    assert link.answer(CSRATTRS, NOW) is not None
    for provisional in (True, False):
        config = replace(WANTED.config, provisional=provisional)
        assert not link.fits(replace(WANTED, config=config), NOW)
    assert not link.may_stay(CSRAttrsReceived(csrattrs=None))


def test_it_stays_after_what_went_well_and_after_nothing_else() -> None:
    fine = CSRAttrsReceived(csrattrs=None)
    assert kept().may_stay(fine)
    assert not kept().may_stay(Failed(code="response/status", message="no"))
    assert not kept().may_stay(RetryLater(at=NOW))
    assert not opened().may_stay(fine)
    spoilt = kept()
    spoilt.spoil()
    assert not spoilt.may_stay(fine)
    assert not spoilt.fits(WANTED, NOW)


def test_what_is_to_be_written_is_told_once() -> None:
    link = opened()
    (request,) = link.outgoing()
    assert request.startswith(b"GET /.well-known/est/csrattrs HTTP/1.1\r\n")
    assert link.outgoing() == ()
    assert link.next_timeout() is None


@pytest.mark.parametrize("status", [b"204 No Content", b"404 Not Found", b"401 Unauthorized"])
def test_a_cookie_that_a_server_sets_is_not_sent_back(status: bytes) -> None:
    link = opened()
    assert b"cookie" not in b"".join(link.outgoing()).lower()
    link.receive(b"HTTP/1.1 " + status + b"\r\nSet-Cookie: session=1; Path=/\r\n", NOW)
    link.receive(b"Content-Length: 0\r\n\r\n", NOW)
    assert link.answer(CSRATTRS, NOW) is not None
    link.send(Request(operation=CACERTS), WANTED.uri, NOW)
    again = b"".join(link.outgoing())
    assert again.startswith(b"GET /.well-known/est/cacerts HTTP/1.1\r\n")
    assert b"cookie" not in again.lower()
    assert b"session=1" not in again


def test_an_answer_is_there_when_all_of_it_is() -> None:
    link = opened()
    for at in range(len(OK)):
        assert link.answer(CSRATTRS, NOW) is None
        link.receive(OK[at : at + 1], NOW)
    response = link.answer(CSRATTRS, NOW)
    assert isinstance(response, Response)


@pytest.mark.parametrize("code", [CLOSED, TRUNCATED, None])
def test_a_connection_that_ends_before_the_answer_lost_a_request_that_was_sent(
    code: str | None,
) -> None:
    link = opened()
    link.break_off(None if code is None else TlsError(code, "it ended"))
    assert link.answer(CSRATTRS, NOW) == Lost(sent=True)


@pytest.mark.parametrize("code", [CLOSED, TRUNCATED, None])
def test_an_answer_that_ends_with_its_connection_may_have_been_cut(code: str | None) -> None:
    link = opened()
    link.receive(b"HTTP/1.1 200 OK\r\nContent-Type: application/csrattrs\r\n\r\nMAA=", NOW)
    assert link.answer(CSRATTRS, NOW) is None
    link.break_off(None if code is None else TlsError(code, "it ended"))
    with pytest.raises(RemoteProtocolError, match="may have been cut") as caught:
        link.answer(CSRATTRS, NOW)
    assert caught.value.code == TRUNCATED


def test_a_refusal_in_tls_after_the_handshake_is_told_as_it_came() -> None:
    link = opened()
    link.break_off(TlsError("tls/alert", "the peer does not accept the certificate"))
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="does not accept") as caught:
            link.answer(CSRATTRS, NOW)
        assert caught.value.code == "tls/alert"
