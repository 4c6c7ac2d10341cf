"""What an agent needs before it can ask: files, trust, credentials, a request that can be sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from est_core import (
    SIMPLEREENROLL,
    AuthenticateRequested,
    Authentication,
    CACertsRequested,
    CodeSource,
    Fail,
    PopMode,
    ProvideCACerts,
    ProvideRenewalInfo,
    ReenrollRequested,
    RenewalInfoRequested,
    TrustClass,
)
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.template import KeyTypeWanted
from est_core.life_cycle import RenewalWindow, WhenExpired
from est_transports.agent.settings import Credentials, HookSettings
from est_transports.pairs import KeyReference, PairDirectory
from tests.application import PASSWORD, USER, certificate_for
from tests.core.cast import csr_der
from tests.core.trust.cast import Ca, link, root
from tests.pki import pki
from tests.transports.agent.world import BEGIN, NAME, Cut, Killed, World


def test_a_fingerprint_is_enough_to_begin_with_and_the_root_is_kept(tmp_path: Path) -> None:
    root = pki().ca.certificate
    text = root.fingerprint(hashes.SHA256()).hex(":")
    world = World(tmp_path, options={"trust_file": None, "fingerprint": text})
    world.trust_class = TrustClass.NONE
    world.work()
    assert world.asked[:2] == ["cacerts", "csrattrs"]
    trust = (tmp_path / NAME / "current" / "trust.pem").read_bytes()
    assert trust == root.public_bytes(Encoding.PEM)


def test_another_fingerprint_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    world = World(tmp_path, options={"trust_file": None, "fingerprint": "ab" * 32})
    world.trust_class = TrustClass.NONE
    outcome = world.work()
    assert (outcome.code, world.asked) == ("trust/refused", ["cacerts"])
    assert not world.has_candidate()


@pytest.mark.parametrize(
    ("given", "files", "words"),
    [
        (Credentials(user="a", password_file=Path("none")), {}, "No such file"),
        (Credentials(token_file=Path("token")), {"token": b"one\ntwo\n"}, "holds one line"),
        (Credentials(token_file=Path("token")), {"token": b""}, "holds one line"),
        (Credentials(token_file=Path("token")), {"token": b"\xff"}, "is not UTF-8"),
        (Credentials(code_file=Path("code")), {"code": b"a\x01b"}, "without control characters"),
        (Credentials(certificate_file=Path("c"), key_file=Path("k")), {"c": b"x"}, "c: "),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_never_quoted(
    tmp_path: Path, given: Credentials, files: dict[str, bytes], words: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    placed = Credentials(
        user=given.user,
        **{
            name: tmp_path / path
            for name in ("password_file", "token_file", "code_file", "certificate_file", "key_file")
            if (path := getattr(given, name)) is not None
        },
    )
    world = World(tmp_path, options={"credentials": placed})
    outcome = world.work()
    assert outcome.code == "agent/file"
    assert words in outcome.message
    assert "two" not in outcome.message


def test_a_trust_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, options={"trust_file": tmp_path / "none.pem"})
    outcome = world.work()
    assert outcome.code == "agent/file"
    assert "none.pem" in outcome.message
    (tmp_path / "none.pem").write_text("nothing")
    assert world.work(force=True).code == "agent/file"


def test_a_code_goes_into_the_request_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("4711\n")
    manufacturer = pki().manufacturer_client.write(tmp_path, "idevid")
    given = Credentials(
        code_file=tmp_path / "code",
        code_in=CodeSource.OTP_CHALLENGE,
        certificate_file=manufacturer[0],
        key_file=manufacturer[1],
    )
    world = World(tmp_path, options={"credentials": given})
    assert world.work().renewed
    assert "1.2.840.113549.1.9.16.2.56" in {
        each.type for each in world.application.enrollments[0].csr.attributes
    }


def test_a_code_that_cannot_be_sent_so_is_told(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("4711\n")
    given = Credentials(code_file=tmp_path / "code", code_in=CodeSource.CHALLENGE_PASSWORD)
    world = World(tmp_path, options={"credentials": given, "pop": PopMode.ALWAYS})
    outcome = world.work()
    assert outcome.code == "agent/request"
    assert not world.has_candidate()


def test_a_wrong_password_is_tried_once_in_a_pass(tmp_path: Path) -> None:
    password = tmp_path / "wrong"
    password.write_text("guess")
    given = Credentials(user=USER, password_file=password)
    world = World(tmp_path, options={"credentials": given})
    outcome = world.work()
    assert outcome.code.startswith("auth/")
    assert "guess" not in outcome.message
    asked = [each for each in world.application.asked if isinstance(each, AuthenticateRequested)]
    assert len(asked) == 1, "more of them would lock an account"
    password.write_text(PASSWORD)
    assert world.work(force=True).renewed


def test_a_server_that_wants_both_at_a_renewal_gets_a_login_by_option(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work()
    both = Authentication.CERT_AND_HTTP
    world.server.policy = replace(
        world.server.policy,
        rows=tuple(
            replace(row, authentication=both) if row.operation is SIMPLEREENROLL else row
            for row in world.server.policy.rows
        ),
    )
    outcome = world.work(force=True)
    assert outcome.code.startswith("auth/")
    assert world.has_candidate(), "nobody has judged the request"
    world.settings = replace(world.settings, login_when_renewing=True)
    assert world.work(force=True).renewed
    (tmp_path / "password").unlink()
    assert world.work(force=True).code == "agent/file"


def test_a_candidate_for_another_certificate_is_given_up_and_another_one_made(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.work()
    with PairDirectory.open(tmp_path / NAME) as pairs:
        key = pairs.running
        assert key is not None
        running = key.key_file.read_bytes()
        pairs.begin(running, csr_der(key.key, name="other"))  # type: ignore[arg-type]  # P-256
    assert world.work(force=True).renewed
    assert isinstance(world.application.enrollments[-1], ReenrollRequested)


def test_a_key_that_is_elsewhere_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work()
    before = world.look()
    with PairDirectory.open(tmp_path / NAME) as pairs:
        pairs.begin(KeyReference(uri="tpm:gate"), csr_der())
    assert world.work(force=True).code == "agent/key-elsewhere"
    assert world.look() == before


# CSR attributes


def test_the_server_says_which_kind_of_key_it_wants(tmp_path: Path) -> None:
    wanted = KeyTypeWanted(algorithm="1.2.840.10045.2.1", curve="1.3.132.0.34")
    world = World(tmp_path)
    world.application.csrattrs = CsrAttrs(items=(wanted.attribute(),))
    assert world.work().renewed
    assert world.application.enrollments[0].csr.key.name == "EC P-384"


def test_a_kind_of_key_that_is_not_made_here_is_told(tmp_path: Path) -> None:
    wanted = KeyTypeWanted(algorithm="1.2.840.113549.1.1.1", bits=1024)
    world = World(tmp_path)
    world.application.csrattrs = CsrAttrs(items=(wanted.attribute(),))
    assert world.work().code == "csrattrs/unmet"
    assert not world.has_candidate()


# What the network does on the way


def test_what_may_have_been_issued_is_asked_for_with_the_same_key_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(Killed):
        world.work(_cut_after_the_answer(tmp_path))
    assert world.has_candidate()
    assert world.work(force=True).renewed
    first, second = (each.csr.spki for each in world.application.enrollments)
    assert first == second


def _cut_after_the_answer(tmp_path: Path) -> Cut:
    counted = tmp_path / "counted"
    counted.mkdir()
    cut = Cut()
    World(counted).work(cut)
    return Cut(max(at for at, each in enumerate(cut.passed, 1) if each == "after asking"))


def test_a_server_without_ca_certificates_to_give_is_no_reason_not_to_enroll(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.application.answers[CACertsRequested] = Fail(code="app/no")
    assert world.work().renewed


# Trust


def test_a_root_that_is_new_is_told_and_not_trusted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = replace(World(tmp_path).policy, trust_s=3600.0, when_expired=WhenExpired.RENEW)
    world = World(tmp_path, policy=policy)
    world.work()
    before = (tmp_path / NAME / "current" / "trust.pem").read_bytes()
    new = pki().manufacturer.certificate
    world.application.answers[CACertsRequested] = ProvideCACerts(
        certificates=(pki().ca.certificate, new)
    )
    world.t += 4000
    assert world.work().code == ""
    assert "a root is not trusted" in caplog.text
    assert "[trust/" in caplog.text
    assert (tmp_path / NAME / "current" / "trust.pem").read_bytes() == before
    world.application.answers[CACertsRequested] = Fail(code="app/no")
    world.t += 4000
    assert world.work().code == ""
    assert "the CA certificates were not fetched" in caplog.text


def test_a_live_handshake_that_fails_keeps_the_pair_and_the_certificate(tmp_path: Path) -> None:
    world = World(tmp_path, options={"verify_live": True})
    world.work()
    before = world.look()
    asked = len(world.asked)
    world.unreachable = lambda _: len(world.asked) - asked > 3
    outcome = world.work(force=True)
    assert outcome.code == "connect/refused"
    assert "with the new certificate" in outcome.message
    assert world.look() == before
    issued = len(world.application.issued)
    world.unreachable = lambda _: False
    assert world.work(force=True).renewed
    assert len(world.application.issued) == issued


def test_a_root_that_the_old_one_vouches_for_is_trusted_and_the_hook_is_told(
    tmp_path: Path,
) -> None:
    hook = HookSettings(command=("/usr/bin/reload",))
    policy = replace(World(tmp_path).policy, trust_s=3600.0)
    world = World(tmp_path, policy=policy, options={"hook": hook})
    world.work()
    before = world.look()
    (name,) = pki().ca.name.get_attributes_for_oid(NameOID.COMMON_NAME)
    end = BEGIN + timedelta(days=3000)
    old = Ca(name=str(name.value), key=pki().ca.key, begin=BEGIN, end=end)  # type: ignore[arg-type]  # EC
    new = Ca(name=str(name.value), begin=BEGIN, end=end)
    bag = (pki().ca.certificate, root(new), link(new, old))
    world.application.answers[CACertsRequested] = ProvideCACerts(certificates=bag)
    world.t += 4000
    assert world.work().code == ""
    trust = (tmp_path / NAME / "current" / "trust.pem").read_bytes()
    assert root(new).public_bytes(Encoding.PEM) in trust or len(trust.split(b"BEGIN")) == 3
    assert world.look() == before
    assert [each.environment["EST_EVENT"] for each in world.hooks] == ["enrolled", "trust"]
    world.work(force=True)
    assert (tmp_path / NAME / "current" / "trust.pem").read_bytes() == trust


# When


def test_the_server_says_when_to_renew(tmp_path: Path) -> None:
    world = World(tmp_path, policy=replace(World(tmp_path).policy, renewal_info=True))
    start = BEGIN + timedelta(days=10)
    window = RenewalWindow(start=start, end=start + timedelta(days=1))
    world.application.answers[RenewalInfoRequested] = ProvideRenewalInfo(window=window)
    world.work()
    assert "renewal-info" in world.asked
    world.t = 9 * 86400.0
    assert not world.work().renewed
    world.t = 11.1 * 86400.0
    assert world.work().renewed


def test_a_server_that_does_not_know_when_is_no_reason_not_to_renew(tmp_path: Path) -> None:
    world = World(tmp_path, policy=replace(World(tmp_path).policy, renewal_info=True))
    world.application.answers[RenewalInfoRequested] = Fail(code="app/no")
    assert world.work().code == ""
    world.t = 85 * 86400.0
    assert world.work().renewed


def test_a_certificate_that_does_not_say_who_issued_it_is_renewed_without_asking_when(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, policy=replace(World(tmp_path).policy, renewal_info=True))
    world.application.certify = certificate_for
    assert world.work().code == ""
    assert world.look() is not None
    assert "renewal-info" not in world.asked
