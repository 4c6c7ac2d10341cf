"""`est srp` and `--srp-user`: users are made, and enroll with a password and nothing else."""

from __future__ import annotations

import io
import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from est_transports import _clock
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.channel import server_context
from est_transports.channel.tls import ServerContext
from est_transports.cli import main
from est_transports.pki.srp_verifiers import srp_verifier
from est_transports.service import load_config, load_service
from tests.application import FakeApplication
from tests.cli.test_server_commands import ca, error_of, est
from tests.transports.https_site import tls_context
from tests.transports.sockets_site import running
from tests.transports.srp_pair import PASSWORD, taking

__all__ = ["ca"]


def added(ca: Path, name: str = "device-7", *options: str) -> None:
    done = est("srp", "add", ca, name, "--password-stdin", *options, stdin=PASSWORD + "\n")
    assert done.exit_code == 0, done.stderr
    assert f"user {name} of TLS-SRP added\n" in done.stderr


def test_users_are_added_listed_and_removed(ca: Path) -> None:
    added(ca, "device-8", "--bits", "3072")
    added(ca)
    assert est("srp", "list", ca).stdout == "device-7\t2048\ndevice-8\t3072\n"
    shown = json.loads(est("srp", "list", ca, "--json").stdout)
    assert shown[0] == {"name": "device-7", "bits": 2048}
    assert est("srp", "remove", ca, "device-8").exit_code == 0
    assert "there is no user device-8 of TLS-SRP; est srp list" in error_of(
        est("srp", "remove", ca, "device-8")
    )
    assert est("srp", "list", ca).stdout == "device-7\t2048\n"


def test_a_verifier_is_kept_and_not_the_password(ca: Path) -> None:
    added(ca)
    with closing(SqliteStore(ca / "est.db")) as store:
        record = store.find_srp_user("device-7")
    assert record is not None
    assert record.verifier == srp_verifier("device-7", PASSWORD, salt=record.salt)
    assert PASSWORD.encode() not in (ca / "est.db").read_bytes()


def test_a_salt_of_zeros_is_hashed_alike_by_every_client(
    ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_clock, "entropy", bytes)
        added(ca)
    with closing(SqliteStore(ca / "est.db")) as store:
        record = store.find_srp_user("device-7")
    assert record is not None
    assert record.salt == b"\x01" + bytes(15)


def test_a_name_is_taken_once_unless_it_is_forced(ca: Path) -> None:
    added(ca)
    again = est("srp", "add", ca, "device-7", "--password-stdin", stdin="other\n")
    assert "give a new password with --force" in error_of(again)
    added(ca, "device-7", "--force")


def test_a_group_that_the_server_would_not_take_is_refused(ca: Path) -> None:
    done = est("srp", "add", ca, "x", "--bits", "1536", "--password-stdin", stdin="x\n")
    assert "takes no group under 2048 bits" in error_of(done, 2)
    config = (ca / "est.toml").read_text().replace("#bits = 2048 ", "bits = 1536 ")
    (ca / "est.toml").write_text(config)
    added(ca)
    assert est("srp", "list", ca).stdout == "device-7\t1536\n"


def test_who_adds_a_user_hears_that_the_server_does_not_take_any(ca: Path) -> None:
    done = est("srp", "add", ca, "x", "--password-stdin", stdin="x\n")
    assert "est.toml does not turn TLS-SRP on: see [srp]" in done.stderr
    config = (ca / "est.toml").read_text().replace("#enabled = false", "enabled = true")
    (ca / "est.toml").write_text(config)
    assert "turn" not in est("srp", "add", ca, "y", "--password-stdin", stdin="x\n").stderr


def test_the_users_of_a_directory_are_those_of_its_server(ca: Path) -> None:
    added(ca)
    config = load_config(ca / "est.toml")
    with closing(SqliteStore(ca / "est.db")) as store:
        assert load_service(config, store=store).context.config.srp is None
        enabled = replace(config, srp=replace(config.srp, enabled=True))
        loaded = load_service(enabled, store=store).context.config.srp
        again = load_service(enabled, store=store).context.config.srp
        assert loaded is not None
        found = loaded.find("device-7")
        assert loaded.find("nobody") is None
    assert found is not None
    assert (found.bits, loaded.bits) == (2048, 2048)
    assert again is not None
    assert loaded.secret == again.secret, "unknown names keep their salts"
    assert (ca / "auth-secret.key").exists()


def enroll(
    tmp_path: Path, context: ServerContext, password: str, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Return the exit code of `est enroll` by TLS-SRP."""
    stdin = io.TextIOWrapper(io.BytesIO(password.encode() + b"\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    with running(FakeApplication(), context_source=lambda: context) as site:
        login = ("--srp-user", "device-7", "--password-stdin", "--cn", "device-7")
        return main(["enroll", str(site.uri), *login, "--out", str(tmp_path / "out")])


@pytest.mark.req("EST-080")
def test_a_device_enrolls_with_a_password_and_no_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert enroll(tmp_path, taking(), PASSWORD, monkeypatch) == 0
    assert (tmp_path / "out" / "cert.pem").exists()


def test_a_wrong_password_and_a_server_without_tls_srp_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enroll(tmp_path, taking(), "wrong", monkeypatch) != 0
    said = capsys.readouterr().err
    assert "[tls/srp-refused]" in said
    assert "ask the operator of the server" in said
    assert "est srp" not in said  # the operator's command
    assert enroll(tmp_path, server_context(tls_context().config), PASSWORD, monkeypatch) != 0
    assert "[tls/no-shared-cipher]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--srp-user", "x", "--fingerprint", "00" * 32), "goes without"),
        (("--srp-user", "x", "--user", "y", "--password-stdin"), "--password-stdin goes with"),
        (("--srp-user", ""), "1 to 255 bytes"),
        (("--srp-user", "x" * 256), "1 to 255 bytes"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: tuple[str, ...], said: str) -> None:
    if "--password-stdin" not in options and "--fingerprint" not in options:
        options = (*options, "--password-stdin")
    done = est("cacerts", "https://localhost", *options, stdin="x\n")
    assert said in error_of(done, 2)


def test_there_is_no_tls_srp_over_coap() -> None:
    done = est("cacerts", "coaps://localhost", "--srp-user", "x", "--password-stdin", stdin="x\n")
    assert "there are no passwords over CoAP" in error_of(done, 2)
