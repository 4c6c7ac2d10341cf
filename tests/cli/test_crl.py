"""`est crl`: a list of what is revoked, in the directory of the CA, in a file, or printed."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.trust import load_pem_certificates
from tests.cli.test_server_commands import error_of, est, made


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for the module, with one certificate that is on hold."""
    directory = made(tmp_path_factory.mktemp("crl") / "ca")
    with closing(SqliteStore(directory / "est.db")) as store:
        (record,) = store.list_certificates()
        store.revoke_certificate(record.serial, at=record.issued_at, reason="certificateHold")
    return directory


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_new_list_takes_the_place_of_the_last_one(ca: Path) -> None:
    first = json.loads(est("crl", ca, "--json").stdout)
    second = est("crl", ca)
    (file,) = (ca / "crl").iterdir()
    crl = x509.load_der_x509_crl(file.read_bytes())
    assert first["file"] == str(file)
    assert first["entries"] == len(crl) == 1
    assert number_of(crl) > first["number"]
    assert second.stdout.startswith(f"{file}: list {number_of(crl)}, 1 revoked, good until 20")


def test_a_list_is_written_where_one_says_in_either_form(ca: Path, tmp_path: Path) -> None:
    pem, der = tmp_path / "ca.pem.crl", tmp_path / "new" / "ca.crl"
    assert est("crl", ca, "--out", pem).exit_code == 0
    shown = json.loads(est("crl", ca, "--out", der, "--der", "--json").stdout)
    newer, older = (
        x509.load_der_x509_crl(der.read_bytes()), x509.load_pem_x509_crl(pem.read_bytes())
    )  # fmt: skip
    assert shown["file"] == str(der)
    assert shown["number"] == number_of(newer) > number_of(older)
    printed = est("crl", ca, "--out", "-")
    assert x509.load_pem_x509_crl(printed.stdout.encode()).issuer == newer.issuer
    raw = est("crl", ca, "--out", "-", "--der").stdout_bytes
    assert x509.load_der_x509_crl(raw).issuer == newer.issuer


def test_only_a_list_of_this_ca_is_replaced(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "list"
    out.write_text("somebody's notes")
    assert "is there already" in error_of(est("crl", ca, "--out", out))
    assert out.read_text() == "somebody's notes"
    other = made(tmp_path / "other")
    est("crl", other, "--out", out, "--force")
    assert "is there already" in error_of(est("crl", ca, "--out", out))
    assert est("crl", other, "--out", out).exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "x", "--pem", "--der"), "exclude each other"),
        (("--out", "-", "--json"), "exclude each other"),
        (("--der",), "go with --out"),
        (("--force",), "go with --out"),
    ],
)
def test_options_that_do_not_go_together(ca: Path, options: tuple[str, ...], words: str) -> None:
    done = est("crl", ca, *options)
    assert done.exit_code == 2
    assert words in done.stderr


def test_the_schedule_is_that_of_est_toml(tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    (ca / "est.toml").write_text(
        '[crl]\nvalidity_hours = 3\nevery_hours = 1\ndirectory = "lists"\n'
    )
    assert est("crl", ca).exit_code == 0
    (file,) = (ca / "lists").iterdir()
    crl = x509.load_der_x509_crl(file.read_bytes())
    assert crl.next_update_utc is not None
    assert (crl.next_update_utc - crl.last_update_utc).total_seconds() == 3 * 3600
    (ca / "est.toml").write_text("[crl]\nvalidity_hours = 24\n")
    assert "[crl] every_hours: a list is good for longer" in error_of(est("crl", ca))
    (ca / "est.toml").write_text('[crl]\ndirectory = "no/such"\n')
    assert "no/such" in error_of(est("crl", ca))
    (ca / "ca-key.pem").write_text("")
    assert "ca-key.pem" in error_of(est("crl", ca))


def test_each_key_of_the_ca_lists_what_it_issued(tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    (old, *_) = load_pem_certificates(ca / "server.pem")
    assert est("ca", "rollover", ca).exit_code == 0
    for link in load_pem_certificates(ca / "ca-links-2.pem"):
        line = error_of(est("certs", "revoke", ca, f"{link.serial_number:X}"), 1)
        assert "is a certificate of the CA itself" in line
    assert est("certs", "revoke", ca, f"{old.serial_number:X}").exit_code == 0
    first = json.loads(est("crl", ca, "--json").stdout)
    (former,) = first["former"]
    lists = [x509.load_der_x509_crl(Path(each["file"]).read_bytes()) for each in (first, former)]
    assert [[each.serial_number for each in crl] for crl in lists] == [[], [old.serial_number]]
    (root,) = load_pem_certificates(ca / "ca.pem")
    assert lists[1].is_signature_valid(root.public_key())  # type: ignore[arg-type]  # EC P-256
    for key in ("", "no key"):  # the old key is gone, or damaged
        (ca / "ca-key.pem").write_text(key)
        done = est("crl", ca)
        assert done.exit_code == 0
        assert len(done.stdout.splitlines()) == 1
        assert "ca-key.pem: " in done.stderr
        assert "no revocation list is made of what that key of the CA issued" in done.stderr
    new = (ca / "ca-key-2.pem").read_text()
    (ca / "ca-key.pem").write_text(new)
    assert "is not the key of" in est("crl", ca).stderr
