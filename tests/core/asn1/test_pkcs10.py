"""Certificate requests: what is read, what is refused, what is built."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.attributes import (
    Extension,
    challenge_attribute,
    challenge_password,
    extension_request,
)
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import (
    CertRequestInfo,
    assemble,
    parse_cert_request,
    signature_is_valid,
)
from tests.core.asn1.build import (
    CHALLENGE_PASSWORD,
    EXTENSION_REQUEST,
    IDENTITY_LINKING,
    SAN,
    attribute,
    name,
    oid,
    p256,
    request,
    rsa2048,
    seq,
    spki,
    tlv,
    unsigned,
    vector,
)
from tests.damage import damaged
from tests.reached import reaches, refusals

LIMITS = Limits()
NAMES = x509.SubjectAlternativeName([x509.DNSName("device-1.example")]).public_bytes()


def refusal(der: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_cert_request(der, limits)
    return caught.value.code


# --- Reading ---------------------------------------------------------------------------------


def test_every_part_of_a_request_is_there() -> None:
    csr = parse_cert_request(request(), LIMITS)
    known = x509.load_der_x509_csr(request())
    assert csr.der == request()
    assert csr.info_der == known.tbs_certrequest_bytes
    assert csr.subject == known.subject
    assert csr.subject_der == name().public_bytes()
    assert csr.spki == spki(p256())
    assert csr.key.name == "EC P-256"
    assert {found.type for found in csr.attributes} == {CHALLENGE_PASSWORD, EXTENSION_REQUEST}
    assert csr.challenge_passwords == ("dFsAXmJnjokBtDvr",)
    assert csr.extension(SAN) == Extension(oid=SAN, value=NAMES)
    assert csr.subject_alt_name_der == NAMES
    assert csr.signature_algorithm == "1.2.840.10045.4.3.2"


@pytest.mark.req("EST-145")
def test_an_empty_subject_is_allowed_and_the_field_must_be_there() -> None:
    assert parse_cert_request(unsigned(subject=seq()), LIMITS).subject == x509.Name([])
    assert refusal(unsigned(subject=b"")) == "csr/malformed"


@pytest.mark.req("EST-174")
@pytest.mark.parametrize(
    "file, case", [("a3-simpleenroll", "7030-A.3"), ("a4-serverkeygen", "7030-A.4")]
)
def test_the_requests_of_rfc_7030_carry_their_channel_binding(file: str, case: str) -> None:
    cases = json.loads(vector("derived-est/channel-binding.json"))["cases"]
    (expected,) = [found["challengePassword"] for found in cases if found["id"] == case]
    csr = parse_cert_request(vector(f"rfc7030/{file}-request.der"), LIMITS)
    assert csr.challenge_passwords == (expected,)
    assert csr.key.name == "RSA 2048"


def test_the_requests_of_rfc_9148_are_read_and_valid() -> None:
    cases = json.loads(vector("derived-est/channel-binding.json"))["cases"]
    (expected,) = [case for case in cases if case["id"] == "9148-A.2-NEG"]
    csr = parse_cert_request(vector("rfc9148/a2-sen-request.bin"), LIMITS)
    text = bytes.fromhex(expected["challengePassword_utf8_hex"]).decode()
    assert csr.challenge_passwords == (text,)
    assert csr.extension(SAN) is not None
    assert signature_is_valid(csr)
    assert signature_is_valid(parse_cert_request(vector("rfc9148/a3-skg-request.bin"), LIMITS))


@pytest.mark.req("EST-183")
def test_repeated_challenge_passwords_are_all_shown() -> None:
    twice = (
        attribute(CHALLENGE_PASSWORD, tlv(0x13, b"one")),
        attribute(CHALLENGE_PASSWORD, tlv(0x13, b"two")),
    )
    assert parse_cert_request(unsigned(*twice), LIMITS).challenge_passwords == ("one", "two")
    values = attribute(CHALLENGE_PASSWORD, tlv(0x0C, b"one"), tlv(0x13, b"two"))
    assert parse_cert_request(unsigned(values), LIMITS).challenge_passwords == ("one", "two")


@pytest.mark.parametrize(
    "der, code",
    [
        (seq(), "csr/malformed"),
        (tlv(0x31, *[seq()] * 2), "csr/malformed"),
        (seq(seq(), seq(), tlv(3, b"\0")), "csr/malformed"),
        (unsigned(version=1), "csr/malformed"),
        (unsigned(subject=tlv(0x31)), "csr/malformed"),
        (unsigned(subject=seq(seq())), "csr/name"),
        (unsigned(seq(oid("2.999"))), "csr/malformed"),
        (unsigned(oid("2.999")), "csr/malformed"),
        (unsigned(extension_request([Extension(oid=SAN, value=b"x")]).der()), "csr/extensions"),
        (unsigned(attribute(EXTENSION_REQUEST, tlv(0x31))), "csr/extensions"),
        (
            unsigned(
                extension_request([Extension(oid=SAN, value=NAMES)]).der(),
                extension_request([Extension(oid=SAN, value=NAMES, critical=True)]).der(),
            ),
            "csr/duplicate-attribute",
        ),
        (
            unsigned(
                attribute(
                    EXTENSION_REQUEST,
                    seq(seq(oid(SAN), tlv(4, NAMES)), seq(oid(SAN), tlv(4, seq(b"\x82\1a")))),
                )
            ),
            "csr/duplicate-extension",
        ),
        (unsigned(attribute(CHALLENGE_PASSWORD, tlv(4, b"x"))), "attribute/string"),
        (unsigned(attribute(CHALLENGE_PASSWORD, tlv(0x0C, b"x" * 256))), "attribute/too-long"),
        (unsigned(key=seq(seq(oid("2.999")), tlv(3, b"\0x"))), "key/unsupported"),
        (request() + b"\0", "der/trailing-bytes"),
        (b"", "der/empty"),
    ],
)
def test_each_rule_of_requests_has_its_refusal(der: bytes, code: str) -> None:
    assert refusal(der) == code


def test_what_is_counted_is_bounded() -> None:
    many = [attribute(f"2.999.{n}", tlv(5)) for n in range(5)]
    limits = Limits(csr_attributes=4)
    assert refusal(unsigned(*many), limits) == "csr/too-many-attributes"
    extensions = extension_request([Extension(oid=f"2.999.{n}", value=b"") for n in range(5)])
    limits = Limits(csr_extensions=4)
    assert refusal(unsigned(extensions.der()), limits) == "csr/too-many-extensions"
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")] * 5).public_bytes()
    assert refusal(unsigned(subject=subject), Limits(names=4)) == "csr/too-many-names"
    assert refusal(request(), Limits(body_bytes=100)) == "der/too-large"


def test_the_shortest_names_are_counted_too() -> None:
    names = extension_request([Extension(oid="2.5.29.17", value=seq(b"\x82\0" * 5))])
    assert refusal(unsigned(names.der()), Limits(names=4)) == "csr/too-many-names"


def test_every_truncation_is_refused() -> None:
    for end in range(len(request())):
        assert refusal(request()[:end]).startswith("der/")


def test_the_key_of_a_request_can_be_certified() -> None:
    csr = parse_cert_request(request(), LIMITS)
    assert csr.public_key() == x509.load_der_x509_csr(csr.der).public_key()


def test_a_request_shows_no_challenge_in_repr() -> None:
    csr = parse_cert_request(request(), LIMITS)
    assert "dFsAXmJnjokBtDvr" not in repr(csr)
    assert "dFsAXmJnjokBtDvr" not in repr(CertRequestInfo.of(csr))


@reaches(read=18, accepted=3)
@given(der=damaged((request(), vector("rfc9148/a2-sen-request.bin"))))
def test_only_our_error_escapes_for_a_damaged_request(der: bytes) -> None:
    with refusals("der/"):
        signature_is_valid(parse_cert_request(der, LIMITS))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["x" * 65, "", "\u00fc" * 33])
def test_a_long_common_name_is_left_to_policy_without_a_warning(text: str) -> None:
    der = unsigned(subject=seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(0x0C, text.encode())))))
    csr = parse_cert_request(der, LIMITS)
    assert csr.subject.rfc4514_string() == f"CN={text}"
    assert csr.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == text
    assert csr.subject.public_bytes() == csr.subject_der


@reaches(read=10, accepted=1)
@given(
    subject=damaged((name().public_bytes(),), 1),
    key=damaged((spki(p256()),), 1),
    value=damaged((tlv(0x0C, b"word"), seq(seq(oid(SAN), tlv(4, seq(tlv(0x82, b"a"))))))),
    kind=st.sampled_from([CHALLENGE_PASSWORD, EXTENSION_REQUEST, "2.999"]),
)
def test_only_our_error_escapes_where_one_part_is_not_what_it_should_be(
    subject: bytes, key: bytes, value: bytes, kind: str
) -> None:
    with refusals("der/"):
        parse_cert_request(unsigned(attribute(kind, value), subject=subject, key=key), LIMITS)


# --- Signatures ------------------------------------------------------------------------------


@pytest.mark.req("EST-142")
def test_a_signature_by_another_key_is_not_valid() -> None:
    assert signature_is_valid(parse_cert_request(request(), LIMITS))
    other = spki(ec.derive_private_key(99, ec.SECP256R1()))
    forged = parse_cert_request(request().replace(spki(p256()), other), LIMITS)
    assert not signature_is_valid(forged)


@pytest.mark.req("EST-142")
def test_a_changed_word_breaks_the_signature() -> None:
    changed = request().replace(b"dFsAXmJnjokBtDvr", b"dFsAXmJnjokBtDvs")
    assert not signature_is_valid(parse_cert_request(changed, LIMITS))


@pytest.mark.req("EST-142")
def test_rubbish_in_place_of_a_signature_is_not_valid() -> None:
    assert not signature_is_valid(parse_cert_request(unsigned(), LIMITS))


@pytest.mark.parametrize(
    "algorithm", ["1.2.840.113549.1.1.5", "1.2.840.113549.1.1.4", "1.2.840.10045.4.1", "2.999"]
)
def test_signatures_by_old_or_unknown_algorithms_are_refused(algorithm: str) -> None:
    der = seq(parse_cert_request(request(), LIMITS).info_der, seq(oid(algorithm)), tlv(3, b"\0\1"))
    with pytest.raises(RemoteProtocolError) as caught:
        signature_is_valid(parse_cert_request(der, LIMITS))
    assert caught.value.code == "csr/signature-algorithm"


def test_the_sha1_signature_of_rfc_7030_is_refused() -> None:
    csr = parse_cert_request(vector("rfc7030/a3-simpleenroll-request.der"), LIMITS)
    with pytest.raises(RemoteProtocolError) as caught:
        signature_is_valid(csr)
    assert caught.value.code == "csr/signature-algorithm"


def test_an_algorithm_that_does_not_fit_the_key_is_not_valid() -> None:
    info = parse_cert_request(request(), LIMITS).info_der
    rsa_with_sha256 = seq(oid("1.2.840.113549.1.1.11"), tlv(5))
    der = seq(info, rsa_with_sha256, tlv(3, b"\0" + bytes(256)))
    assert not signature_is_valid(parse_cert_request(der, LIMITS))


def test_rsa_pss_with_sha256_is_verified() -> None:
    der = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name())
        .sign(
            rsa2048(),
            hashes.SHA256(),
            rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH),
        )
        .public_bytes(Encoding.DER)
    )
    assert signature_is_valid(parse_cert_request(der, LIMITS))


# --- Building --------------------------------------------------------------------------------


def info(*, key: bytes | None = None) -> CertRequestInfo:
    return CertRequestInfo(subject=name(), spki=key or spki(p256()))


def test_the_bytes_to_be_signed_equal_those_of_cryptography() -> None:
    csr = parse_cert_request(request(), LIMITS)
    assert CertRequestInfo.of(csr).der() == csr.info_der


def test_the_order_of_attributes_does_not_matter() -> None:
    both = challenge_password("x"), extension_request([Extension(oid=SAN, value=NAMES)])
    forth = CertRequestInfo(subject=name(), spki=b"", attributes=both)
    back = CertRequestInfo(subject=name().public_bytes(), spki=b"", attributes=both[::-1])
    assert forth.der() == back.der()


def test_a_new_binding_replaces_every_old_one_and_nothing_else() -> None:
    csr = parse_cert_request(request(), LIMITS)
    linked = CertRequestInfo.of(csr).with_attribute(challenge_attribute(IDENTITY_LINKING, "y"))
    linked = linked.with_challenge_password("new").with_challenge_password("newer")
    assert [found.type for found in linked.attributes].count(CHALLENGE_PASSWORD) == 1
    signature = p256().sign(linked.der(), ec.ECDSA(hashes.SHA256()))
    der = assemble(linked.der(), signature_algorithm_for(csr.key), signature, LIMITS)
    again = parse_cert_request(der, LIMITS)
    assert again.challenge_passwords == ("newer",)
    assert again.challenge(IDENTITY_LINKING) == ("y",)
    assert again.extensions == csr.extensions
    assert signature_is_valid(again)
    unlinked = linked.without_attribute(CHALLENGE_PASSWORD).without_attribute(IDENTITY_LINKING)
    assert [found.type for found in unlinked.attributes] == [EXTENSION_REQUEST]


def signed_by(kind: str, digest: str | None) -> bytes:
    hash_of = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    ed = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = {
        "ec": spki(p256()),
        "rsa": spki(rsa2048()),
        "ed25519": ed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    }[kind]
    tbs = info(key=key).with_challenge_password("+rrCir/7+EYu50T4").der()
    algorithm = signature_algorithm_for(public_key_facts(key, LIMITS), digest)
    if kind == "ec":
        signature = p256().sign(tbs, ec.ECDSA(hash_of[algorithm.digest or ""]))
    elif kind == "rsa":
        signature = rsa2048().sign(tbs, padding.PKCS1v15(), hash_of[algorithm.digest or ""])
    else:
        signature = ed.sign(tbs)
    return assemble(tbs, algorithm, signature, LIMITS)


SIGNERS = [
    ("ec", None),
    ("ec", "sha384"),
    ("ec", "sha512"),
    ("rsa", None),
    ("rsa", "sha384"),
    ("rsa", "sha512"),
    ("ed25519", None),
]


@pytest.mark.parametrize("kind, digest", SIGNERS)
def test_what_is_assembled_verifies(kind: str, digest: str | None) -> None:
    assert signature_is_valid(parse_cert_request(signed_by(kind, digest), LIMITS))


@pytest.mark.req("EST-142")
@pytest.mark.parametrize("kind, digest", SIGNERS)
def test_a_changed_bit_breaks_a_signature_of_each_kind(kind: str, digest: str | None) -> None:
    changed = signed_by(kind, digest).replace(b"+rrCir/7", b"+rrCis/7")
    assert not signature_is_valid(parse_cert_request(changed, LIMITS))


@pytest.mark.parametrize("kind, digest", SIGNERS)
def test_openssl_verifies_what_is_assembled(
    kind: str, digest: str | None, peer: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "request.der"
    file.write_bytes(signed_by(kind, digest))
    openssl = peer("openssl")
    done = subprocess.run(
        [openssl, "req", "-inform", "DER", "-in", str(file), "-verify", "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "verify OK" in done.stdout + done.stderr
    assert "+rrCir/7+EYu50T4" in done.stdout


def test_assembling_what_nobody_reads_is_the_callers_mistake() -> None:
    algorithm = signature_algorithm_for(public_key_facts(spki(p256()), LIMITS))
    with pytest.raises(LocalProtocolError):
        assemble(b"\x30\x00", algorithm, b"x", LIMITS)
    with pytest.raises(LocalProtocolError):
        assemble(b"", algorithm, b"x", LIMITS)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=16)


# A common name has 64 octets at most.
@given(subject=texts, password=texts, extra=st.lists(st.integers(0, 999), unique=True, max_size=4))
def test_what_is_built_is_read_back(subject: str, password: str, extra: list[int]) -> None:
    extensions = tuple(Extension(oid=f"2.999.{n}", value=bytes((n % 256,))) for n in extra)
    built = CertRequestInfo(subject=name(subject), spki=spki(p256()))
    built = built.with_challenge_password(password)
    if extensions:
        built = built.with_attribute(extension_request(extensions))
    algorithm = signature_algorithm_for(public_key_facts(built.spki, LIMITS))
    csr = parse_cert_request(assemble(built.der(), algorithm, b"\0", LIMITS), LIMITS)
    assert csr.subject == name(subject)
    assert csr.challenge_passwords == (password,)
    assert csr.extensions == extensions
    assert CertRequestInfo.of(csr).der() == built.der()
