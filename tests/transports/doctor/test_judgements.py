"""What checks make of what is rare: given as it would have been found, without a server."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from est_core import EstUri
from est_transports.channel.errors import CLOSED, HANDSHAKE, PEER_REFUSED_CERTIFICATE
from est_transports.doctor import CHECKS, DoctorConfig, Severity
from est_transports.doctor.connections import Address, Handshake
from est_transports.doctor.findings import NotJudged, Verdict
from est_transports.doctor.hello import EXTENDED_MASTER_SECRET, TLS_1_1, TLS_1_2, Flight
from est_transports.doctor.probes import Probes

OK, NOTE, WARNING, FAULT, NOT_JUDGED = Severity
GOOD = Flight(version=TLS_1_2, suite=0xC02B, extensions=frozenset({EXTENDED_MASTER_SECRET}))
REFUSED = Flight(alert=70)
NEWEST = Handshake(version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", asks_certificate=True)
NO_NEWEST = Handshake(failure="no", code=HANDSHAKE)


class Found(Probes):
    """A server as it was found: each probe returns what it is given, or raises it."""

    def __init__(self, **found: Any) -> None:
        super().__init__(DoctorConfig(uri=EstUri.parse("https://est.example")))
        self._found = {
            "flight": GOOD, "handshake_1_3": NEWEST, "old_flight": REFUSED,
            "forbidden_flight": REFUSED, "weak_flight": REFUSED, "addresses": (), **found,
        }  # fmt: skip

    def _given(self, name: str) -> Any:
        found = self._found[name]
        if isinstance(found, Exception):
            raise found
        return found

    def addresses(self) -> Any:
        return self._given("addresses")

    def flight(self) -> Any:
        return self._given("flight")

    def old_flight(self) -> Any:
        return self._given("old_flight")

    def forbidden_flight(self) -> Any:
        return self._given("forbidden_flight")

    def weak_flight(self) -> Any:
        return self._given("weak_flight")

    def handshake_1_3(self) -> Any:
        return self._given("handshake_1_3")

    def get(self, operation: str, **_: Any) -> Any:
        return self._given("get")


def judged(name: str, **found: Any) -> Verdict:
    """What one check says of a server that was found so."""
    (check,) = [each for each in CHECKS if each.name == name]
    try:
        return check.judge(Found(**found))
    except NotJudged as exc:
        return Verdict(severity=NOT_JUDGED, seen=str(exc))


def address(text: str, problem: str = "") -> Address:
    """An address, and what became of it."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return Address(family=family, place=(text, 443), problem=problem)


BOTH = (address("192.0.2.1"), address("2001:db8::1"))
HALF = (address("192.0.2.1"), address("2001:db8::1", "no answer"))
GONE = NotJudged("it closed the connection in the handshake")
NOTHING = {"flight": GONE, "handshake_1_3": NO_NEWEST}
ASKING = Flight(version=TLS_1_2, suite=0xC02B, has_request=True)
CROWDED = Flight(version=TLS_1_2, has_request=True, ca_names=(b"x" * 9000,) * 2)

CASES: dict[str, tuple[str, dict[str, Any], Severity, str]] = {
    "two families": ("reach.name", {"addresses": BOTH}, OK, "2001:db8::1"),
    "one family": ("reach.name", {"addresses": BOTH[:1]}, NOTE, "IPv4 only"),
    "both answer": ("reach.addresses", {"addresses": BOTH}, OK, "2 addresses take"),
    "one answers": ("reach.addresses", {"addresses": HALF}, WARNING, "2001:db8::1: no answer"),
    "an older version": (
        "tls.1-2", {"flight": Flight(version=TLS_1_1, suite=0x2F)}, FAULT, "it chose TLS 1.1",
    ),
    "no 1.2, no suite": ("tls.suite", {"flight": REFUSED}, NOT_JUDGED, "TLS 1.2"),
    "a bad suite": ("tls.suite", {"flight": Flight(version=TLS_1_2, suite=0x2F)}, WARNING, "AES"),
    "an unknown suite": (
        "tls.suite", {"flight": Flight(version=TLS_1_2, suite=0xFFFE)}, WARNING, "suite 0xfffe",
    ),
    "no renegotiation info": ("tls.secure-renegotiation", {}, FAULT, "not answered"),
    "old, closed": ("tls.old-versions", {"old_flight": GONE}, OK, "refused: it closed"),
    "forbidden, closed": ("tls.forbidden-suites", {"forbidden_flight": GONE}, OK, "refused"),
    "weak, closed": ("tls.weak-suites", {"weak_flight": GONE}, OK, "refused"),
    "weak, taken": (
        "tls.weak-suites", {"weak_flight": Flight(version=TLS_1_2, suite=0x000A)}, WARNING,
        "DES-CBC3-SHA",
    ),
    "old, and nothing else": ("tls.old-versions", {"old_flight": GONE, **NOTHING}, NOT_JUDGED, ""),
    "forbidden, and nothing else": (
        "tls.forbidden-suites", {"forbidden_flight": GONE, **NOTHING}, NOT_JUDGED, "",
    ),
    "weak, and nothing else": ("tls.weak-suites", {"weak_flight": GONE, **NOTHING}, NOT_JUDGED, ""),
    "no handshake at all": (
        "tls.client-certificate", {"flight": REFUSED, "handshake_1_3": NO_NEWEST}, NOT_JUDGED,
        "no handshake",
    ),
    "asked for in 1.3 alone": (
        "tls.client-certificate", {}, WARNING, "not asked for in the first handshake of TLS 1.2",
    ),
    "too many CAs": ("tls.ca-names", {"flight": CROWDED}, WARNING, "2 CAs in 18000 bytes"),
    "CAs in 1.3": (
        "tls.ca-names",
        {"flight": REFUSED, "handshake_1_3": Handshake(asks_certificate=True, ca_names=3)},
        OK, "3 CAs",
    ),
    "turned away": (
        "tls.anybody", {"get": NotJudged("no", PEER_REFUSED_CERTIFICATE)}, FAULT, "turned away",
    ),
    "asked and closed": (
        "tls.anybody", {"flight": ASKING, "get": NotJudged("closed", CLOSED)}, FAULT, "closed",
    ),
    "closed": (
        "tls.anybody",
        {"get": NotJudged("closed", CLOSED), "handshake_1_3": NO_NEWEST}, NOT_JUDGED, "closed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_rare_is_judged(case: str) -> None:
    name, found, severity, seen = CASES[case]
    verdict = judged(name, **found)
    assert verdict.severity is severity
    assert seen in verdict.seen
