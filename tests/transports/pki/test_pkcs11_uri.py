"""pkcs11: URIs: RFC 7512, sentence by sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_transports.pki import Pkcs11Uri, TokenError
from est_transports.pki.pkcs11_uri import MAX_ATTRIBUTES, MAX_URI_CHARACTERS, is_pkcs11_uri
from tests.reached import reached, reaches

# RFC 7512 3 has these examples, among others.
EXAMPLES = {
    "pkcs11:": Pkcs11Uri(),
    "pkcs11:object=my-pubkey;type=public": Pkcs11Uri(object="my-pubkey", type="public"),
    "pkcs11:object=my-key;type=private?pin-source=file:/etc/token": Pkcs11Uri(
        object="my-key", type="private", pin_source="file:/etc/token"
    ),
    "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc."
    ";model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial="
    "?pin-source=file:/etc/token_pin": Pkcs11Uri(
        token="The Software PKCS#11 Softtoken",
        manufacturer="Snake Oil, Inc.",
        model="1.0",
        object="my-certificate",
        type="cert",
        id=bytes.fromhex("69953e5cf4bdec91"),
        serial="",
        pin_source="file:/etc/token_pin",
    ),
    "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11": Pkcs11Uri(
        object="my-sign-key", type="private", module_name="mypkcs11"
    ),
    "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1": Pkcs11Uri(
        object="my-sign-key", type="private", module_path="/mnt/libmypkcs11.so.1"
    ),
    "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc."
    "?pin-value=the-pin": Pkcs11Uri(
        token="Software PKCS#11 softtoken", manufacturer="Snake Oil, Inc.", pin_value="the-pin"
    ),
    "pkcs11:slot-description=Sun%20Metaslot;slot-id=327": Pkcs11Uri(
        slot_description="Sun Metaslot", slot_id=327
    ),
    "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library"
    ";library-version=1.23": Pkcs11Uri(
        library_manufacturer="Snake Oil, Inc.",
        library_description="Soft Token Library",
        library_version="1.23",
    ),
    "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate": Pkcs11Uri(
        token="A name with a substring %;", object="my-certificate"
    ),
    "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1": Pkcs11Uri(
        token="Name with a small A with acute: \u00e1"
    ),
    "pkcs11:slot-manufacturer=x;id=?module-path=/a&vendor-x=1": Pkcs11Uri(
        slot_manufacturer="x", id=b"", module_path="/a", unknown=("vendor-x",)
    ),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_rfc_are_read(text: str) -> None:
    assert Pkcs11Uri.parse(text) == EXAMPLES[text]


@pytest.mark.parametrize("text", EXAMPLES)
def test_what_was_read_is_written_and_read_again(text: str) -> None:
    uri = Pkcs11Uri.parse(text)
    again = Pkcs11Uri.parse(str(uri))
    assert {**vars_of(again), "unknown": ()} == {**vars_of(uri), "unknown": (), "pin_value": None}


def vars_of(uri: Pkcs11Uri) -> dict[str, object]:
    return {name: getattr(uri, name) for name in Pkcs11Uri.__dataclass_fields__}


def test_the_scheme_is_in_any_case() -> None:
    assert Pkcs11Uri.parse("PKCS11:token=x") == Pkcs11Uri(token="x")
    assert is_pkcs11_uri("Pkcs11:")
    assert not is_pkcs11_uri("/etc/pkcs11:")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("token=x", "does not begin with pkcs11:"),
        ("file:/key.pem", "does not begin with pkcs11:"),
        ("pkcs11:token=a;token=b", "token twice"),
        ("pkcs11:?pin-source=/a&pin-source=/b", "pin-source twice"),
        ("pkcs11:?pin-source=/a&pin-value=1", "both pin-source and pin-value"),
        ("pkcs11:token=a b", "the value of token has characters"),
        ("pkcs11:token=a/b", "the value of token has characters"),
        ("pkcs11:token=%4", "the value of token has characters"),
        ("pkcs11:token=%FF", "the value of token is not UTF-8"),
        ("pkcs11:token=a%00b", "cannot be printed"),
        ("pkcs11:object=%1B[31m", "cannot be printed"),
        ("pkcs11:token", "attribute 1 of its path is not NAME=VALUE"),
        ("pkcs11:token=a;", "attribute 2 of its path is not NAME=VALUE"),
        ("pkcs11:=a", "attribute 1 of its path is not NAME=VALUE"),
        ("pkcs11:?a=1&&b=2", "attribute 2 of its query is not NAME=VALUE"),
        ("pkcs11:Token=a", "Token, which is no attribute that is known"),
        ("pkcs11:x-vendor=a", "x-vendor, which is no attribute that is known"),
        ("pkcs11:token=a;pin-source=file:%2Fpin", "pin-source stands behind a question mark"),
        ("pkcs11:?object=a", "object stands before the question mark"),
        ("pkcs11:type=key", "type is none of public, private, cert"),
        ("pkcs11:slot-id=one", "slot-id is not a number"),
        ("pkcs11:slot-id=99999999999", "slot-id is not a number"),
        ("pkcs11:library-version=1.2.3", "library-version is not"),
        ("pkcs11:" + "a" * MAX_URI_CHARACTERS, "more than 4096 characters"),
        ("pkcs11:" + ";".join(["a=b"] * (MAX_ATTRIBUTES + 1)), "more than 32 attributes"),
    ],
)
def test_what_is_no_uri_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(TokenError) as caught:
        Pkcs11Uri.parse(text)
    assert caught.value.code == "token/bad-uri"
    assert reason in caught.value.message


def test_no_pin_is_shown() -> None:
    uri = Pkcs11Uri.parse("pkcs11:token=a?pin-value=473829")
    assert uri.pin_value == "473829"
    assert "473829" not in repr(uri) + str(uri) + f"{uri}"
    for text in ("pkcs11:token=a?pin-value=47 38", "pkcs11:a?pin-value=473829"):
        with pytest.raises(TokenError) as caught:
            Pkcs11Uri.parse(text)
        assert "47" not in caught.value.message


def test_a_key_is_named_within_its_token() -> None:
    uri = Pkcs11Uri.parse("pkcs11:object=a%3Bb?module-path=/m.so&pin-value=1")
    named = uri.naming(token="t k", label="a;b", key_id=b"\x01\xff")
    assert str(named) == (
        "pkcs11:token=t%20k;object=a%3Bb;type=private;id=%01%FF?module-path=/m.so"
    )


NAMES = ("token", "object", "id", "type", "slot-id", "x-vendor", "pin-source", "module-path")
VALUES = st.one_of(
    st.sampled_from(["private", "7", "%C3%A4", "%00", "a b", "/a", ""]),
    st.binary(max_size=4).map(lambda raw: "".join(f"%{octet:02x}" for octet in raw)),
)
PARTS = st.lists(st.builds("{}={}".format, st.sampled_from(NAMES), VALUES), max_size=1)


@reaches(read=10, refused=40)
@given(path=PARTS, query=PARTS, junk=st.sampled_from(["", "", "", ";", "?", "%"]))
def test_nothing_but_a_token_error_escapes(path: list[str], query: list[str], junk: str) -> None:
    text = f"pkcs11:{';'.join(path)}{junk}?{'&'.join(query)}"
    try:
        uri = Pkcs11Uri.parse(text)
    except TokenError:
        reached("refused")
        return
    reached("read")
    again = Pkcs11Uri.parse(str(uri))
    assert {**vars_of(again), "unknown": ()} == {**vars_of(uri), "unknown": ()}
