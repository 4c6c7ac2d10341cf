"""An agent whose keys are made in a token, with SoftHSM: a label for each, and none left over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import Deny, EnrollRequested, LocalProtocolError
from est_transports.agent.driving import cannot_ask
from est_transports.agent.errors import AgentError
from est_transports.agent.keys import Keys
from est_transports.pairs import KeyReference, PairDirectory
from est_transports.pki import SignerError, TokenError, generate_key, open_signer
from est_transports.pki.pkcs11_uri import Pkcs11Uri
from tests.conftest import PeerFinder
from tests.tokens import PIN, SoftToken, soft_token
from tests.transports.agent.world import DAY_S, NAME, QUIET, Cut, Killed, World


@pytest.fixture
def token(tmp_path: Path, peer: PeerFinder, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    directory = tmp_path / "token"
    directory.mkdir()
    with soft_token(directory, peer, monkeypatch) as found:
        yield found


def world_of(token: SoftToken, directory: Path, **more: Any) -> World:
    policy = more.pop("policy", QUIET)
    options = {"key_uri": token.uri("object=gate"), **more}
    return World(directory, policy=policy, options=options)


def labels(token: SoftToken) -> list[str]:
    """The labels of the private keys, each of which has a public one."""
    listed = token.tool("--list-objects").splitlines()
    found = [line.split()[-1] for line in listed if line.startswith("  label:")]
    assert sorted(found) == sorted(2 * list(dict.fromkeys(found)))
    return sorted(dict.fromkeys(found))


def fits(world: World) -> str:
    """Return the URI of the running key, which is that of the running certificate."""
    with PairDirectory.open(world.directory / NAME) as pairs:
        running = pairs.running
    assert running is not None
    uri = running.key_file.read_text().strip()
    assert running.key == KeyReference(uri=uri)
    spki = running.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    signer = open_signer(uri)
    assert signer.public_key_spki == spki
    signer.close()
    return uri


def test_each_certificate_has_a_key_of_its_own_in_the_token(
    token: SoftToken, tmp_path: Path
) -> None:
    world = world_of(token, tmp_path)
    for number in (1, 2, 3):
        assert world.work(force=number > 1).renewed
        assert f"object=gate-{number};" in fits(world)
    assert labels(token) == ["gate-1", "gate-2", "gate-3"]
    assert {"simplereenroll"}.isdisjoint(world.asked), "TLS can show no certificate of such a key"
    first, *others = world.application.enrollments
    assert {each.csr.subject_der for each in others} == {first.csr.subject_der}


def test_keys_that_no_pair_has_any_more_are_removed_by_option(
    token: SoftToken, tmp_path: Path
) -> None:
    world = world_of(token, tmp_path, remove_old_keys=True)
    world.work()
    world.work(force=True)
    assert labels(token) == ["gate-1", "gate-2"], "the pair before may come back"
    world.work(force=True)
    assert labels(token) == ["gate-2", "gate-3"]
    fits(world)


def test_a_key_that_was_not_made_here_is_not_removed_whatever_the_files_say(
    token: SoftToken, tmp_path: Path
) -> None:
    world = world_of(token, tmp_path, remove_old_keys=True)
    world.work()
    generate_key(token.uri("object=ca"), "ec:P-256").close()
    world.work(force=True)
    (place,) = (tmp_path / NAME / "current" / "previous").glob("key.uri")
    place.write_text(place.read_text().replace("object=gate-1", "object=ca"))
    uri = Pkcs11Uri.parse(place.read_text().strip())
    place.write_text(f"{replace(uri, id=None)}\n")
    world.work(force=True)
    assert labels(token) == ["ca", "gate-1", "gate-2", "gate-3"]


def test_a_key_is_kept_where_the_policy_keeps_it(token: SoftToken, tmp_path: Path) -> None:
    policy = replace(QUIET, rekey=False)
    world = world_of(token, tmp_path, policy=policy, remove_old_keys=True)
    for number in range(4):
        assert world.work(force=number > 0).renewed
    assert labels(token) == ["gate-1"]
    fits(world)


def test_a_device_with_a_key_in_a_file_moves_into_the_token(
    token: SoftToken, tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.work()
    world.settings = replace(world.settings, key_uri=token.uri("object=gate"))
    assert world.work(force=True).renewed
    assert "simplereenroll" in world.asked, "the key in the file still shows its certificate"
    assert "object=gate-1;" in fits(world)


def test_a_key_that_nobody_certified_is_removed_again(token: SoftToken, tmp_path: Path) -> None:
    world = world_of(token, tmp_path)
    world.application.answers[EnrollRequested] = Deny(code="policy/no", reason="no")
    assert world.work().code == "response/status-403"
    assert labels(token) == []


def test_a_token_that_is_locked_out_is_told_and_not_tried_with_the_same_pin(
    token: SoftToken, tmp_path: Path
) -> None:
    world = world_of(token, tmp_path)
    world.work()
    before = fits(world)
    token.pin.write_text("000000\n")
    outcome = world.work(force=True)
    assert (outcome.renewed, outcome.code) == (False, "token/pin-wrong")
    token.pin.write_text(f"{PIN}\n")
    assert fits(world) == before
    assert world.work(force=True).renewed


def test_a_wrong_pin_is_given_once_however_often_an_agent_tries(
    token: SoftToken, tmp_path: Path
) -> None:
    keys = Keys(world_of(token, tmp_path).settings)
    token.pin.write_text("000000\n")
    for text in ("refuses the PIN", "has refused this PIN before", "has refused this PIN before"):
        with pytest.raises(AgentError, match=text) as caught:
            keys.make(None)
        assert caught.value.code == "token/pin-wrong"
    token.pin.write_text(f"{PIN}\n")
    assert keys.make(None).signer.public_key_spki
    keys.close()


def test_wherever_the_process_ends_the_next_one_goes_on_with_the_same_key(
    token: SoftToken, tmp_path: Path
) -> None:
    cut = Cut()
    (tmp_path / "counted").mkdir()
    world = world_of(token, tmp_path / "counted")
    world.work(cut)
    for at, point in enumerate(cut.passed, 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        world = world_of(token, directory, key_uri=token.uri(f"object=at-{at}"))
        with pytest.raises(Killed):
            world.work(Cut(at))
        assert world.work().code == "", point
        fits(world)
        assert len({each.csr.spki for each in world.application.enrollments}) == 1, point


def test_a_certificate_is_renewed_when_it_is_time(token: SoftToken, tmp_path: Path) -> None:
    world = world_of(token, tmp_path)
    world.work()
    world.t = 85 * DAY_S
    assert world.work().renewed
    assert "object=gate-2;" in fits(world)


@pytest.mark.parametrize(
    "uri, reason",
    [
        ("pkcs11:token", "is not NAME=VALUE"),
        ("pkcs11:token=a", "has a label for new keys"),
        ("pkcs11:object=a;id=%01", "and no id"),
        ("pkcs11:object=a;type=cert", "has a label"),
        ("pkcs11:object=a?pin-value=1234", "not the PIN"),
    ],
)
def test_a_uri_that_names_no_place_for_keys_is_refused(
    uri: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(LocalProtocolError, match=reason):
        World(tmp_path, options={"key_uri": uri})
    with pytest.raises(LocalProtocolError, match="TLS cannot show"):
        World(tmp_path, options={"key_uri": "pkcs11:object=a", "verify_live": True})


def test_what_is_no_key_here_is_refused(tmp_path: Path) -> None:
    keys = Keys(World(tmp_path).settings)
    for key in (None, KeyReference(uri="tpm:1")):
        with pytest.raises(AgentError) as caught:
            keys.open(key)
        assert caught.value.code == "agent/key-elsewhere"
    for uri in ("pkcs11:a", "pkcs11:object=a?module-path=/missing.so"):
        with pytest.raises(AgentError, match=r"NAME=VALUE|no such"):
            keys.open(KeyReference(uri=uri))


@pytest.mark.parametrize("uri", ["tpm:1", "pkcs11:a", "pkcs11:object=b-1", "pkcs11:object=a-x"])
@pytest.mark.parametrize("place", [None, "pkcs11:object=a"])
def test_no_token_is_asked_for_keys_that_were_not_made_here(
    tmp_path: Path, uri: str, place: str | None
) -> None:
    keys = Keys(World(tmp_path, options={"key_uri": place}).settings)
    keys.remove(KeyReference(uri=uri))
    module = "?module-path=/missing.so"
    ours = Keys(World(tmp_path, options={"key_uri": f"pkcs11:object=b{module}"}).settings)
    with pytest.raises(AgentError, match="no such PKCS#11 module"):
        ours.remove(KeyReference(uri=f"pkcs11:object=b-1{module}"))


def test_a_key_that_does_not_sign_fails_the_exchange_by_its_code() -> None:
    assert cannot_ask(TokenError("token/removed", "away")).code == "token/removed"
    assert cannot_ask(SignerError("x")).code == "agent/cannot-ask"
