"""`est backup` and `est restore`: while a server issues, on another machine, and what they say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
)

from est_transports import _clock
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli import group
from est_transports.pki.serials import printed_serial
from est_transports.service.initialisation import CaSpec, initialise
from tests.cli.serve_process import PASSWORD, USER, ServeProcess, request, serving
from tests.docs.toml_edit import edited
from tests.pki import new_key
from tests.transports.backup_site import forged, packed

LOGIN = f"{USER}:{PASSWORD}"


def est(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(group, [str(each) for each in arguments], input=stdin)


def made(directory: Path) -> Path:
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    config = directory / "est.toml"
    text = '[auth]\nnames = "any"\n[server]\nworkers = 2\n'
    config.write_text(edited(config.read_text("utf-8"), text), "utf-8")
    assert est("user", "add", directory, USER, "--password-stdin", stdin=PASSWORD).exit_code == 0
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """One server, of two processes."""
    with serving(made(tmp_path_factory.mktemp("backup") / "ca")) as process:
        yield process


class Clients:
    """Clients that enroll one name after the other until they are told to stop."""

    def __init__(self, server: ServeProcess, count: int) -> None:
        self.answered: list[int] = []
        self._server = server
        self._is_over = threading.Event()
        self._some = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._enroll) for _ in range(count)]
        for each in self._threads:
            each.start()

    def _enroll(self) -> None:
        connection = self._server.connect()
        while not self._is_over.is_set():
            self.answered.append(connection.enroll("busy", LOGIN).serial_number)
            self._some.release()
        connection.close()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._some.acquire(timeout=20)

    def stop(self) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join()


def recorded(directory: Path) -> set[int]:
    store = SqliteStore(directory / "est.db")
    try:
        return {int(each.serial, 16) for each in store.list_certificates(limit=10_000)}
    finally:
        store.close()


def test_a_backup_while_certificates_are_issued_has_all_that_were_answered(
    server: ServeProcess, tmp_path: Path
) -> None:
    clients = Clients(server, 2)
    try:
        clients.wait_for(4)
        before = set(clients.answered)
        done = est("backup", server.directory, tmp_path / "a.backup", "--with-keys", "--json")
        clients.wait_for(2)
    finally:
        clients.stop()
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert est("restore", tmp_path / "a.backup", tmp_path / "new").exit_code == 0
    found = recorded(tmp_path / "new")
    assert before <= found <= recorded(server.directory)
    assert said["certificates"] == len(found)
    # What was told to the audit file by then is on record.
    told = {
        int(json.loads(line)["issued"]["serial"], 16)
        for line in packed(tmp_path / "a.backup")["audit.jsonl"].splitlines()
    }
    assert told <= found


def test_it_moves_to_another_place_where_it_serves_and_renews(
    server: ServeProcess, tmp_path: Path
) -> None:
    key = new_key()
    certificate = enrolled(server, "moved", key)
    assert est("backup", server.directory, tmp_path / "a", "--with-keys").exit_code == 0
    lost_key = new_key()
    lost = enrolled(server, "too late", lost_key)
    place = tmp_path / "elsewhere" / "other name"
    refused = est("restore", tmp_path / "a", server.directory, "--force")
    assert refused.exit_code == 5
    assert "[backup/in-use]; end it first" in refused.stderr
    audit = server.directory / "audit.jsonl"
    done = est("restore", tmp_path / "a", place, "--audit", audit, "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["put_back"] == []
    assert [each["serial"] for each in said["not_on_record"]] == [
        printed_serial(lost.serial_number)
    ]
    config = place / "est.toml"
    text = "[profiles.client]\nadopt_unknown = true\n"
    config.write_text(edited(config.read_text("utf-8"), text), "utf-8")
    with serving(place) as other:
        for name, old, its_key in (("moved", certificate, key), ("too late", lost, lost_key)):
            connection = other.connect(identity(tmp_path / "identity.pem", old, its_key))
            status, der = connection.ask("simplereenroll", request(name, its_key))
            connection.close()
            assert status == 200, der
            (renewed,) = pkcs7.load_der_pkcs7_certificates(der)
            assert renewed.public_key() == old.public_key()
    assert {certificate.serial_number, lost.serial_number} <= recorded(place)


def enrolled(server: ServeProcess, name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    connection = server.connect()
    status, der = connection.ask("simpleenroll", request(name, key), LOGIN)
    connection.close()
    assert status == 200
    (certificate,) = pkcs7.load_der_pkcs7_certificates(der)
    return certificate


def identity(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


def test_people_are_told_what_is_not_in_it_and_what_to_do(tmp_path: Path) -> None:
    ca, file = made(tmp_path / "ca"), tmp_path / "a.backup"
    (ca / "letter").touch()
    (tmp_path / "root.pem").write_bytes((ca / "ca.pem").read_bytes())
    config = ca / "est.toml"
    text = '[tls]\nclient_trust = ["../root.pem"]\n[audit]\nfile = "../audit.jsonl"\n'
    config.write_text(edited(config.read_text("utf-8"), text), "utf-8")
    done = est("backup", ca, file)
    assert done.exit_code == 0, done.stderr
    assert "1 certificate, the last of" in done.stdout
    assert "without private keys" in done.stdout
    assert "not taken: ca-key.pem ([ca] key) is secret" in done.stderr
    assert f"not taken: {tmp_path / 'root.pem'} ([tls] client_trust) is not below" in done.stderr
    assert "nothing in est.toml names it: letter" in done.stderr
    again = est("backup", ca, file)
    assert (again.exit_code, again.stderr.count("\n")) == (5, 1)
    assert "use --force" in again.stderr
    with_keys = est("backup", ca, file, "--force", "--with-keys")
    assert "holds the CA's private key" in with_keys.stderr
    (tmp_path / "audit.jsonl").write_text(
        "".join(
            json.dumps({"event": "issued", "time": "T", "issued": {"serial": f"{n:x}AA"}}) + "\n"
            for n in range(1, 23)
        )
    )
    est("backup", ca, file, "--force")
    (tmp_path / "root.pem").unlink()
    restored = est("restore", file, ca, "--force")
    assert restored.exit_code == 0, restored.stderr
    for words in (
        f"What was there is now in {tmp_path / 'ca.old-1'}",
        f"Put back {ca / 'ca-key.pem'} ([ca] key)",
        f"Put back {tmp_path / 'root.pem'} ([tls] client_trust)",
        "not on record",
        "and 2 more",
        f"est serve {ca}",
    ):
        assert words in restored.stdout, words


def test_what_cannot_be_done_is_told_in_one_line(tmp_path: Path) -> None:
    ca, file = made(tmp_path / "ca"), tmp_path / "a.backup"
    assert est("backup", tmp_path, file).exit_code == 5
    config = ca / "est.toml"
    text = config.read_text("utf-8")
    config.write_text(edited(text, '[ca]\nstore = "../other/est.db"\n'), "utf-8")
    (tmp_path / "other").mkdir()
    (ca / "est.db").rename(tmp_path / "other" / "est.db")
    assert est("backup", ca, file).exit_code == 0
    outside = est("restore", file, tmp_path / "b")
    assert "move it there, or correct [ca] store" in outside.stdout
    config.write_text(text.replace("[ca]", "[cq]"), "utf-8")
    assert est("backup", ca, tmp_path / "b.backup").exit_code == 5
    (tmp_path / "junk").write_bytes(b"junk")
    for arguments in (("junk", "new"), ("missing", "new"), ("a.backup", "b")):
        done = est("restore", *(tmp_path / each for each in arguments))
        assert (done.exit_code, done.stderr.count("\n")) == (5, 1), done.output
    assert est("restore", file, Path("/"), "--force").exit_code == 2


def test_what_was_restored_and_is_of_no_use_is_told(tmp_path: Path) -> None:
    ca, file = made(tmp_path / "ca"), tmp_path / "a.backup"
    assert est("backup", ca, file).exit_code == 0
    members = packed(file)
    text = members["est.toml"].replace(b"[server]", b"[sever]", 1)
    forged(file, members | {"est.toml": text}, lambda _listed: None)
    (tmp_path / "audit.jsonl").mkdir()
    done = est("restore", file, tmp_path / "b", "--audit", tmp_path / "audit.jsonl.gz")
    assert done.exit_code == 0, done.output
    assert "est: warning: " in done.stderr
    assert "correct it before est serve" in done.stderr


def test_what_was_revoked_since_is_revoked_again(tmp_path: Path) -> None:
    ca, file = made(tmp_path / "ca"), tmp_path / "a.backup"
    assert est("backup", ca, file, "--with-keys").exit_code == 0
    assert est("init", ca, "--renew-server").exit_code == 0  # which revokes nothing by itself
    with closing(SqliteStore(ca / "est.db")) as store:
        first, second = (each.serial for each in store.list_certificates())
        for serial in (first, second):
            store.revoke_certificate(serial, at=_clock.instant().wall, reason="superseded")
    assert est("crl", ca).exit_code == 0
    (ca / "crl" / "junk.crl").write_bytes(b"junk")
    done = est("restore", file, ca, "--force")
    assert done.exit_code == 0, done.stderr
    assert f"Revoked again, as the revocation lists of this CA say:\n  {printed(first)}" in (
        done.stdout
    )
    assert f"since they are not on record:\n  {printed(second)}" in done.stdout
    assert "junk.crl" in done.stderr
    with closing(SqliteStore(ca / "est.db")) as store:
        record = store.find_certificate(first)
        assert record is not None
        assert record.revocation_reason == "superseded"
    # On another machine, with a list that was fetched from where it is published.
    (newest,) = (tmp_path / "ca.old-1" / "crl").glob("[0-9a-f]*.crl")
    again = est("restore", file, tmp_path / "new", "--crl", newest, "--json")
    said = json.loads(again.stdout)
    assert said["newer_lists"] in (0, 1)  # the backup may be of the same second
    assert said["revoked_again"] == [printed(first)]
    assert said["revoked_not_on_record"] == [printed(second)]
    other = made(tmp_path / "other")
    assert est("crl", other).exit_code == 0
    (foreign,) = (other / "crl").glob("*.crl")
    third = est("restore", file, tmp_path / "third", "--crl", foreign)
    assert "none of this CA" in third.stderr
    assert "No newer revocation list was found" in third.stdout
    assert est("restore", file, tmp_path / "x", "--crl", tmp_path / "missing").exit_code == 5
    assert not (tmp_path / "x").exists()


def test_a_ca_certificate_that_is_elsewhere_is_to_be_put_back(tmp_path: Path) -> None:
    ca, file = made(tmp_path / "ca"), tmp_path / "a.backup"
    (ca / "ca.pem").rename(tmp_path / "root.pem")
    config = ca / "est.toml"
    text = '[ca]\ncertificate = "../root.pem"\n'
    config.write_text(edited(config.read_text("utf-8"), text), "utf-8")
    assert est("backup", ca, file).exit_code == 0
    (tmp_path / "root.pem").unlink()
    done = est("restore", file, tmp_path / "new")
    assert done.exit_code == 0, done.stderr
    assert f"Put back {tmp_path / 'root.pem'} ([ca] certificate)" in done.stdout
    assert "is not revoked here" in done.stderr


def printed(serial: str) -> str:
    return printed_serial(int(serial, 16))
