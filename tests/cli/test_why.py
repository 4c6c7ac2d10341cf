"""`est why`: what is printed about a refusal of a server that runs, by one command."""

from __future__ import annotations

import errno
import json
import re
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from est_core import ManufacturerIdentity
from est_transports.authority.stores.device_records import DeviceRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli import group
from est_transports.cli.server.searches import of_device, of_peer
from est_transports.service.audit import Entry, line_of
from tests.cli.serve_process import PASSWORD, USER, ServeProcess, request, serving
from tests.cli.test_serve import add_user, ca

__all__ = ["ca"]  # the fixture

LOGIN: Final = f"{USER}:{PASSWORD}"
AT: Final = "2026-01-02T03:04:05.678Z"


def why(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["why", str(directory), *arguments])


def refused(server: ServeProcess, name: str, login: str = LOGIN) -> str:
    """Have somebody refused, and return the id that it is told."""
    with closing(server.connect()) as connection:
        status, _ = connection.ask("simpleenroll", request(name), login)
    assert status >= 400
    line = server.wait_for(f"status={status} ")
    found = re.search(r" refusal=(\w+) ", line)
    assert found, line
    wait_for(server.directory, found[1])
    return found[1]


def wait_for(directory: Path, words: str) -> None:
    """Return when a thread of the server has written this into the audit file."""
    path, patience = directory / "audit.jsonl", monotonic() + 20
    while not path.exists() or words not in path.read_text():
        assert monotonic() < patience, path.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    directory = tmp_path_factory.mktemp("why") / "ca"
    CliRunner().invoke(group, ["init", str(directory), "--host", "127.0.0.1"])
    add_user(directory, USER, PASSWORD)
    with serving(directory) as running:
        yield running


@pytest.mark.req("EST-297")
def test_a_refused_device_is_explained_by_one_command(server: ServeProcess) -> None:
    refusal = refused(server, "another")
    done = why(server.directory, refusal.lower())
    assert done.exit_code == 0, done.output
    text = re.sub(r"20\S+Z", "TIME", re.sub(r":\d{4,5}\b", ":PORT", done.stdout))
    assert text.replace(str(server.directory), "DIR") == (
        f"{refusal}: refused at TIME\n"
        f"  client:    user {USER}, from 127.0.0.1:PORT\n"
        "  asked for: simpleenroll, over https\n"
        "  names:     CN=another\n"
        "  answer:    400 names/not-allowed: the client may not have commonName another: the rule "
        "here is names = identity\n"
        "  cause:     the request asks for a name that its client was not authenticated by, or "
        "that is not registered for it; the answer says which\n"
        "  remedy:    ask for the names that are yours; where the name is right, have the operator "
        "of the server register it, or log in as who has it (whoever runs the client can do that)\n"
        f"  next:      est device show DIR {USER}\n"
    )
    assert PASSWORD not in done.stdout


def test_a_wrong_password_is_found_by_the_name_that_was_tried(server: ServeProcess) -> None:
    refusal = refused(server, USER, f"{USER}:wrong horse")
    for arguments in (("--user", USER), ("--device", USER), ("--peer", "127.0.0.1"), ()):
        done = why(server.directory, *arguments, "--last", "1")
        assert done.stdout.startswith(f"{refusal}: refused at "), done.output
        assert f"  client:    calls itself {USER}, from 127.0.0.1:" in done.stdout
        assert "  answer:    401 auth/wrong-credentials\n" in done.stdout
        assert f"  next:      est user list {server.directory}\n" in done.stdout
    assert "wrong horse" not in (server.directory / "audit.jsonl").read_text()


def test_who_got_a_certificate_after_that_is_told_so(server: ServeProcess) -> None:
    refused(server, "another")
    with closing(server.connect()) as connection:
        certificate = connection.enroll(USER)
    done = why(server.directory, "--user", USER, "--json")
    found = json.loads(done.stdout)
    assert found[0]["code"] == "names/not-allowed"
    assert found[0]["remedy"].startswith("ask for the names")
    assert found[0]["next"] == [f"est device show {server.directory} {USER}"]
    assert f"{certificate.serial_number:X}" in done.stderr
    serial = why(server.directory, "--serial", f"{certificate.serial_number:x}")
    assert serial.exit_code == 5
    assert "no refusal of certificate" in serial.stderr
    assert "a certificate was issued to it" in serial.stderr


def test_a_failed_handshake_is_explained_by_its_address(server: ServeProcess) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(OSError):
            plain.recv(100)
    wait_for(server.directory, "tls/not-tls")
    done = why(server.directory, "--peer", "127.0.0.1", "--last", "1")
    assert done.stdout.startswith("failed in the handshake at ")
    assert "  failed:    tls/not-tls: " in done.stdout


def test_several_workers_write_one_file_and_it_may_be_moved_away(ca: Path) -> None:
    (ca / "est.toml").write_text("")
    with serving(ca, "--workers", "3") as server:
        ids = [refused(server, "another") for _ in range(3)]
        (ca / "audit.jsonl").rename(ca / "audit.jsonl.1")
        ids += [refused(server, "another") for _ in range(3)]
        with closing(server.connect()) as connection:
            connection.enroll(USER)
        issued = [json.loads(line) for line in (ca / "audit.jsonl").read_text().splitlines()]
        assert "issued" in [entry["event"] for entry in issued]
        assert server.stop() == 0
    done = why(ca, "--last", "100", "--json")
    assert sorted(entry["refusal"] for entry in json.loads(done.stdout)) == sorted(ids)
    for refusal in ids:
        assert why(ca, refusal).stdout.startswith(f"{refusal}: ")


def test_a_certificate_that_a_client_has_is_in_the_file_though_the_server_was_killed(
    ca: Path,
) -> None:
    with serving(ca) as server:
        with closing(server.connect()) as connection:
            certificate = connection.enroll(USER)
        server.signal(signal.SIGKILL)
        server.process.wait(20)
    (entry,) = map(json.loads, (ca / "audit.jsonl").read_text().splitlines())
    assert entry["issued"]["serial"].lstrip("0") == f"{certificate.serial_number:X}"


def test_without_an_audit_file_where_it_is_required_the_server_does_not_start(ca: Path) -> None:
    (ca / "est.toml").write_text('[audit]\nfile = "nowhere/audit.jsonl"\nrequired = true\n')
    with pytest.raises(AssertionError, match=r"\[audit\] file: .*No such file"), serving(ca):
        pass


def test_a_reload_does_not_change_the_audit_file(ca: Path) -> None:
    with serving(ca) as server:
        (ca / "est.toml").write_text("[audit]\nenabled = false\n")
        server.signal(signal.SIGHUP)
        server.wait_for(r"\[audit\]: needs a restart to change")


# Without a server


def written(directory: Path, *entries: Entry) -> Path:
    (directory / "est.toml").write_text("")
    usual: Entry = {"v": 1, "time": AT, "event": "refused", "peer": "192.0.2.1:5000", "status": 403}
    lines = b"".join(line_of({**usual, **entry}) for entry in entries)
    (directory / "audit.jsonl").write_bytes(lines)
    return directory


def test_what_an_application_refuses_by_a_code_of_its_own_is_told_as_that(tmp_path: Path) -> None:
    done = why(written(tmp_path, {"code": "plant/on-strike", "note": "since\x1b[2J May"}))
    assert "  note:      since?[2J May\n" in done.stdout
    assert "  cause:     no code of this table: the application" in done.stdout
    assert "remedy" not in done.stdout


def test_over_coap_the_number_is_as_coap_has_it(tmp_path: Path) -> None:
    directory = written(
        tmp_path,
        {
            "code": "auth/certificate-not-accepted", "wire": "coaps", "operation": "simpleenroll",
            "label": "web", "reason": "no",
            "shown": {"subject": "CN=x", "serial": "0A", "failure": "expired"},
            "requested": {"names": ["DNS:a", "DNS:b"], "names_more": 3},
        },
    )  # fmt: skip
    done = why(directory)
    assert "  answer:    4.03 auth/certificate-not-accepted: no\n" in done.stdout
    assert "  showed:    CN=x (serial 0A): expired\n" in done.stdout
    assert "  asked for: simpleenroll under label web, over coaps\n" in done.stdout
    assert "  names:     an empty subject, DNS:a, DNS:b and 3 more\n" in done.stdout
    assert "  client:    nobody known, from 192.0.2.1:5000\n" in done.stdout


@pytest.mark.parametrize(
    "code, cause",
    [
        ({"code": "auth/certificate-revoked"}, "the client certificate was revoked"),
        ({"code": "auth/certificate-not-accepted"}, "the client certificate shown is not verified"),
        ({}, "credentials are needed and none came"),
    ],
)
def test_a_certificate_is_explained_though_a_password_was_asked_for(
    tmp_path: Path, code: dict[str, str], cause: str
) -> None:
    shown = {"subject": "CN=x", "serial": "0A", **code}
    entry: Entry = {"code": "auth/missing", "status": 401, "shown": shown}
    done = why(written(tmp_path, entry))
    assert f"  cause:     {cause}" in done.stdout
    assert "  answer:    401 auth/missing\n" in done.stdout


def test_what_an_operator_may_have_left_out_is_said(tmp_path: Path) -> None:
    done = why(written(tmp_path, {"code": "path/not-offered"}))
    assert (
        "  here:      a label that was added to est.toml is there from a reload on\n" in done.stdout
    )


@pytest.mark.parametrize(
    "entry, command",
    [
        ({"code": "names/none"}, "est device list {}"),
        ({"code": "auth/code-spent"}, "est otp list {}"),
        ({"code": "profile/key"}, "less {}/est.toml"),
        (
            {
                "code": "auth/certificate-revoked",
                "certificate": {"subject": "CN=x", "serial": "0A"},
            },
            "est certs show {} 0A",
        ),
        (
            {"code": "renewal/revoked", "certificate": {"subject": "CN=x", "serial": "; reboot"}},
            "est certs show {} '; reboot'",
        ),
    ],
)
def test_what_to_run_next_is_said(tmp_path: Path, entry: dict[str, Any], command: str) -> None:
    done = why(written(tmp_path, entry))
    assert f"  next:      {command.format(tmp_path)}\n" in done.stdout


def test_a_manufacturers_device_is_named_and_found_by_the_pair(tmp_path: Path) -> None:
    entry: Entry = {"code": "names/none", "maker": "acme/4711", "certificate": {"subject": "CN=x"}}
    told = "manufacturer's device acme/4711 and certificate CN=x, from 192.0.2.1:5000"
    assert f"  client:    {told}\n" in why(written(tmp_path, entry)).stdout
    assert of_device("acme/4711", ()).fits(entry)
    assert not of_device("globex/4711", ()).fits(entry)


def test_a_registered_device_of_a_manufacturer_is_found_by_its_id(ca: Path) -> None:
    device = ManufacturerIdentity(manufacturer="acme", value="4711")
    store = SqliteStore(ca / "est.db")
    store.add_devices(
        [DeviceRecord(id="gate-7", created_at=datetime.now(UTC), manufacturer=device)]
    )
    store.close()
    entries = ({"code": "names/none", "maker": f"{maker}/4711"} for maker in ("acme", "globex"))
    done = why(written(ca, *entries), "--device", "gate-7")
    assert done.stdout.count("manufacturer's device acme/4711") == done.stdout.count("answer:") == 1


def test_a_device_is_found_by_its_names_wherever_they_stand(tmp_path: Path) -> None:
    search = of_device("gauge-7", ("gauge-7.plant.example", "a,b"))
    for entry in (
        {"user": "Gauge-7"},
        {"tried": "gauge-7"},
        {"maker": "acme/gauge-7"},
        {"certificate": {"subject": "O=x+CN=gauge-7"}},
        {"shown": {"subject": r"CN=a\,b"}},
        {"requested": {"subject": "", "names": ["DNS:Gauge-7.plant.example"]}},
    ):
        assert search.fits(entry), entry
    for other in ({"user": "gauge-70"}, {"requested": {"subject": "CN=a"}}, {}):
        assert not search.fits(other), other
    assert search.needles == ()  # one is escaped in a subject
    assert of_device("gauge-7", ()).needles == ("gauge-7",)


@pytest.mark.parametrize(
    "peer, address, fits",
    [
        ("192.0.2.1:5000", "192.0.2.1", True),
        ("192.0.2.1:5000", "192.0.2.1:5000", True),
        ("192.0.2.1:5000", "192.0.2.1:5001", False),
        ("192.0.2.10:5000", "192.0.2.1", False),
        ("[2001:db8::1]:5000", "2001:DB8:0::1", True),
        ("[2001:db8::1]:5000", "[2001:db8::1]:5000", True),
        ("[2001:db8::1]:5000", "[2001:db8::2]:5000", False),
        ("", "192.0.2.1", False),
    ],
)
def test_an_address_is_compared_as_one(peer: str, address: str, fits: bool) -> None:
    assert of_peer(address).fits({"peer": peer}) is fits


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (("7K3M9QX2T",), 2, "no id of a refusal"),
        (("7K3M9QX2TD", "--user", "x"), 2, "not both"),
        (("--serial", "xyz"), 2, "no serial number"),
        (("--peer", "host.example"), 2, "no address"),
        (("7K3M9QX2TD",), 5, "no refusal of the id 7K3M9QX2TD in audit.jsonl"),
        (("--user", "x"), 5, "no refusal of user x"),
    ],
)
def test_what_cannot_be_explained_is_an_error(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = why(written(tmp_path, {"code": "names/none"}), *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_without_a_file_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "est.toml").write_text("")
    done = why(tmp_path)
    assert done.exit_code == 5
    assert "audit.jsonl: does not exist" in done.stderr
    (tmp_path / "est.toml").write_text("[audit]\nenabled = false\n")
    assert "it is turned off" in why(tmp_path).stderr


def test_a_file_that_cannot_be_read_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, is_file = written(tmp_path, {"code": "names/none"}), Path.is_file

    def refusing(self: Path) -> bool:
        if self.name != "audit.jsonl":
            return is_file(self)
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refusing)
    done = why(directory)
    assert (done.exit_code, done.stdout) == (5, "")
    assert "audit.jsonl: Permission denied" in done.stderr
    assert "the user who runs the server" in done.stderr


def test_files_before_it_are_searched_and_counted(tmp_path: Path) -> None:
    directory = written(tmp_path, {"code": "names/none"})
    (directory / "audit.jsonl").rename(directory / "audit.jsonl.1")
    written(directory, {"code": "names/none"})
    done = why(directory, "7K3M9QX2TD")
    assert "in audit.jsonl and 1 before it" in done.stderr
    assert why(directory).stdout.count("names/none") == 2
