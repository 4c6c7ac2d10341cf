"""The check of linking against all that a CSR may hold: each attribute alone, and together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    SIMPLEENROLL,
    Authentication,
    Channel,
    Fault,
    Instant,
    Outcome,
    PolicyRow,
    Refused,
    RemoteProtocolError,
    Request,
    TlsVersion,
    default_policy,
)
from est_core.asn1.attributes import Attribute
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_core.checks.pop import check_linking, linking_text
from tests.answers import one_of
from tests.core.asn1.build import CHALLENGE_PASSWORD, IDENTITY_LINKING, attribute, signed, tlv
from tests.core.cast import BINDING, EXPORTER, LIMITS, channel, finish, info, receive, sign
from tests.pki import new_key
from tests.reached import reached, reaches

KEY = new_key()
UTF8, PRINTABLE, IA5, T61 = 0x0C, 0x13, 0x16, 0x14
OTP, REVOCATION = "1.2.840.113549.1.9.16.2.56", "1.2.840.113549.1.9.16.2.57"
TEXTS: Final = {"tls-unique": linking_text(BINDING), "tls-exporter": linking_text(EXPORTER)}
WRONG: Final = (
    TEXTS["tls-unique"] + "AAAA",  # the right beginning
    TEXTS["tls-unique"][:-4],
    TEXTS["tls-exporter"][:16],
    "one-time code",
)
CHANNELS: Final = (
    channel(),
    channel(version=TlsVersion.TLS_1_3, binding=EXPORTER),
    channel(version=TlsVersion.TLS_1_3, binding=None),
    replace(channel(), version=TlsVersion.DTLS_1_2, resumed=True),
)
OPEN: Final = (PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.OPEN),)


@dataclass(frozen=True)
class Held:
    """Values that a request holds in attributes of one type, each in an attribute of its own."""

    values: tuple[str, ...]
    tag: int

    def attributes(self, oid: str) -> tuple[Attribute, ...]:
        return tuple(
            Attribute(type=oid, values=(tlv(self.tag, value.encode()),)) for value in self.values
        )


held = st.builds(
    Held,
    values=st.one_of(
        st.just(()),
        st.tuples(st.sampled_from([*TEXTS.values(), *WRONG])),
        st.tuples(*[st.sampled_from([*TEXTS.values(), *WRONG])] * 2),
    ),
    tag=st.sampled_from([UTF8, PRINTABLE, IA5, T61]),
)


def expected(
    password: Held, linking: Held, on: Channel, *, required: bool, tolerant: bool, codes: bool
) -> str:
    """What RFC 7030 3.5 and RFC 7894 4 say, said once more in other words."""
    bound = "" if on.binding is None else TEXTS[on.binding.kind.value]
    looked_at = [set(password.values), set(linking.values)]
    if any(len(values) > 1 for values in looked_at):
        return "pop/ambiguous"
    if codes and looked_at[0] != {bound}:
        looked_at = looked_at[1:]  # the other is a code
    there = [values for values in looked_at if values]
    if there and all(values == {bound} for values in there):
        return "linked"
    if there and not tolerant:
        return "pop/mismatch"
    return "pop/missing" if required else "not linked"


def csr(*attributes: Attribute) -> CertRequest:
    return parse_cert_request(sign(replace(info(KEY), attributes=attributes), KEY), LIMITS)


@pytest.mark.req("EST-136", "EST-170", "EST-190", "EST-191", "CB-010")
@reaches(linked=4, mismatch=10, missing=10, ambiguous=20, not_linked=10)
@given(
    password=held,
    linking=held,
    otp=held,
    revocation=held,
    on=st.sampled_from(CHANNELS),
    rules=st.fixed_dictionaries(
        {name: st.booleans() for name in ("required", "tolerant", "codes")}
    ),
)
def test_each_linking_attribute_is_judged_alone_and_all_have_to_be_right(
    password: Held,
    linking: Held,
    otp: Held,
    revocation: Held,
    on: Channel,
    rules: dict[str, bool],
) -> None:
    request = csr(
        *password.attributes(CHALLENGE_PASSWORD),
        *otp.attributes(OTP),
        *linking.attributes(IDENTITY_LINKING),
        *revocation.attributes(REVOCATION),
    )
    verdict = expected(password, linking, on, **rules)
    reached(verdict.removeprefix("pop/").replace(" ", "_"))
    refusal = None
    try:
        linked = check_linking(request, on, **rules)
    except RemoteProtocolError as error:
        refusal = error
    if refusal is None:
        assert ("linked" if linked else "not linked") == verdict
        return
    assert (refusal.code, refusal.fault) == (verdict, Fault.FORBIDDEN)
    assert not any(value in refusal.message for value in (*TEXTS.values(), *WRONG))


# Values that are no text


@pytest.mark.req("EST-175", "EST-183", "EST-194")
@pytest.mark.parametrize("oid", [CHALLENGE_PASSWORD, IDENTITY_LINKING, OTP])
@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        (tlv(0x02, b"\x01"), "attribute/string", "is no string but INTEGER"),
        (tlv(0x04, TEXTS["tls-unique"].encode()), "attribute/string", "is no string but OCTET"),
        (tlv(0x30), "attribute/string", "is no string but SEQUENCE"),
        (tlv(UTF8), "attribute/string", "is empty"),
        (tlv(UTF8, b"\xff"), "attribute/string", "holds octets that no UTF8String has"),
        (tlv(PRINTABLE, b"A" * 256), "attribute/too-long", "has 256 characters"),
        (tlv(PRINTABLE, b"A" * 5000), "attribute/too-long", "has 5004 bytes"),
    ],
)
def test_a_challenge_that_is_no_text_is_named_with_what_is_wrong(
    oid: str, value: bytes, code: str, says: str, now: Instant
) -> None:
    names = {CHALLENGE_PASSWORD: "challengePassword", IDENTITY_LINKING: "estIdentityLinking"}
    request = Request(operation=SIMPLEENROLL, payload=signed(attribute(oid, value)))
    by = replace(default_policy(), rows=OPEN)
    refusal = one_of(Refused, finish(receive(request, now, policy=by)))
    assert (refusal.code, refusal.outcome) == (code, Outcome.FAULT)
    assert f"{names.get(oid, 'otpChallenge')} ({oid}) {says}" in refusal.reason
