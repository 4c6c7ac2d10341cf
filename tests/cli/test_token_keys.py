"""`est enroll`, `reenroll` and `provision` with a key in a token, which is SoftHSM's."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import Deny, EnrollRequested
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.asn1.template import KeyTypeWanted
from est_transports.pki import TokenSigner, open_signer
from tests.cli.canned import CannedServer, canned_server
from tests.cli.test_client_commands import LOGIN, Terminal, certificate_in, one_error_line
from tests.conftest import PeerFinder
from tests.pki import pki
from tests.tokens import LABEL, PIN, SoftToken, soft_token

CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
P_384 = KeyTypeWanted(algorithm="1.2.840.10045.2.1", curve="1.3.132.0.34")


@pytest.fixture
def est(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    return Terminal(capsys, tmp_path)


@pytest.fixture
def token(tmp_path: Path, peer: PeerFinder, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    directory = tmp_path / "token"
    directory.mkdir()
    with soft_token(directory, peer, monkeypatch) as found:
        yield found


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with canned_server() as running:
        yield running


def spki_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_of(path: Path) -> TokenSigner:
    return open_signer(path.read_text().strip())


# enroll


def test_a_key_is_made_in_the_token_and_its_uri_is_where_the_key_would_be(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    code, out, err = est.enroll(server, "--make-key", token.uri(f"token={LABEL};object=dev-1"))
    assert code == 0, err
    uri = (est.out / "key.uri").read_text()
    assert uri.startswith(f"pkcs11:token={LABEL};object=dev-1;type=private;id=%")
    assert f"made a key: {uri}" in err
    assert "key.uri" in out
    assert PIN not in uri + out + err
    assert sorted(path.name for path in est.out.iterdir()) == [
        "cacerts.pem", "cert.pem", "chain.pem", "key.uri",
    ]  # fmt: skip
    signer = key_of(est.out / "key.uri")
    assert signer.public_key_spki == spki_of(certificate_in(est.out / "cert.pem"))


@pytest.mark.parametrize("as_file", [False, True])
def test_a_key_that_is_there_is_certified(
    as_file: bool, est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    token.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "old", "--id", "01")
    uri = token.uri("object=old")
    if as_file:
        (est.directory / "key.uri").write_text(f"{uri}\n")
        uri = str(est.directory / "key.uri")
    code, _, err = est.enroll(server, "--new-key", uri)
    assert code == 0, err
    assert not (est.out / "key.uri").exists()
    assert spki_of(certificate_in(est.out / "cert.pem")) == (
        open_signer(token.uri("object=old")).public_key_spki
    )


@pytest.mark.parametrize(("tls_max", "exporter"), [("1.2", False), ("1.3", True)])
def test_the_token_signs_what_links_the_request_to_the_connection(
    tls_max: str, exporter: bool, est: Terminal, token: SoftToken
) -> None:
    with canned_server(require_pop=True, tls_exporter=exporter) as server:
        options = ("--pop", "always", "--tls-max", tls_max, *["--tls-exporter"] * exporter)
        code, _, err = est.enroll(server, "--make-key", token.uri("object=a"), *options)
        assert code == 0, err
        (question,) = server.application.enrollments
    assert len(question.csr.challenge(CHALLENGE_PASSWORD)) == 1
    assert question.linked


def test_the_server_says_which_kind_of_key_is_made(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    server.application.csrattrs = CsrAttrs(items=(P_384.attribute(),))
    assert est.enroll(server, "--make-key", token.uri("object=a"))[0] == 0
    assert "P-384" in certificate_key_name(est)


def certificate_key_name(est: Terminal) -> str:
    from est_core import Limits
    from est_core.asn1.keys import public_key_facts

    return public_key_facts(spki_of(certificate_in(est.out / "cert.pem")), Limits()).name


def test_what_the_server_wants_and_a_token_does_not_make_is_refused(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    rsa_5120 = KeyTypeWanted(algorithm="1.2.840.113549.1.1.1", bits=5120)
    server.application.csrattrs = CsrAttrs(items=(rsa_5120.attribute(),))
    code, _, err = est.enroll(server, "--make-key", token.uri("object=a"))
    assert code == 5
    assert "[token/unsupported-key]" in err
    assert server.application.enrollments == []


def test_a_key_that_nobody_certified_is_removed_again(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    server.application.answers[EnrollRequested] = Deny(code="policy/no", reason="no")
    code, _, err = est.enroll(server, "--make-key", token.uri("object=a"))
    assert code == 1
    assert "removed the key again: pkcs11:" in err
    assert "Key" not in token.tool("--list-objects")
    assert not est.out.exists()


def test_a_pending_request_goes_on_with_the_key_in_the_token(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    make = ("--make-key", token.uri("object=a"))
    server.application.pend(60)
    assert est.enroll(server, *make)[0] == 3
    assert sorted(path.name for path in est.out.iterdir()) == [
        "key.uri.pending", "request.pem.pending",
    ]  # fmt: skip
    spki = key_of(est.out / "key.uri.pending").public_key_spki
    code, _, err = est.ask("enroll", server, *LOGIN, "--out", est.out)
    assert (code, one_error_line(err)) == (5, True)
    assert "give --make-key as before" in err
    code, _, err = est.ask("enroll", server, *make, *LOGIN, "--out", est.out)
    assert code == 0, err
    assert spki_of(certificate_in(est.out / "cert.pem")) == spki
    assert not list(est.out.glob("*.pending"))


def test_provision_has_a_key_made_in_a_token(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    code, _, err = est.ask(
        "provision", server, "--cn", "device-1", *LOGIN, "--out", est.out,
        "--make-key", token.uri("object=a"),
    )  # fmt: skip
    assert code == 0, err
    signer = key_of(est.out / "key.uri")
    assert signer.public_key_spki == spki_of(certificate_in(est.out / "cert.pem"))
    assert (est.out / "cacerts.pem").exists()


def test_a_key_file_is_in_the_way_of_a_uri(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    assert est.enroll(server)[0] == 0
    for name in ("cert.pem", "chain.pem"):
        (est.out / name).unlink()
    make = ("--make-key", token.uri("object=a"))
    code, _, err = est.enroll(server, *make)
    assert code == 5
    assert "key.pem is there already" in err
    code, _, err = est.enroll(server, *make, "--force")
    assert code == 0
    assert "key.pem is still there, and not the key of" in err


# reenroll


def test_a_pair_in_files_renews_into_the_token(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    identity = est.identity(pki().client)
    code, _, err = est.ask(
        "reenroll", server, *identity, "--out", est.out, "--make-key", token.uri("object=a")
    )
    assert code == 0, err
    signer = key_of(est.out / "key.uri")
    new = certificate_in(est.out / "cert.pem")
    assert signer.public_key_spki == spki_of(new)
    assert new.subject == pki().client.certificate.subject
    again = ("--new-key", est.out / "key.uri", "--out", est.out, "--force")
    assert est.ask("reenroll", server, *identity, *again)[0] == 0
    assert spki_of(certificate_in(est.out / "cert.pem")) == signer.public_key_spki


@pytest.mark.parametrize("command", ["enroll", "reenroll", "cacerts", "provision", "doctor"])
def test_tls_cannot_show_a_certificate_whose_key_is_in_a_token(
    command: str, est: Terminal, server: CannedServer
) -> None:
    certificate, _ = pki().client.write(est.directory, "identity")
    (est.directory / "key.uri").write_text("pkcs11:object=a\n")
    for key in ("pkcs11:object=a", est.directory / "key.uri"):
        code, _, err = est.ask(command, server, "--cert", certificate, "--key", key)
        assert code == 5
        assert "[token/no-client-auth]; give the key with --new-key" in err
        assert one_error_line(err)
    assert server.connections == 0, "it is said before anything is begun"


# What is refused before the server is spoken to


def test_a_pin_that_is_wrong_shows_before_the_server_is_spoken_to(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    token.pin.write_text("000000\n")
    code, _, err = est.enroll(server, "--make-key", token.uri("object=a"), "--json")
    assert code == 5
    error = json.loads(err)
    assert error["code"] == "token/pin-wrong"
    assert error["hint"].startswith("correct the PIN")
    assert server.connections == 0


def test_without_a_terminal_nobody_is_asked_for_a_pin(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    code, _, err = est.enroll(server, "--make-key", token.uri("object=a", pin=""))
    assert code == 5
    assert "[token/no-pin]" in err
    assert server.connections == 0


def test_the_pin_is_typed_on_a_terminal(
    est: Terminal, server: CannedServer, token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return PIN

    monkeypatch.setattr("est_transports.cli.client.token_keys.ask_password", ask)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert est.enroll(server, "--make-key", token.uri("object=a", pin=""))[0] == 0
    assert asked == [f"PIN of token {LABEL}"]


def test_the_pin_may_be_in_the_file_of_an_option(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    make = ("--make-key", token.uri("object=a", pin=""))
    assert est.enroll(server, *make, "--new-key-password-file", token.pin)[0] == 0


def test_a_pin_on_the_command_line_and_what_is_not_known_are_warned_of(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    uri = token.uri("object=a", pin=f"pin-value={PIN}&x-vendor=1")
    code, out, err = est.enroll(server, "--make-key", uri)
    assert code == 0
    assert "pin-value is seen by all" in err
    assert "not known here: x-vendor" in err
    assert PIN not in out + err + (est.out / "key.uri").read_text()


def test_without_the_extra_the_command_says_how_to_get_it(
    est: Terminal, server: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    module = est.directory / "libtoken.so"
    module.touch()
    uri = f"pkcs11:object=a?module-path={module}"
    for option in ("--make-key", "--new-key"):
        code, _, err = est.enroll(server, option, uri)
        assert code == 5
        assert "[token/missing-extra]; run pip install 'est-sansio[client,pkcs11]'" in err
    assert server.connections == 0


@pytest.mark.parametrize(
    "options, says",
    [
        (("--make-key", "pkcs11:token"), "[token/bad-uri]"),
        (("--make-key", "key.pem"), "does not begin with pkcs11:"),
        (("--new-key", "pkcs11:a=b"), "a, which is no attribute"),
        (("--make-key", "pkcs11:", "--new-key", "pkcs11:"), "--make-key goes without --new-key"),
        (("--new-key", "pkcs11:", "--key-type", "rsa:2048"), "for keys that are made here"),
        (("--make-key", "pkcs11:object=a", "--key-type", "ed448"), "are not made in tokens"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    options: tuple[str, ...], says: str, est: Terminal, server: CannedServer
) -> None:
    code, _, err = est.enroll(server, *options)
    assert code == 2
    assert says in err
    assert server.connections == 0


@pytest.mark.parametrize(
    "options, says",
    [
        (("--make-key", "pkcs11:object=a", "--rekey"), "--rekey goes without"),
        (("--key-type", "ec:P-256"), "--key-type goes with --rekey or --make-key"),
    ],
)
def test_options_of_a_renewal_that_cannot_be_meant_are_refused(
    options: tuple[str, ...], says: str, est: Terminal, server: CannedServer
) -> None:
    code, _, err = est.ask("reenroll", server, *est.identity(pki().client), *options)
    assert (code, says in err) == (2, True)
    csr = ("--csr", "x.csr", "--make-key", "pkcs11:object=a")
    assert "--make-key goes without --csr" in est.ask("enroll", server, *csr)[2]


def test_a_linking_that_a_server_lists_is_signed_by_the_token(
    est: Terminal, server: CannedServer, token: SoftToken
) -> None:
    server.application.csrattrs = CsrAttrs(items=(ObjectId(oid=CHALLENGE_PASSWORD),))
    assert est.enroll(server, "--make-key", token.uri("object=a"), "--tls-max", "1.2")[0] == 0
    (question,) = server.application.enrollments
    assert question.csr.challenge(CHALLENGE_PASSWORD)
