"""Why linking failed: what the refusal says of a wrong value, and of a channel without binding."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from est_core import Channel, RemoteProtocolError, TlsVersion
from est_core.asn1.attributes import challenge_attribute
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.checks.pop import check_linking, linking_text
from tests.core.asn1.build import CHALLENGE_PASSWORD, IDENTITY_LINKING
from tests.core.cast import BINDING, EXPORTER, LIMITS, channel, info, sign
from tests.pki import new_key

KEY = new_key()
ON_1_2 = channel()
ON_1_3 = channel(version=TlsVersion.TLS_1_3, binding=EXPORTER)
UNBOUND_1_2 = replace(ON_1_2, binding=None)
UNBOUND_1_3 = replace(ON_1_3, binding=None)
WITHOUT_EMS = replace(UNBOUND_1_2, extended_master_secret=False)
FINISHED = "it has the length of a Finished message of TLS 1.3, which is no binding"


def octets(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def told(on: Channel, *values: tuple[str, str], codes: bool = False) -> str:
    """What the refusal of a CSR with these linking values says."""
    attributes = tuple(challenge_attribute(oid, text) for oid, text in values)
    csr = parse_cert_request(sign(replace(info(KEY), attributes=attributes), KEY), LIMITS)
    with pytest.raises(RemoteProtocolError) as caught:
        check_linking(csr, on, required=True, tolerant=False, codes=codes)
    return caught.value.message


@pytest.mark.req("EST-183", "CB-026")
@pytest.mark.parametrize(
    ("on", "text", "cause"),
    [
        (ON_1_2, linking_text(BINDING) + "AAAA", "it has 15 bytes, and tls-unique has 12"),
        (ON_1_2, linking_text(BINDING)[:-4], "it has 9 bytes, and tls-unique has 12"),
        (ON_1_2, octets(32), "it has 32 bytes, and tls-unique has 12"),
        (ON_1_3, octets(12), "it has 12 bytes, and tls-exporter has 32"),
        (ON_1_2, BINDING.data.hex()[:-1], "it is no base64 without line breaks"),
        (ON_1_2, linking_text(BINDING) + "\n", "it is no base64 without line breaks"),
        (ON_1_2, "schlüssel", "it is no base64 without line breaks"),
        (ON_1_2, octets(12), ""),
        (
            replace(ON_1_2, resumed=True),
            octets(12),
            "in a resumed session the server's Finished message is the first (RFC 5929 3.1)",
        ),
        (replace(ON_1_3, resumed=True), octets(32), ""),
        (ON_1_2, octets(48), f"{FINISHED}, and this connection is TLSv1.2"),
        (ON_1_3, octets(48), FINISHED),
        (UNBOUND_1_2, octets(32), f"{FINISHED}, and this connection is TLSv1.2"),
        (UNBOUND_1_3, octets(32), f"{FINISHED} and of tls-exporter, which is not turned on here"),
        (UNBOUND_1_3, octets(12), "TLS 1.3 has no tls-unique (RFC 9266)"),
        (UNBOUND_1_2, octets(12), "this connection has none"),
        (
            WITHOUT_EMS,
            octets(12),
            "this connection has none: it is without extended master secret (RFC 7627)",
        ),
    ],
)
def test_the_refusal_says_what_a_wrong_value_looks_like(on: Channel, text: str, cause: str) -> None:
    for oid, name in (
        (CHALLENGE_PASSWORD, "challengePassword"),
        (IDENTITY_LINKING, "estIdentityLinking"),
    ):
        message = told(on, (oid, text))
        head, _, tail = message.partition("; ")
        assert head.endswith(f"{name} is not the channel binding of this connection")
        assert tail == cause
        assert text not in message


def test_of_two_linking_attributes_the_one_that_is_wrong_is_named() -> None:
    right, wrong = linking_text(BINDING), octets(12)
    both = told(ON_1_2, (CHALLENGE_PASSWORD, right), (IDENTITY_LINKING, wrong))
    assert "estIdentityLinking is not the channel binding" in both
    both = told(ON_1_2, (CHALLENGE_PASSWORD, wrong), (IDENTITY_LINKING, right))
    assert "challengePassword is not the channel binding" in both


@pytest.mark.req("EST-180")
@pytest.mark.parametrize(
    ("on", "cause"),
    [
        (ON_1_2, ""),
        (UNBOUND_1_3, "TLS 1.3 has no tls-unique (RFC 9266)"),
        (UNBOUND_1_2, "this connection has none"),
        (
            WITHOUT_EMS,
            "this connection has none: it is without extended master secret (RFC 7627)",
        ),
    ],
)
def test_a_missing_link_is_asked_for_in_the_attribute_that_is_free(on: Channel, cause: str) -> None:
    for codes, name in ((False, "challengePassword"), (True, "estIdentityLinking")):
        head, _, tail = told(on, codes=codes).partition("; ")
        assert head.endswith(f"put the channel binding into {name}")
        assert tail == cause
