"""The life of a certificate on disk: candidate, promotion, the way back, other trust anchors."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509

from est_core import LocalProtocolError
from est_transports.pairs import Candidate, KeyReference, Pair, PairDirectory, PairError
from tests.pki import Subject
from tests.transports.pair_material import (
    PASSWORD,
    REFERENCE,
    anchors,
    enroll,
    filled,
    material,
    other_anchors,
    renew,
    root,
)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _is(pair: Pair | None, number: int) -> bool:
    """Return whether it is the pair of that number, whole."""
    assert pair is not None
    identity = pair.identity()
    wanted = material(number)
    return identity.chain == (wanted.certificate, *wanted.chain) and (
        identity.key.public_key() == wanted.key.public_key()
    )


def test_a_new_directory_holds_nothing(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path / "a" / "b", create=True) as pairs:
        assert (pairs.running, pairs.previous, pairs.candidate) == (None, None, None)
        assert pairs.state == ""
    assert _mode(tmp_path / "a" / "b") == _mode(tmp_path / "a" / "b" / "pairs") == 0o700


def test_a_candidate_grows_step_by_step_and_each_step_is_found_again(tmp_path: Path) -> None:
    new = material(1)

    def found() -> Candidate:
        with PairDirectory.open(tmp_path) as pairs:
            assert pairs.running is None
            assert pairs.candidate is not None
            return pairs.candidate

    with PairDirectory.open(tmp_path, create=True) as pairs:
        begun = pairs.begin(new.key_pem, new.request)
    assert (found().request, found().is_sent, found().certificate) == (new.request, False, None)
    assert found().directory == begun.directory
    key = found().key
    assert key is not None
    assert not isinstance(key, KeyReference)
    assert key.public_key() == new.key.public_key()
    with PairDirectory.open(tmp_path) as pairs:
        pairs.mark_sent()
        pairs.mark_sent()
    assert (found().is_sent, found().certificate) == (True, None)
    with PairDirectory.open(tmp_path) as pairs:
        pairs.receive(new.certificate, new.chain)
        pairs.receive(new.certificate, new.chain)
    assert (found().certificate, found().chain) == (new.certificate, new.chain)


def test_a_promoted_candidate_runs_and_is_one_set_of_files(tmp_path: Path) -> None:
    new = material(1)
    with PairDirectory.open(tmp_path, create=True) as pairs:
        enroll(pairs, 1)
        promoted = pairs.promote(anchors())
        assert promoted == pairs.running
        assert _is(promoted, 1)
        assert promoted.anchors == anchors()
        assert (pairs.candidate, pairs.previous) == (None, None)
    current = tmp_path / "current"
    assert sorted(os.listdir(current)) == [
        *("cert.pem", "chain.pem", "key.pem", "pair.pem", "request.der", "sent", "trust.pem"),
    ]
    files = [(current / name).read_bytes() for name in ("key.pem", "cert.pem", "chain.pem")]
    assert b"".join(files) == (current / "pair.pem").read_bytes()
    assert files[0] == new.key_pem
    assert x509.load_pem_x509_certificates((current / "trust.pem").read_bytes()) == [*anchors()]


def test_no_issuers_and_no_anchors_are_no_files(tmp_path: Path) -> None:
    new = material(1)
    with PairDirectory.open(tmp_path, create=True) as pairs:
        pairs.begin(new.key_pem, None)
        pairs.receive(new.certificate)
        running = pairs.promote()
    assert (running.chain, running.anchors) == ((), ())
    assert sorted(os.listdir(running.directory)) == ["cert.pem", "key.pem", "pair.pem"]


def test_the_pair_before_stays_until_the_next_promotion_and_older_ones_go(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        for number in (1, 2, 3):
            renew(pairs, number)
        assert _is(pairs.running, 3)
        assert _is(pairs.previous, 2)
    assert sorted(os.listdir(tmp_path / "pairs")) == ["2", "3", "used"]
    assert (tmp_path / "current" / "previous" / "key.pem").read_bytes() == material(2).key_pem


def test_the_way_back_exchanges_the_two_and_can_be_taken_again(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        assert _is(pairs.roll_back(), 1)
        assert _is(pairs.running, 1)
        assert _is(pairs.previous, 2)
        assert _is(pairs.roll_back(), 2)
        assert _is(pairs.previous, 1)
        pairs.roll_back()
        renew(pairs, 3)
        assert _is(pairs.running, 3)
        assert _is(pairs.previous, 1)
    assert sorted(os.listdir(tmp_path / "pairs")) == ["1", "3", "used"]


def test_other_anchors_come_with_the_same_pair_and_leave_previous_and_candidate(
    tmp_path: Path,
) -> None:
    with PairDirectory.open(filled(tmp_path, 1, 2)) as pairs:
        pairs.begin(material(3).key_pem, material(3).request)
        replaced = pairs.replace_anchors(other_anchors())
        assert replaced == pairs.running
        assert _is(replaced, 2)
        assert replaced.anchors == other_anchors()
        assert _is(pairs.previous, 1)
        assert pairs.candidate is not None
        pairs.receive(material(3).certificate)
        pairs.promote(other_anchors())
        assert _is(pairs.previous, 2)
    assert len(os.listdir(tmp_path / "pairs")) == 3


def test_a_candidate_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        enroll(pairs, 2)
        pairs.discard()
        assert pairs.candidate is None
        assert _is(pairs.running, 1)
        pairs.discard()
    assert sorted(os.listdir(tmp_path / "pairs")) == ["1", "used"]


def test_the_state_is_kept_whole(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        pairs.save_state("first")
        pairs.save_state('{"é": 1}')
    with PairDirectory.open(tmp_path) as pairs:
        assert pairs.state == '{"é": 1}'
        with pytest.raises(LocalProtocolError, match="at most 65536 bytes"):
            pairs.save_state("x" * 65537)
        (tmp_path / "state").write_bytes(b"\xff" * 100_000)
        assert pairs.state == "\ufffd" * 65537


def test_the_current_directory_may_change_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with PairDirectory.open(Path("here"), create=True) as pairs:
        view = PairDirectory.look(Path("here"))
        monkeypatch.chdir("/")
        renew(pairs, 1)
        pairs.save_state("text")
        assert _is(pairs.running, 1)
        assert view.directory == tmp_path / "here"


# Keys


def test_an_encrypted_key_stays_encrypted_and_needs_its_password(tmp_path: Path) -> None:
    new = material(1)
    with PairDirectory.open(tmp_path, create=True, password=PASSWORD) as pairs:
        pairs.begin(new.encrypted, new.request)
        pairs.receive(new.certificate, new.chain)
        assert _is(pairs.promote(), 1)
    for name in ("key.pem", "pair.pem"):
        assert (tmp_path / "current" / name).read_bytes().startswith(b"-----BEGIN ENCRYPTED")
    for password, match in ((None, "no password was given"), (b"x", "the password is wrong")):
        with (
            PairDirectory.open(tmp_path, password=password) as pairs,
            pytest.raises(PairError, match=rf"^pair/bad-key: .*key.pem: .*{match}"),
        ):
            _ = pairs.running
    looked_at = PairDirectory.look(tmp_path).running
    assert looked_at is not None
    assert looked_at.identity(PASSWORD).certificate == new.certificate
    with pytest.raises(PairError, match=r"^pair/bad-key"):
        looked_at.identity()


def test_a_key_that_is_elsewhere_is_kept_by_its_reference(tmp_path: Path) -> None:
    new = material(1)
    with PairDirectory.open(tmp_path, create=True) as pairs:
        with pytest.raises(LocalProtocolError, match="needs a request"):
            pairs.begin(REFERENCE, None)
        assert pairs.begin(REFERENCE, new.request).key == REFERENCE
        with pytest.raises(PairError, match=r"^pair/key-mismatch"):
            pairs.receive(material(2).certificate)
        pairs.receive(new.certificate, new.chain)
        running = pairs.promote(anchors())
        assert running.key == REFERENCE
        with pytest.raises(PairError, match=r"^pair/key-elsewhere"):
            running.identity()
        assert pairs.replace_anchors(()).key == REFERENCE
    names = os.listdir(tmp_path / "current")
    assert "key.uri" in names
    assert not {"key.pem", "pair.pem"} & set(names)
    assert (tmp_path / "current" / "key.uri").read_text() == f"{REFERENCE.uri}\n"
    assert _mode(tmp_path / "current" / "key.uri") == 0o600
    looked_at = PairDirectory.look(tmp_path).running
    assert looked_at is not None
    with pytest.raises(PairError, match=r"^pair/key-elsewhere"):
        looked_at.identity()


def test_no_repr_shows_a_key_or_the_pin_in_its_uri(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        assert "1234" not in repr(pairs.begin(REFERENCE, material(1).request))
    assert "pin" not in repr(REFERENCE)


@pytest.mark.parametrize("uri", ["", "no uri", "pkcs11:", "pkcs11:a b", "x:\n", "x:" + "a" * 4096])
def test_a_reference_is_a_uri(uri: str) -> None:
    with pytest.raises(LocalProtocolError, match="by a URI"):
        KeyReference(uri=uri)


@pytest.mark.parametrize(
    "key, message",
    [
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"),
        (b"no key", "cannot be read"),
        (
            b"-----BEGIN PRIVATE KEY-----\n"
            b"MC4CAQAwBQYDK2VuBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
            b"-----END PRIVATE KEY-----\n",
            "cannot sign",
        ),
    ],
)
def test_what_is_no_key_begins_nothing(tmp_path: Path, key: bytes, message: str) -> None:
    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        with pytest.raises(PairError, match=rf"^pair/bad-key: .*{message}"):
            pairs.begin(key, None)
        assert pairs.candidate is None


def test_a_request_of_another_key_begins_nothing(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        for request, match in ((material(2).request, "another key"), (b"x", "cannot be read")):
            with pytest.raises(LocalProtocolError, match=match):
                pairs.begin(material(1).key_pem, request)
        assert pairs.candidate is None


# Out of turn


def test_a_certificate_of_another_key_is_never_received(tmp_path: Path) -> None:
    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        pairs.begin(material(2).key_pem, material(2).request)
        with pytest.raises(PairError, match=r"^pair/key-mismatch"):
            pairs.receive(material(3).certificate)
        assert pairs.candidate is not None
        assert pairs.candidate.certificate is None


def test_a_certificate_of_another_key_is_never_promoted(tmp_path: Path) -> None:
    """Whatever was checked before, and whoever wrote it there."""
    with PairDirectory.open(filled(tmp_path, 1)) as pairs:
        enroll(pairs, 2)
        other = filled(tmp_path / "other", 3) / "current" / "cert.pem"
        (tmp_path / "candidate" / "cert.pem").write_bytes(other.read_bytes())
        with pytest.raises(PairError, match=r"^pair/key-mismatch"):
            pairs.promote(anchors())
        assert _is(pairs.running, 1)


def test_a_step_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        for step in (
            pairs.mark_sent,
            pairs.promote,
            lambda: pairs.receive(material(1).certificate),
        ):
            with pytest.raises(PairError, match=r"^pair/out-of-order: .* has no candidate"):
                step()
        with pytest.raises(PairError, match=r"^pair/out-of-order: .* has no running pair"):
            pairs.replace_anchors(anchors())
        with pytest.raises(PairError, match=r"^pair/no-previous"):
            pairs.roll_back()
        pairs.begin(material(1).key_pem, material(1).request)
        with pytest.raises(PairError, match=r"^pair/out-of-order: .* has a candidate already"):
            pairs.begin(material(2).key_pem, None)
        with pytest.raises(PairError, match=r"^pair/out-of-order: .* without a certificate"):
            pairs.promote(anchors())
        pairs.receive(material(1).certificate)
        assert pairs.candidate is not None
        assert pairs.candidate.certificate == material(1).certificate


def test_a_second_certificate_is_refused(tmp_path: Path) -> None:
    with PairDirectory.open(tmp_path, create=True) as pairs:
        enroll(pairs, 1)
        another = root().issue(Subject(name="again", key=material(1).key)).certificate
        with pytest.raises(PairError, match=r"^pair/out-of-order: .* another certificate"):
            pairs.receive(another)
        assert _is(pairs.promote(), 1)


def test_what_is_closed_does_nothing_more(tmp_path: Path) -> None:
    pairs = PairDirectory.open(filled(tmp_path, 1))
    pairs.close()
    pairs.close()
    with pytest.raises(LocalProtocolError, match="is closed"):
        _ = pairs.running
