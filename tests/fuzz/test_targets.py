"""Every fuzz target keeps its word for a moment, and there is one for every parser."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import suppress
from operator import ge
from typing import Final

import pytest

from est_core import Channel, RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest
from est_core.checks.pop import check_linking
from fuzz.coverage import Lines
from fuzz.engines import ENGINES
from fuzz.findings import Finding
from fuzz.session import Found, Plan, Session
from fuzz.targets import TARGETS
from tests.fuzz.breakages import BREAKAGES, COMMAND, RUNS, target_of
from tests.law.sources import ALL, ROOT

FLOORS: Final = {
    "transfer": (45, 40),
    "textual": (60, 45),
    "media": (50, 30),
    "retry": (20, 20),
    "timestamps": (1, 1),
    "authorization": (45, 10),
    "challenges": (75, 65),
    "multipart": (40, 20),
    "multipart-core": (70, 15),
    "der": (60, 50),
    "ber": (60, 55),
    "pkcs10": (40, 20),
    "cms": (55, 35),
    "certificate": (45, 15),
    "csrattrs": (50, 35),
    "template": (50, 10),
    "keys": (45, 5),
    "attributes": (60, 40),
    "renewal-info-server": (1, 1),
    "renewal-info-client": (1, 1),
    "httpmap-server": (60, 35),
    "httpmap-client": (65, 15),
    "coapmap-server": (40, 20),
    "coapmap-client": (55, 30),
    "coap-messages": (65, 50),
    "uri": (35, 15),
    "discovery": (75, 15),
    "hosts": (50, 5),
    "host-names": (60, 25),
    "names": (45, 35),
    "constraints": (60, 45),
    "issued": (45, 25),
    "manufacturers": (20, 20),
    "ocsp-requests": (30, 5),
    "publication": (40, 20),
    "fair-queue": (65, 50),
    "datagram-scheduler": (65, 40),
    "connection-slots": (70, 30),
    "cookies": (65, 60),
    "recent-passwords": (60, 55),
    "dtls-records": (40, 10),
    "password-records": (35, 25),
    "chains": (50, 30),
    "profiles": (15, 15),
    "client-driver": (60, 5),
    "coap-path-discovery": (70, 55),
    "h11-server": (50, 40),
    "h11-client": (50, 45),
    "chunks": (15, 10),
    "conversation": (45, 15),
    "coap-server-connection": (65, 60),
    "coap-client-connection": (25, 10),
    "tls-server": (65, 60),
    "tls-client": (65, 55),
    "dtls-engine": (70, 65),
    "dtls-server": (70, 40),
    "coap-endpoint": (65, 35),
    "server-exchange": (50, 35),
    "client-exchange": (65, 15),
    "credential-files": (65, 45),
    "agent-toml": (20, 2),
    "agent-state": (8, 6),
    "est-toml": (40, 20),
    "tunnels": (30, 10),
}
"""So many in a hundred inputs come past the first gate, and so many are accepted: see `Target`."""
READERS: Final = ("parse_", "read_", "check_der", "check_ber", "decode")
"""How functions are called that take what a peer sent."""
MAPS: Final = tuple(
    f"est_core.wires.{wire}.{side}"
    for wire in ("httpmap", "coapmap")
    for side in ("server", "client", "paths")
)
NOT_FOR_BYTES: Final = {
    "decode_name",
    "decode_extensions",
    "decoded_extensions",
    "read_identifier",
    "read_attribute",  # these take elements of what passed the gate, and are called for it
    "read_oid",
    "read_integer",
}


def unreported(_finding: Finding) -> None:
    raise AssertionError("a finding is raised")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_keeps_its_word(name: str) -> None:
    session = Session(TARGETS[name], Plan(runs=RUNS), report=unreported)
    try:
        ENGINES["mutation"](session)
    except Found as found:
        pytest.fail(found.finding.text(ROOT / "input"))
    counted = session.statistics
    assert counted.executions == RUNS
    print(counted.line(TARGETS[name]))
    shares = counted.share(counted.passed), counted.share(counted.accepted)
    assert all(map(ge, shares, FLOORS[name])), f"{shares} where {FLOORS[name]} is wanted"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_says_what_its_shares_are_of(name: str) -> None:
    target = TARGETS[name]
    assert target.gate
    assert target.goal
    assert len(Lines(target.modules).all) > 10


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_says_its_invariant_in_one_line(name: str) -> None:
    assert TARGETS[name].invariant.endswith(".")
    assert len(TARGETS[name].invariant) > 20


def lets_all_pass(csr: CertRequest, channel: Channel, *, required: bool, tolerant: bool) -> bool:
    with suppress(RemoteProtocolError):
        return check_linking(csr, channel, required=required, tolerant=tolerant)
    return False


def lets_mismatches_pass(
    csr: CertRequest, channel: Channel, *, required: bool, tolerant: bool
) -> bool:
    return check_linking(csr, channel, required=required, tolerant=tolerant or not required)


def demands_nothing(csr: CertRequest, channel: Channel, *, required: bool, tolerant: bool) -> bool:
    return check_linking(csr, channel, required=required and not tolerant, tolerant=tolerant)


def says_that_all_is_linked(
    csr: CertRequest, channel: Channel, *, required: bool, tolerant: bool
) -> bool:
    return check_linking(csr, channel, required=required, tolerant=tolerant) or True


@pytest.mark.parametrize(
    "broken", [lets_all_pass, lets_mismatches_pass, demands_nothing, says_that_all_is_linked]
)
def test_a_broken_check_of_the_linking_is_noticed(
    broken: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TARGETS["pkcs10"]

    def run_all() -> None:
        for seed in target.seeds():
            target.run(seed)

    run_all()
    monkeypatch.setattr("fuzz.targets.asn1.check_linking", broken)
    with pytest.raises(AssertionError):
        run_all()


def test_every_function_that_reads_what_a_peer_sent_is_called_by_a_target() -> None:
    text = "".join(path.read_text("utf-8") for path in (ROOT / "fuzz" / "targets").glob("*.py"))
    readers = {
        node.name
        for source in ALL
        if source.name.startswith(("est_core.codec", "est_core.asn1"))
        or source.name.startswith(MAPS)
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith(READERS)
    }
    assert "parse_cert_request" in readers
    assert sorted(name for name in readers - NOT_FOR_BYTES if name not in text) == []


def test_each_target_has_a_breakage_on_record_that_it_has_to_notice() -> None:
    assert {target_of(name) for name in BREAKAGES} == set(TARGETS)


def test_what_targets_have_to_notice_is_still_there() -> None:
    """Whether it does is what the command says; here the text to be broken has to be there."""
    gone = {name for name, each in BREAKAGES.items() if each.read().count(each.old) != 1}
    assert gone == set(), f"change tests/fuzz/breakages.py, and run: {COMMAND}"
