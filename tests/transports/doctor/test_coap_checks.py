"""What is found out about a server of EST over CoAP: ours, those that do not verify, odd ones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import EstUri
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.wires.coapmap import Code, ResponseHead
from est_transports.channel.errors import HANDSHAKE, TlsError
from est_transports.client_config import ClientTimeouts
from est_transports.doctor import CHECKS, DoctorConfig, Report, Severity, examine
from est_transports.doctor.coap_answers import CoapAnswer
from est_transports.doctor.findings import NotJudged, Verdict
from est_transports.doctor.probes import Probes
from est_transports.pki import TlsIdentity, TrustAnchors
from tests.cli.canned import canned_coap_server
from tests.pki import SERVER_AUTH, Entity, Subject, pki

OK, NOTE, WARNING, FAULT, NOT_JUDGED = Severity
SHORT: Final = ClientTimeouts(connect_s=1.0, handshake_s=1.0, response_s=1.0)


def config(port: int, *, host: str = "127.0.0.1", **options: object) -> DoctorConfig:
    """A server on this machine, asked by a device of the test CA."""
    device = pki().client
    facts: dict[str, object] = {
        "trust": TrustAnchors(explicit=(pki().ca.certificate,)),
        "identity": TlsIdentity(chain=device.chain, key=device.key),
        **options,
    }
    return DoctorConfig(uri=EstUri.parse(f"coaps://{host}:{port}"), **facts)  # type: ignore[arg-type]  # its fields


def found(report: Report) -> dict[str, tuple[Severity, str]]:
    """What each check found."""
    return {each.check.name: (each.severity, each.seen) for each in report.findings}


def test_our_own_server_has_no_fault() -> None:
    with canned_coap_server() as server:
        report = examine(config(server.port))
    bad = [each for each in report.findings if each.severity not in (OK, NOTE)]
    assert bad == []
    assert report.is_reachable
    assert len(report.findings) == len([each for each in CHECKS if "coaps" in each.schemes])
    assert report.connections == 2
    assert report.requests <= 10


def test_a_label_and_attributes_are_asked_for() -> None:
    with canned_coap_server() as server:
        server.application.csrattrs = CsrAttrs(items=(ObjectId(oid="2.5.4.5"),))
        uri = EstUri.parse(f"coaps://127.0.0.1:{server.port}/devices")
        report = examine(replace(config(server.port), uri=uri))
        labels = {record.label for record in server.records}
    assert found(report)["coaps.csrattrs"] == (OK, "2.05 with 1 item")
    assert "devices" in {str(label) for label in labels}


def rogue() -> Entity:
    """A server of nobody's."""
    return pki().rogue.issue(Subject(name="x", ips=("127.0.0.1",), eku=(SERVER_AUTH,)))


def other_name() -> Entity:
    """A server of another name."""
    return pki().ca.issue(Subject(name="x", dns=("other.example",), eku=(SERVER_AUTH,)))


@pytest.mark.parametrize(
    "entity, seen", [(rogue, "not trusted"), (other_name, "another name")], ids=["rogue", "name"]
)
def test_a_server_that_does_not_verify_is_named_and_asked_nothing(
    entity: Callable[[], Entity], seen: str
) -> None:
    with canned_coap_server(identity=entity()) as server:
        report = examine(config(server.port))
        assert [record for record in server.records if record.method] == []
    severity, text = found(report)["coaps.handshake"]
    assert severity is FAULT
    assert seen in text
    assert found(report)["coaps.cacerts"][0] is NOT_JUDGED
    assert report.is_reachable


def test_without_an_identity_nothing_is_judged() -> None:
    with canned_coap_server() as server:
        report = examine(config(server.port, identity=None))
    assert found(report)["coaps.handshake"][0] is NOT_JUDGED
    assert "--cert" in found(report)["coaps.handshake"][1]


def test_where_nobody_speaks_dtls_the_handshake_ends() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        report = examine(config(silent.getsockname()[1], timeouts=SHORT))
    assert found(report)["coaps.handshake"] == (NOT_JUDGED, "no answer to the handshake in time")
    assert not report.is_reachable
    assert report.connections == 1


# Odd servers

Answers = Mapping[tuple[int, str], CoapAnswer]


def answer(code: int, content_format: int | None = None, payload: bytes = b"") -> CoapAnswer:
    """An answer."""
    return CoapAnswer(head=ResponseHead(code=code, content_format=content_format), payload=payload)


BAG: Final = write_certs_only([pki().ca.certificate])
GOOD: Final[dict[tuple[int, str], CoapAnswer]] = {
    (Code.GET, "core"): answer(Code.CONTENT, 40, b'</.well-known/est/crts>;rt="ace.est.crts"'),
    (Code.GET, "crts"): answer(Code.CONTENT, 281, BAG),
    (Code.GET, "att"): answer(Code.NOT_FOUND),
    (Code.POST, "sen"): answer(Code.BAD_REQUEST),
    (Code.DELETE, "crts"): answer(Code.METHOD_NOT_ALLOWED),
}


class OddServer(Probes):
    """A server as it answers, by method and the end of the path; 4.04 to all else."""

    def __init__(self, answers: Answers, *, small: CoapAnswer | None = None) -> None:
        super().__init__(config(1))
        self._answers = {**GOOD, **answers}
        self._small = small or self._answers[Code.GET, "crts"]

    def coap_ask(
        self,
        code: int,
        path: tuple[str, ...],
        payload: bytes = b"",
        *,
        content_format: int | None = None,
        accept: int | None = None,
    ) -> CoapAnswer:
        return self._answers.get((code, path[-1]), answer(Code.NOT_FOUND))

    def coap_in_blocks(self, block_bytes: int, path: tuple[str, ...]) -> CoapAnswer:
        return self._small


LEAF: Final = pki().client.certificate.public_bytes(Encoding.DER)
ROOT: Final = pki().ca.certificate.public_bytes(Encoding.DER)
CRTS, ATT, SEN = (Code.GET, "crts"), (Code.GET, "att"), (Code.POST, "sen")

QUIRKS: Final[dict[str, tuple[Answers, str, Severity, str]]] = {
    "no list": ({(Code.GET, "core"): answer(Code.NOT_FOUND)}, "discovery", NOTE, "4.04"),
    "crts 5.03": (
        {CRTS: answer(Code.SERVICE_UNAVAILABLE)}, "cacerts", FAULT, "5.03",
    ),
    "crts 4.04, and its root": ({CRTS: answer(Code.NOT_FOUND)}, "root", NOT_JUDGED, "4.04"),
    "crts 4.04, and blocks": ({CRTS: answer(Code.NOT_FOUND)}, "blocks", NOT_JUDGED, "4.04"),
    "crts in no format": ({CRTS: answer(Code.CONTENT, None, BAG)}, "cacerts", FAULT, "281"),
    "crts in 287": ({CRTS: answer(Code.CONTENT, 287, ROOT)}, "root", OK, "pkix-cert"),
    "no root": ({CRTS: answer(Code.CONTENT, 287, LEAF)}, "root", FAULT, "the root is missing"),
    "crts that are none": ({CRTS: answer(Code.CONTENT, 281, b"x")}, "root", NOT_JUDGED, "read"),
    "att in no format": ({ATT: answer(Code.CONTENT, 0, b"x")}, "csrattrs", FAULT, "285"),
    "att empty": ({ATT: answer(Code.CONTENT, 285)}, "csrattrs", OK, "without attributes"),
    "att that are none": ({ATT: answer(Code.CONTENT, 285, b"x")}, "csrattrs", FAULT, "["),
    "att 4.01": ({ATT: answer(Code.UNAUTHORIZED)}, "csrattrs", WARNING, "4.01"),
    "sen 2.04": ({SEN: answer(Code.CHANGED)}, "empty-request", FAULT, "2.04"),
    "sen 5.00": (
        {SEN: answer(Code.INTERNAL_SERVER_ERROR)}, "empty-request", FAULT, "breaks",
    ),
    "sen 4.00 to text": ({}, "refusals", NOTE, "text/plain is answered 4.00, and not 4.15"),
}  # fmt: skip


def judged(name: str, server: Probes) -> Verdict:
    """What one check says."""
    (check,) = [each for each in CHECKS if each.name == f"coaps.{name}"]
    try:
        return check.judge(server)
    except NotJudged as exc:
        return Verdict(severity=NOT_JUDGED, seen=str(exc))


@pytest.mark.parametrize("quirk", QUIRKS)
def test_a_quirk_is_named(quirk: str) -> None:
    answers, name, severity, seen = QUIRKS[quirk]
    verdict = judged(name, OddServer(answers))
    assert verdict.severity is severity
    assert seen in verdict.seen


def test_blocks_that_make_another_body_are_a_fault() -> None:
    server = OddServer({}, small=answer(Code.CONTENT, 281, BAG[:-1]))
    assert judged("blocks", server).severity is FAULT


def test_a_handshake_that_fails_leaves_the_rest_unjudged() -> None:
    class Refusing(OddServer):
        def coap_channel(self) -> object:  # type: ignore[override]  # it never returns
            raise TlsError(HANDSHAKE, "the peer refused the handshake")

    server = Refusing({})
    assert judged("handshake", server).severity is FAULT
    assert judged("extended-master-secret", server).severity is NOT_JUDGED
    assert judged("validity", server).severity is NOT_JUDGED


def test_a_server_that_never_answers_is_left() -> None:
    over = threading.Event()
    with canned_coap_server() as server:
        server.application.before = lambda: over.wait(60)
        report = examine(config(server.port, timeouts=SHORT), only=["coaps"])
        over.set()
    assert found(report)["coaps.cacerts"] == (NOT_JUDGED, "no answer in time")
    assert report.connections <= 2
