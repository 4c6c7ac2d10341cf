"""est cacerts, csrattrs, enroll, reenroll with coaps URLs, against a real server on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from est_core import CACERTS, Deny, Failed
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_transports.cli.client.failures import failure
from est_transports.cli.client.target_options import make_target
from est_transports.cli.errors import CliError, ExitCode
from tests.application import certificate_for
from tests.cli.canned import CannedServer, canned_coap_server, certify_after
from tests.cli.test_client_commands import Terminal, certificate_in, key_in, one_error_line
from tests.pki import SERVER_AUTH, Subject, pki


@pytest.fixture
def est(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    return Terminal(capsys, tmp_path)


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_coap_server() as running:
        yield running


@pytest.fixture
def mine(est: Terminal) -> tuple[str, ...]:
    """The options that show a manufacturer's certificate."""
    return est.identity(pki().manufacturer_client)


def operations(server: CannedServer) -> list[str]:
    """Return what was asked for, with the codes."""
    return [
        f"{each.operation.name if each.operation else '-'} {each.status}" for each in server.records
    ]


@pytest.mark.req("COAPS-001")
def test_cacerts(est: Terminal, server: CannedServer, mine: tuple[str, ...]) -> None:
    code, out, err = est.ask("cacerts", server, *mine)
    assert (code, err) == (0, "")
    assert x509.load_pem_x509_certificates(out.encode()) == [pki().ca.certificate]
    assert operations(server) == ["cacerts 205"]


def test_csrattrs(est: Terminal, server: CannedServer, mine: tuple[str, ...]) -> None:
    assert est.ask("csrattrs", server, *mine) == (0, "the server has no opinion\n", "")
    server.application.csrattrs = CsrAttrs(items=(ObjectId(oid="1.2.840.113549.1.9.7"),))
    code, out, _ = est.ask("csrattrs", server, *mine)
    assert code == 0
    assert "linking" in out


def test_csrattrs_of_a_label_that_is_not_there_are_an_error(
    est: Terminal, server: CannedServer, mine: tuple[str, ...]
) -> None:
    code, out, err = est.ask("csrattrs", server, *mine, "--label", "others")
    assert (code, out) == (1, "")
    assert "(CoAP 4.04)" in err
    assert operations(server) == ["csrattrs 404", "- 205", "cacerts 404"]  # the list between


@pytest.mark.req("COAPS-018", "COAPS-024", "COAPS-073")
def test_enroll_and_reenroll_with_linking(
    est: Terminal, server: CannedServer, mine: tuple[str, ...]
) -> None:
    wanted = ("--cn", "device-1", "--pop", "always", "--out", est.out)
    code, out, err = est.ask("enroll", server, *mine, *wanted, "--json")
    assert (code, err) == (0, "")
    first = certificate_in(est.out / "cert.pem")
    assert json.loads(out)["status"] == "enrolled"
    assert key_in(est.out / "key.pem").public_key() == first.public_key()
    shown = ("--cert", est.out / "cert.pem", "--key", est.out / "key.pem", "--pop", "always")
    again = est.directory / "again"
    code, _, err = est.ask("reenroll", server, *shown, "--out", again)
    assert (code, err) == (0, "")
    assert certificate_in(again / "cert.pem").subject == first.subject
    assert all(question.linked for question in server.application.enrollments)
    assert operations(server) == [
        *("cacerts 205", "csrattrs 404", "simpleenroll 204"),
        *("cacerts 205", "csrattrs 404", "simplereenroll 204"),
    ]
    assert len({record.peer for record in server.records}) == 2  # an association a command


@pytest.mark.req("COAPS-003")
def test_a_label(est: Terminal, server: CannedServer, mine: tuple[str, ...]) -> None:
    assert est.ask("cacerts", server, *mine, "--label", "devices")[0] == 0
    assert est("cacerts", f"{server.url}/devices", "--trust", est.trust, *mine)[0] == 0
    assert [str(record.label) for record in server.records] == ["devices", "devices"]
    code, _, err = est.ask("cacerts", server, *mine, "--label", "others")
    assert code == 1
    assert "(CoAP 4.04)" in err
    assert "HTTP" not in err


@pytest.mark.req("COAPS-056", "COAPS-057")
def test_a_pending_request_exits_with_3_or_is_waited_for(
    est: Terminal, server: CannedServer, mine: tuple[str, ...]
) -> None:
    server.application.pend(1, 1)
    wanted = ("--cn", "device-1", "--out", est.out)
    code, out, err = est.ask("enroll", server, *mine, *wanted, "--json")
    assert code == 3
    assert "pending" in err
    assert json.loads(out)["status"] == "pending"
    assert json.loads(out)["retry_after_s"] <= 1
    code, _, err = est.ask("enroll", server, *mine, *wanted, "--wait", "10")
    assert (code, err) == (0, "")
    keys = {question.csr.spki for question in server.application.enrollments}
    assert len(keys) == 1


# What goes wrong


def test_a_refusal_exits_with_1(est: Terminal, server: CannedServer, mine: tuple[str, ...]) -> None:
    server.application.decide_enrollments(Deny(code="test/no", reason="not today"))
    code, _, err = est.ask("enroll", server, *mine, "--cn", "x", "--out", est.out)
    assert code == 1
    assert one_error_line(err)
    assert "not today (CoAP 4.03)" in err
    assert not (est.out / "key.pem.pending").exists()


def test_a_certificate_of_an_unknown_ca_is_refused(est: Terminal, server: CannedServer) -> None:
    code, _, err = est.ask("cacerts", server, *est.identity(pki().rogue_client))
    assert code == 1
    assert "(CoAP 4.03) [auth/certificate-not-accepted]" in err
    record = server.records[-1]
    assert "by [manufacturers.NAME] or tls.client_trust" in err
    assert f"est why DIR {record.refusal_id}" in err


def test_a_4_01_is_about_the_certificate_for_there_is_nothing_else(
    est: Terminal, mine: tuple[str, ...]
) -> None:
    cert, key = Path(mine[1]), Path(mine[3])
    target = make_target(url="coaps://est.example", trust=est.trust, cert=cert, key=key)
    failed = Failed(code="auth/no-challenge", message="no")
    assert "--cert" in failure(failed, CACERTS, target).hint
    assert not failure(failed, CACERTS, target).hint.endswith("--cert and --key")


@pytest.mark.req("COAPS-016")
def test_an_untrusted_server_exits_with_4(est: Terminal, mine: tuple[str, ...]) -> None:
    rogue = pki().rogue.issue(
        Subject(name="rogue", ips=("127.0.0.1",), eku=(SERVER_AUTH,), dns=("localhost",))
    )
    with canned_coap_server(identity=rogue) as server:
        code, _, err = est.ask("cacerts", server, *mine)
    assert code == 4
    assert one_error_line(err)
    assert "tls/untrusted-server" in err
    assert "take the CA file from the server's operator" in err


def test_a_server_with_another_name_exits_with_4(est: Terminal, mine: tuple[str, ...]) -> None:
    other = pki().ca.issue(Subject(name="other", dns=("other.example",), eku=(SERVER_AUTH,)))
    with canned_coap_server(identity=other) as server:
        code, _, err = est.ask("cacerts", server, *mine)
    assert code == 4
    assert "server/name-mismatch" in err


def test_a_port_where_nobody_listens_exits_with_4(est: Terminal, mine: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code, _, err = est("cacerts", f"coaps://127.0.0.1:{port}", "--trust", est.trust, *mine)
    assert code == 4
    assert one_error_line(err)
    assert "connect/refused" in err


def test_a_silent_port_is_given_up_after_the_timeout(est: Terminal, mine: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"coaps://127.0.0.1:{silent.getsockname()[1]}"
        code, _, err = est("cacerts", url, "--trust", est.trust, *mine, "--timeout", "0.3")
    assert code == 4
    assert one_error_line(err)
    assert "connect/timeout" in err


def assert_soon(event: threading.Event) -> None:
    assert event.wait(60)


def test_an_answer_that_does_not_come_keeps_the_key(
    est: Terminal, server: CannedServer, mine: tuple[str, ...]
) -> None:
    given_up = threading.Event()
    server.application.certify = certify_after(lambda: assert_soon(given_up))
    wanted = ("--cn", "device-1", "--out", est.out)
    code, _, err = est.ask("enroll", server, *mine, *wanted, "--timeout", "1")
    given_up.set()
    assert code == 4
    assert "coap/timeout" in err
    assert (est.out / "key.pem.pending").exists()
    server.application.certify = certificate_for
    assert est.ask("enroll", server, *mine, "--out", est.out)[0] == 0
    first, second = server.application.enrollments
    assert first.csr.spki == second.csr.spki


@pytest.mark.req("COAPS-016", "COAPS-020")
@pytest.mark.parametrize(
    "arguments, hint",
    [
        ((), "--cert and --key"),
        (("--user", "alice:secret", "--cert", "c", "--key", "k"), "--cert and --key"),
        (("--cert", "c", "--key", "k", "--tls-max", "1.2"), "DTLS"),
        (("--cert", "c"), "go together"),
        (("--cert", "c", "--key", "k", "--password-stdin"), ""),
    ],
)
def test_what_there_is_not_over_coap_is_an_error_of_usage(
    est: Terminal, arguments: tuple[str, ...], hint: str
) -> None:
    est.identity(pki().client)  # the files
    shown = {"c": est.directory / "identity.pem", "k": est.directory / "identity.key"}
    given = [shown.get(argument, argument) for argument in arguments]
    code, out, err = est("cacerts", "coaps://est.example", "--trust", est.trust, *given)
    assert (code, out) == (2, "")
    assert one_error_line(err)
    assert hint in err


# Another root. RFC 9148 4.1.


def test_a_root_is_given(est: Terminal, server: CannedServer, mine: tuple[str, ...]) -> None:
    """The canned server has its operations below /est too."""
    code, out, err = est.ask("cacerts", server, *mine, "--root", "/est")
    assert (code, err) == (0, "")
    assert x509.load_pem_x509_certificates(out.encode()) == [pki().ca.certificate]
    assert [record.target for record in server.records] == ["/est/crts"]


def test_a_root_where_nothing_is_fails_there(
    est: Terminal, server: CannedServer, mine: tuple[str, ...]
) -> None:
    code, _, err = est.ask("cacerts", server, *mine, "--root", "/other")
    assert code == 1
    assert "(CoAP 4.04)" in err
    assert [record.target for record in server.records] == ["/other/crts"]


def test_discovery_by_option(est: Terminal, server: CannedServer, mine: tuple[str, ...]) -> None:
    code, out, err = est.ask("cacerts", server, *mine, "--discover")
    assert (code, err) == (0, "")
    assert out
    targets = [record.target for record in server.records]
    assert targets == ["/.well-known/core", "/.well-known/est/crts"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--root", "est"), "a root is a path such as /est"),
        (("--root", "/a?b"), "--root: a path has no query"),
        (("--root", "/est", "--discover"), "exclude each other"),
    ],
)
def test_a_root_that_is_none_is_an_error_of_usage(
    est: Terminal,
    server: CannedServer,
    mine: tuple[str, ...],
    options: tuple[str, ...],
    text: str,
) -> None:
    code, _, err = est.ask("cacerts", server, *mine, *options)
    assert code == 2
    assert text in err


@pytest.mark.parametrize("option", [("--root", "/est"), ("--discover",)])
def test_a_root_is_for_coaps(est: Terminal, option: tuple[str, ...]) -> None:
    with pytest.raises(CliError) as caught:
        make_target(
            url="https://est.example",
            trust=est.trust,
            root=option[1] if len(option) > 1 else None,
            discover=len(option) == 1,
        )
    assert caught.value.code is ExitCode.USAGE
    assert f"{option[0]} is about coaps://" in caught.value.message
