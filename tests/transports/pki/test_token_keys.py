"""Keys in a token, with SoftHSM: found, made, signed with, and refused with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import Limits, LocalProtocolError
from est_core.asn1.keys import PublicKeyFacts, public_key_facts, signature_algorithm_for
from est_transports.pki import (
    CertificateSigner,
    LocalSigner,
    Pkcs11Uri,
    TokenError,
    TokenSigner,
    generate_key,
    open_signer,
    open_token,
)
from est_transports.pki.token_objects import make_pair
from tests.conftest import PeerFinder
from tests.tokens import LABEL, PIN, SoftToken, soft_token
from tests.transports.ca_fakes import CA_NAME, NOW, counting_entropy, ec_key

KINDS = ("ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048", "ed25519")


@pytest.fixture
def token(tmp_path: Path, peer: PeerFinder, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    with soft_token(tmp_path, peer, monkeypatch) as found:
        yield found


def facts_of(signer: TokenSigner) -> PublicKeyFacts:
    return public_key_facts(signer.public_key_spki, Limits())


def signature(signer: TokenSigner, tbs: bytes = b"tbs") -> bytes:
    return signer.sign(tbs, signature_algorithm_for(facts_of(signer)))


def refusal(uri: str) -> TokenError:
    with pytest.raises(TokenError) as caught:
        open_signer(uri)
    assert PIN not in str(caught.value)
    return caught.value


# Made there


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_made_found_again_and_signs_what_its_public_half_verifies(
    token: SoftToken, kind: str
) -> None:
    made = generate_key(token.uri(f"token={LABEL};object=a%20key"), kind)
    made.close()
    found = open_signer(str(made.uri))
    assert found.public_key_spki == made.public_key_spki
    assert facts_of(found).name.lower().replace(" ", ":") == kind.lower()
    for digest in ("sha256", "sha384", "sha512"):
        if kind == "ed25519":
            break
        algorithm = signature_algorithm_for(facts_of(found), digest)
        assert found.sign(b"tbs", algorithm)
    assert signature(found)


def test_a_certificate_by_a_key_in_a_token_verifies(token: SoftToken) -> None:
    """What `openssl verify` does is done to it too, in the how-to guide."""
    from est_transports.authority.new_ca import new_root

    signer = generate_key(token.uri(f"token={LABEL};object=ca"), "ec:P-256")
    key = load_der_public_key(signer.public_key_spki)
    root = new_root(CA_NAME, signer, key, now=NOW, entropy=counting_entropy())  # type: ignore[arg-type]  # what it is
    root.verify_directly_issued_by(root)
    assert isinstance(root, x509.Certificate)
    CertificateSigner(signer)


def test_what_is_made_never_leaves_the_token(token: SoftToken) -> None:
    generate_key(token.uri(f"token={LABEL};object=one;id=%07"), "ec:P-256").close()
    listed = token.tool("--list-objects", "--type", "privkey")
    assert "label:      one" in listed
    assert "ID:         07" in listed
    assert "Usage:      sign\n" in listed
    assert "Access:     sensitive, always sensitive, never extractable, local" in listed


def test_the_uri_of_what_was_made_names_it_alone_and_holds_no_pin(token: SoftToken) -> None:
    made = [
        generate_key(token.uri(f"object={name}", pin=f"pin-value={PIN}"), "ec:P-256")
        for name in ("one", "two")
    ]
    assert [str(each.uri).partition(";id=")[0] for each in made] == [
        f"pkcs11:token={LABEL};object={name};type=private" for name in ("one", "two")
    ]
    assert len({each.uri.id for each in made}) == 2
    assert all(PIN not in str(each.uri) + repr(each) for each in made)


def test_no_key_is_ever_replaced(token: SoftToken) -> None:
    first = generate_key(token.uri("object=key;id=%01"), "ec:P-256")
    for path in ("object=key", "object=key;id=%02", "object=other;id=%01"):
        with pytest.raises(TokenError) as caught:
            generate_key(token.uri(path), "ec:P-256")
        assert caught.value.code == "token/exists"
        assert "object=key;id=%01" in caught.value.message
    assert token.tool("--list-objects").count("Key Object") == 2
    assert signature(first)


class Racing:
    """A session in which somebody else is a moment faster."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def create_domain_parameters(self, *arguments: Any, **options: Any) -> Any:
        found = self._session.create_domain_parameters(*arguments, **options)
        found.generate_keypair(store=True, label="a", id=b"theirs")
        return found


def test_who_was_faster_keeps_the_label(token: SoftToken) -> None:
    import pkcs11

    devices = pkcs11.lib(token.module).get_token(token_label=LABEL)
    uri = Pkcs11Uri(object="a", id=b"ours")
    with devices.open(rw=True, user_pin=PIN) as session:
        racing: Any = Racing(session)
        with pytest.raises(TokenError) as caught:
            make_pair(racing, uri, "ec:P-256")
    assert caught.value.code == "token/exists"
    listed = token.tool("--list-objects")
    assert listed.count(f"ID:         {b'theirs'.hex()}") == 2
    assert b"ours".hex() not in listed.split()


def test_a_token_is_left_where_its_block_ends(token: SoftToken) -> None:
    with open_token(Pkcs11Uri.parse(token.uri("object=a"))) as place:
        signer = place.generate("ec:P-256")
    assert signature(signer), "signing logs in again"


def test_a_weak_key_is_refused(token: SoftToken) -> None:
    import pkcs11

    devices = pkcs11.lib(token.module).get_token(token_label=LABEL)
    exponent = {pkcs11.Attribute.PUBLIC_EXPONENT: b"\x03"}
    with devices.open(rw=True, user_pin=PIN) as session:
        session.generate_keypair(
            pkcs11.KeyType.RSA, 2048, label="a", store=True, public_template=exponent
        )
    error = refusal(token.uri("object=a"))
    assert error.code == "token/unsupported-key"
    assert "exponent" in error.message


def test_a_new_key_has_a_label(token: SoftToken) -> None:
    for path in ("", "object=", "object=a;type=public"):
        with pytest.raises(TokenError) as caught:
            generate_key(token.uri(path), "ec:P-256")
        assert caught.value.code == "token/bad-uri"


def test_a_kind_of_key_that_tokens_do_not_make_is_refused(token: SoftToken) -> None:
    with pytest.raises(TokenError, match="ml-dsa-65") as caught:
        generate_key(token.uri("object=a"), "ml-dsa-65")
    assert caught.value.code == "token/unsupported-key"
    assert "Key" not in token.tool("--list-objects")


def test_a_key_that_is_not_used_is_removed_again(token: SoftToken) -> None:
    kept = generate_key(token.uri("object=kept"), "ec:P-256")
    generate_key(token.uri("object=dropped"), "ec:P-256").discard()
    assert "dropped" not in token.tool("--list-objects")
    assert signature(kept)


# Found


def test_what_fits_no_key_is_refused_and_what_is_there_is_named(token: SoftToken) -> None:
    assert "it has none at all" in refusal(token.uri("object=a")).message
    generate_key(token.uri("object=a;id=%01"), "ec:P-256")
    for path in ("object=b", "id=%02", "object=a;id=%02"):
        error = refusal(token.uri(path))
        assert error.code == "token/no-key"
        assert "it has object=a;id=%01" in error.message


def test_two_keys_that_fit_are_refused_and_named(token: SoftToken) -> None:
    for number in ("01", "02"):
        token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "a", "--id", number)
    error = refusal(token.uri("object=a"))
    assert error.code == "token/ambiguous-key"
    assert "object=a;id=%01" in error.message
    assert "object=a;id=%02" in error.message
    assert signature(open_signer(token.uri("object=a;id=%02")))


def test_many_keys_that_fit_are_not_all_named(token: SoftToken) -> None:
    place = open_token(Pkcs11Uri.parse(token.uri("object=x")))
    for number in range(10):
        replaced = replace(place.uri, object=f"k{number}")
        open_token(replaced).generate("ec:P-256")
    assert refusal(token.uri("")).message.count("object=k") == 8


def test_a_token_with_one_key_needs_no_name_for_it(token: SoftToken) -> None:
    generate_key(token.uri("object=a"), "ec:P-256")
    assert signature(open_signer(token.uri("")))


def test_what_is_no_private_key_is_refused(token: SoftToken) -> None:
    generate_key(token.uri("object=a"), "ec:P-256")
    assert refusal(token.uri("object=a;type=cert")).code == "token/bad-uri"


def test_a_key_that_is_not_for_signatures_is_refused(token: SoftToken) -> None:
    import pkcs11

    devices = pkcs11.lib(token.module).get_token(token_label=LABEL)
    with devices.open(rw=True, user_pin=PIN) as session:
        purpose = pkcs11.MechanismFlag.DECRYPT
        session.generate_keypair(
            pkcs11.KeyType.RSA, 2048, label="a", store=True, capabilities=purpose
        )
    error = refusal(token.uri("object=a"))
    assert error.code == "token/cannot-sign"


@pytest.mark.parametrize("key_type", ["EC:secp256k1", "EC:prime256v1"])
def test_a_key_without_a_public_half_that_is_known_is_refused(
    token: SoftToken, key_type: str
) -> None:
    token.tool("--keypairgen", "--key-type", key_type, "--label", "a", "--id", "01")
    if key_type == "EC:prime256v1":
        token.tool("--delete-object", "--type", "pubkey", "--label", "a")
    assert refusal(token.uri("object=a")).code == "token/unsupported-key"


def test_rsa_tells_its_public_half_without_a_public_key_object(token: SoftToken) -> None:
    made = generate_key(token.uri("object=a"), "rsa:2048")
    token.tool("--delete-object", "--type", "pubkey", "--label", "a")
    assert open_signer(token.uri("object=a")).public_key_spki == made.public_key_spki


def test_a_public_key_is_found_by_its_label_where_there_is_no_id(token: SoftToken) -> None:
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "a")
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "b")
    assert signature(open_signer(token.uri("object=a")))


def test_a_signature_by_another_key_than_is_shown_is_kept_back(token: SoftToken) -> None:
    for label, number in (("a", "01"), ("b", "02")):
        token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", label, "--id", number)
    token.tool("--delete-object", "--type", "pubkey", "--label", "a")
    token.tool("--set-id", "01", "--type", "pubkey", "--label", "b", "--id", "02")
    signer = open_signer(token.uri("object=a"))
    with pytest.raises(TokenError) as caught:
        signature(signer)
    assert caught.value.code == "token/mismatch"


def test_an_algorithm_of_another_key_is_refused(token: SoftToken) -> None:
    signer = generate_key(token.uri("object=a"), "ec:P-256")
    other = public_key_facts(LocalSigner(ec_key()).public_key_spki, Limits())
    assert signer.sign(b"x", signature_algorithm_for(other))
    rsa = generate_key(token.uri("object=b"), "rsa:2048")
    with pytest.raises(LocalProtocolError):
        rsa.sign(b"x", signature_algorithm_for(other))


def test_a_key_that_wants_the_pin_for_each_signature_gets_it(token: SoftToken) -> None:
    token.tool(
        "--keypairgen", "--key-type", "EC:prime256v1", "--label", "a", "--always-auth", "--id", "01"
    )  # fmt: skip
    signer = open_signer(token.uri("object=a"))
    assert signature(signer)
    assert signature(signer)


# Tokens and PINs


def test_a_token_that_is_not_there_is_refused_and_those_that_are_named(token: SoftToken) -> None:
    for path in ("token=other", "serial=1", "model=x", "manufacturer=x", "slot-id=7",
                 "slot-description=x", "slot-manufacturer=x", "library-version=1.0",
                 "library-version=9", "library-manufacturer=x",
                 "library-description=x"):  # fmt: skip
        error = refusal(token.uri(path))
        assert error.code == "token/not-found"
        assert f"token='{LABEL}' serial='" in error.message


def test_without_any_token_that_is_said(token: SoftToken) -> None:
    shutil.rmtree(token.tokens)
    token.tokens.mkdir()
    assert "there is none at all" in refusal(token.uri("")).message


def test_two_tokens_that_fit_are_refused_and_named(token: SoftToken) -> None:
    token.add()
    error = refusal(token.uri(f"token={LABEL}"))
    assert error.code == "token/ambiguous-token"
    assert error.message.count("serial='") == 2


def test_a_wrong_pin_is_tried_once(token: SoftToken) -> None:
    token.pin.write_text("000000\n")
    place = open_token(Pkcs11Uri.parse(token.uri("object=a")))
    with pytest.raises(TokenError, match="not tried again") as caught:
        place.check_free()
    assert caught.value.code == "token/pin-wrong"
    with pytest.raises(TokenError, match="has refused this PIN before") as caught:
        place.generate("ec:P-256")
    assert caught.value.code == "token/pin-wrong"
    token.pin.write_text(f"{PIN}\n")
    assert signature(place.generate("ec:P-256")), "another one is tried"


def test_a_pin_is_asked_for_by_the_name_of_the_token(token: SoftToken) -> None:
    asked: list[str] = []

    def ask(label: str) -> str:
        asked.append(label)
        return PIN

    signer = generate_key(token.uri("object=a", pin=""), "ec:P-256", ask_pin=ask)
    assert signature(signer)
    assert asked == [LABEL]


def test_without_a_pin_and_anybody_to_ask_that_is_said(token: SoftToken) -> None:
    assert refusal(token.uri("object=a", pin="")).code == "token/no-pin"


def test_a_pin_file_for_others_is_not_read(token: SoftToken) -> None:
    token.pin.chmod(0o644)
    assert refusal(token.uri("object=a")).code == "token/pin-source"


def test_who_has_logged_in_already_is_not_in_the_way(token: SoftToken) -> None:
    first = generate_key(token.uri("object=a"), "ec:P-256")
    second = open_signer(token.uri("object=a"))
    assert signature(first)
    first.close()  # logs out the whole program, says PKCS #11
    assert signature(second)
    assert signature(first)


# Lost and found


def test_a_session_that_is_lost_is_opened_anew(token: SoftToken) -> None:
    import pkcs11

    signer = generate_key(token.uri("object=a"), "ec:P-256")
    pkcs11.lib(token.module).reinitialize()  # every session and every login is gone
    assert signature(signer)


def test_a_token_that_was_pulled_is_said_to_be_away_and_used_when_it_is_back(
    token: SoftToken,
) -> None:
    import pkcs11

    library = pkcs11.lib(token.module)
    signer = generate_key(token.uri("object=a"), "ec:P-256")
    token.tokens.rename(token.directory / "pulled")
    token.tokens.mkdir()
    library.reinitialize()
    with pytest.raises(TokenError) as caught:
        signature(signer)
    assert caught.value.code == "token/not-found"
    token.tokens.rmdir()
    (token.directory / "pulled").rename(token.tokens)
    library.reinitialize()
    assert signature(signer)


HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_token_that_another_program_has_is_not_waited_for_for_ever(token: SoftToken) -> None:
    generate_key(token.uri("object=a"), "ec:P-256").close()
    (file,) = token.tokens.glob("*/generation")  # SoftHSM waits for its lock
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TokenError) as caught:
            open_signer(token.uri("object=a"), answer_s=0.1)
        assert caught.value.code == "token/slow"
        assert holder.stdin is not None
        holder.stdin.close()
    assert signature(patiently(token.uri("object=a")))


def patiently(uri: str) -> TokenSigner:
    """Open a key as soon as the module has come back."""
    while True:
        try:
            return open_signer(uri)
        except TokenError as exc:
            if exc.code != "token/slow":
                raise
            os.sched_yield()


def test_another_key_under_the_same_name_is_not_signed_with(token: SoftToken) -> None:
    import pkcs11

    signer = generate_key(token.uri("object=a;id=%01"), "ec:P-256")
    for kind in ("privkey", "pubkey"):
        token.tool("--delete-object", "--type", kind, "--label", "a")
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "a", "--id", "01")
    pkcs11.lib(token.module).reinitialize()
    with pytest.raises(TokenError, match="came back with another key") as caught:
        signature(signer)
    assert caught.value.code == "token/mismatch"
