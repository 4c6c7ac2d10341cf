"""Objects of tokens that SoftHSM does not make: other mechanisms, points without their wrapping."""

from __future__ import annotations

from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.types import PrivateKey, SignMixin

from est_core import Limits
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_transports.pki import LocalSigner, Pkcs11Uri, TokenError
from est_transports.pki.token_objects import public_key_of, sign
from tests.transports.ca_fakes import ec_key

RSA = rsa.generate_private_key(65537, 2048)
P_256 = bytes.fromhex("06082a8648ce3d030107")
POINT = bytes.fromhex("04") + b"".join(
    number.to_bytes(32, "big")
    for number in (
        ec_key().public_key().public_numbers().x,
        ec_key().public_key().public_numbers().y,
    )
)


class FakeKey(PrivateKey, SignMixin):
    """A key of a token that has one mechanism, and the attributes that it is given."""

    @property
    def id(self) -> bytes:
        return b"\x01"

    @property
    def key_type(self) -> KeyType:
        return self.kind

    def __init__(self, kind: KeyType, has: Any = None, **attributes: Any) -> None:
        self.kind = kind
        self.has = has
        self.attributes = {Attribute[name]: value for name, value in attributes.items()}
        self.attributes[Attribute.KEY_TYPE] = kind

    def __getitem__(self, name: Any) -> Any:
        try:
            return self.attributes[name]
        except KeyError:
            raise pkcs11.AttributeTypeInvalid from None

    def sign(self, data: Any, mechanism: Any = None, **_more: Any) -> bytes:
        if mechanism is not self.has:
            raise pkcs11.MechanismInvalid
        match mechanism:
            case Mechanism.SHA256_RSA_PKCS:
                return RSA.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case Mechanism.RSA_PKCS:
                assert len(data) == 19 + 32, "a DigestInfo"
                return RSA.sign(data[19:], padding.PKCS1v15(), Prehashed(hashes.SHA256()))
            case Mechanism.ECDSA:
                return raw(ec_key().sign(data, ec.ECDSA(Prehashed(hashes.SHA256()))))
            case _:
                return raw(ec_key().sign(data, ec.ECDSA(hashes.SHA256())))


def raw(signature: bytes) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))


@pytest.mark.parametrize("has", ["SHA256_RSA_PKCS", "RSA_PKCS", "ECDSA", "ECDSA_SHA256"])
def test_a_token_that_hashes_and_one_that_is_given_the_hash_sign_alike(has: str) -> None:
    local = LocalSigner(RSA if "RSA" in has else ec_key())
    algorithm = signature_algorithm_for(public_key_facts(local.public_key_spki, Limits()))
    key = FakeKey(KeyType.RSA if "RSA" in has else KeyType.EC, Mechanism[has])
    signature = sign(key, b"tbs", algorithm, None)
    if "RSA" in has:
        RSA.public_key().verify(signature, b"tbs", padding.PKCS1v15(), hashes.SHA256())
    else:
        ec_key().public_key().verify(signature, b"tbs", ec.ECDSA(hashes.SHA256()))


def test_without_any_mechanism_that_fits_its_error_passes() -> None:
    algorithm = signature_algorithm_for(
        public_key_facts(LocalSigner(RSA).public_key_spki, Limits())
    )
    with pytest.raises(pkcs11.MechanismInvalid):
        sign(FakeKey(KeyType.RSA), b"tbs", algorithm, None)
    with pytest.raises(TypeError):
        sign(object(), b"tbs", algorithm, None)  # type: ignore[arg-type]  # what is refused


class NoObjects:
    def get_objects(self, _wanted: object) -> Any:
        return iter(())


def read(key: FakeKey) -> bytes:
    return public_key_of(NoObjects(), key, Pkcs11Uri())  # type: ignore[arg-type]  # all it needs


@pytest.mark.parametrize("point", [POINT, b"\x04\x41" + POINT], ids=["bare", "inside"])
def test_a_point_is_read_inside_an_octet_string_and_bare(point: bytes) -> None:
    key = FakeKey(KeyType.EC, EC_PARAMS=P_256, EC_POINT=point)
    assert read(key) == LocalSigner(ec_key()).public_key_spki


@pytest.mark.parametrize(
    "key",
    [
        FakeKey(KeyType.EC, EC_PARAMS=P_256),
        FakeKey(KeyType.EC, EC_PARAMS=b"\x05\x00", EC_POINT=POINT),
        FakeKey(KeyType.EC, EC_PARAMS=P_256, EC_POINT=b"\x04"),
        FakeKey(KeyType.EC, EC_PARAMS=P_256, EC_POINT=b"\x04\x81"),
        FakeKey(KeyType.EC, EC_PARAMS=P_256, EC_POINT=b"\x04\x41" + POINT[:-1]),
        FakeKey(KeyType.EC, EC_PARAMS=P_256, EC_POINT=b"\x04" + bytes(64)),
        FakeKey(KeyType.EC_EDWARDS, EC_PARAMS=b"\x13\x0cedwards25519", EC_POINT=b"\x04\x20x"),
        FakeKey(KeyType.DSA, EC_PARAMS=P_256, EC_POINT=POINT),
        FakeKey(KeyType.RSA, MODULUS=b"", PUBLIC_EXPONENT=b"\x03"),
        FakeKey(KeyType.AES),
    ],
)
def test_what_is_no_public_key_is_refused(key: FakeKey) -> None:
    with pytest.raises(TokenError) as caught:
        read(key)
    assert caught.value.code == "token/unsupported-key"
