"""An examination as a whole: it ends, within bounds, whatever the server is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from est_core import EstUri, LocalProtocolError
from est_transports.client_config import ClientTimeouts
from est_transports.doctor import CHECKS, SUBJECTS, DoctorConfig, Finding, Report, Severity, examine
from est_transports.tunnels.proxy import Proxy
from tests.interop.foreign_answers import answer
from tests.interop.foreign_server import Said, foreign_server, server_tls
from tests.transports.proxy_site import OPEN, answering, proxy_site

SHORT = ClientTimeouts(connect_s=0.5, handshake_s=0.2, response_s=0.2)


def config(port: int, **options: object) -> DoctorConfig:
    """Of a server on this machine, with little patience."""
    uri = EstUri.parse(f"https://127.0.0.1:{port}")
    return DoctorConfig(uri=uri, timeouts=SHORT, **options)  # type: ignore[arg-type]  # its fields


def severities(report: Report) -> set[Severity]:
    """How bad the findings are, but for those about addresses."""
    return {each.severity for each in report.findings if each.check.subject != "reach"}


def test_checks_have_names_of_their_own_and_say_what_to_do() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) >= 30
    assert all(check.title and check.means and check.do for check in CHECKS)
    assert set(SUBJECTS) == {check.name.partition(".")[0] for check in CHECKS}


def test_where_nobody_listens_all_but_the_addresses_is_not_judged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    report = examine(config(port))
    assert not report.is_reachable
    assert severities(report) == {Severity.NOT_JUDGED}
    assert report.count(Severity.FAULT) == 1
    assert report.connections == 1


def test_a_name_without_addresses_is_not_reachable() -> None:
    report = examine(DoctorConfig(uri=EstUri.parse("https://nobody.invalid"), timeouts=SHORT))
    assert not report.is_reachable
    assert {each.severity for each in report.findings} == {Severity.NOT_JUDGED}
    assert report.connections == 0
    assert not examine(
        DoctorConfig(uri=EstUri.parse("https://nobody.invalid"), timeouts=SHORT), only=["reach"]
    ).is_reachable


@contextmanager
def listener(said: bytes | None) -> Iterator[int]:
    """Take connections, say so much, and close; with None, say nothing and leave them open."""
    sock, kept = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            kept.append(connection)
            if said is not None:
                with connection:
                    connection.sendall(said)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        thread.join()
        for connection in kept:
            connection.close()


@pytest.mark.parametrize("said", [None, b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x03\xff\xff"])
def test_what_is_no_tls_server_is_not_judged(said: bytes | None) -> None:
    with listener(said) as port:
        report = examine(config(port))
    assert not report.is_reachable
    assert report.count(Severity.FAULT) == 0
    assert severities(report) == {Severity.NOT_JUDGED}
    assert not any("the check broke" in each.seen for each in report.findings)


def test_a_server_that_never_answers_is_asked_once_for_each_thing(tmp_path: Path) -> None:
    silent = threading.Event()

    def wait(_asked: object) -> Said:
        silent.wait()
        return Said(raw=b"")

    with foreign_server(wait, server_tls(tmp_path)) as server:
        report = examine(config(server.port, requests=5))
        silent.set()
    assert report.requests == 5
    status = next(each for each in report.findings if each.check.name == "cacerts.status")
    assert (status.severity, status.seen) == (Severity.FAULT, "no answer in time")
    seen = {each.seen for each in report.findings if each.check.subject == "cacerts"}
    assert "no answer in time" in seen
    assert any("5 requests were made" in each.seen for each in report.findings)


def test_connections_are_bounded(tmp_path: Path) -> None:
    def close(_asked: object) -> Said:
        return Said(raw=b"")

    with foreign_server(close, server_tls(tmp_path)) as server:
        report = examine(config(server.port, connections=4))
    assert server.connections <= report.connections == 4
    assert any("4 connections were made" in each.seen for each in report.findings)


def test_a_subject_is_examined_alone(tmp_path: Path) -> None:
    told: list[Finding] = []
    with foreign_server(lambda _: Said(raw=b""), server_tls(tmp_path)) as server:
        report = examine(config(server.port), only=["reach"], told=told.append)
    assert {each.check.subject for each in report.findings} == {"reach"}
    assert tuple(told) == report.findings
    assert server.asked == []


def test_an_unknown_subject_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="'teeth' is not one of reach, tls"):
        examine(config(1), only=["teeth"])


def test_one_check_that_breaks_stops_no_other(tmp_path: Path) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError

    with foreign_server(lambda _: Said(raw=b""), server_tls(tmp_path)) as server:
        report = examine(config(server.port), only=["tls"], entropy=lambda _: broken())
    broke = [each for each in report.findings if "the check broke (ZeroDivisionError)" in each.seen]
    assert broke
    assert {each.severity for each in broke} == {Severity.NOT_JUDGED}
    assert len(report.findings) == len([each for each in CHECKS if each.subject == "tls"])


def test_a_server_is_examined_through_a_proxy(tmp_path: Path) -> None:
    with (
        foreign_server(lambda _: answer(404), server_tls(tmp_path)) as server,
        proxy_site(answering(OPEN)) as proxy,
    ):
        report = examine(config(server.port, proxy=Proxy.parse(proxy.url())))
    found = {each.check.name: (each.severity, each.seen) for each in report.findings}
    assert found["reach.name"] == (Severity.NOT_JUDGED, "the server is reached through a proxy")
    assert found["reach.addresses"] == (Severity.OK, "the proxy opens a tunnel to the server")
    assert found["certificate.names"][0] is Severity.OK
    assert found["cacerts.status"][0] is Severity.FAULT
    assert report.is_reachable
    assert proxy.connections == report.connections


def test_a_proxy_that_opens_no_tunnel_is_named() -> None:
    with proxy_site(answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")) as proxy:
        report = examine(config(1, proxy=Proxy.parse(proxy.url())))
    found = {each.check.name: (each.severity, each.seen) for each in report.findings}
    severity, seen = found["reach.addresses"]
    assert severity is Severity.FAULT
    assert "403" in seen
    assert found["tls.1-2"][0] is Severity.NOT_JUDGED
    assert not report.is_reachable
