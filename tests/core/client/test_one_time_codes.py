"""One-time codes in the CSR: in which attribute, what becomes of linking, and for which server."""

from __future__ import annotations

import pytest

from est_core import (
    SIMPLEENROLL,
    Channel,
    ChannelBinding,
    ClientExchange,
    ClientSession,
    CodeCredentials,
    CodeSource,
    ConnectRequested,
    LinkWith,
    LocalProtocolError,
    Pending,
    PopMode,
    RedirectRequested,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TlsVersion,
)
from est_core.asn1.attributes import challenge_attribute
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_core.checks.pop import linking_text
from est_core.testing import FIXED_INSTANT
from tests.core.asn1.build import IDENTITY_LINKING, vector
from tests.core.cast import BINDING, LIMITS, csr_der, info, server_channel
from tests.core.client_cast import (
    DEMANDING,
    URI,
    csr_of,
    own_key,
    reached,
    redirected,
    sent,
    take,
)
from tests.pki import pki

PASSWORD, OTP = CodeSource.CHALLENGE_PASSWORD, CodeSource.OTP_CHALLENGE
OF = {PASSWORD: "1.2.840.113549.1.9.7", OTP: "1.2.840.113549.1.9.16.2.56"}
CODE = "7QXK-2M4T-9ZPB"
BOTH = parse_csrattrs(vector("rfc7894/DERIVED-csrattrs-linking-both.der"), LIMITS)
TEXT = linking_text(BINDING)


def enrollment(
    source: CodeSource,
    csrattrs: CsrAttrs | None = None,
    pop: PopMode = PopMode.AUTO,
    text: str = CODE,
) -> ClientExchange:
    client = ClientSession(URI, trust=(pki().ca.certificate,), pop=pop)
    code = CodeCredentials(code=text, source=source)
    return client.enroll(info(own_key()), csrattrs=csrattrs, code=code)


def challenges(csr: CertRequest) -> dict[str, tuple[str, ...]]:
    """What stands in which of the attributes that a code or linking may stand in."""
    oids = (*OF.values(), IDENTITY_LINKING)
    return {oid: csr.challenge(oid) for oid in oids if csr.challenge(oid)}


@pytest.mark.req("EST-188", "EST-194", "EST-196")
@pytest.mark.parametrize(
    ("source", "csrattrs", "pop", "linking"),
    [
        (OTP, None, PopMode.AUTO, OF[PASSWORD]),
        (OTP, DEMANDING, PopMode.ALWAYS, OF[PASSWORD]),
        (OTP, BOTH, PopMode.AUTO, IDENTITY_LINKING),
        (OTP, None, PopMode.NEVER, None),
        (PASSWORD, None, PopMode.AUTO, None),
        (PASSWORD, DEMANDING, PopMode.AUTO, None),
        (PASSWORD, BOTH, PopMode.AUTO, IDENTITY_LINKING),
        (PASSWORD, BOTH, PopMode.ALWAYS, IDENTITY_LINKING),
        (PASSWORD, BOTH, PopMode.NEVER, None),
    ],
)
def test_a_code_has_its_attribute_and_linking_goes_where_it_is_not(
    source: CodeSource, csrattrs: CsrAttrs | None, pop: PopMode, linking: str | None
) -> None:
    csr = csr_of(sent(enrollment(source, csrattrs, pop), reached()))
    linked = {} if linking is None else {linking: (TEXT,)}
    assert challenges(csr) == {OF[source]: (CODE,), **linked}


@pytest.mark.req("EST-194")
@pytest.mark.parametrize(
    ("text", "tag"), [(CODE, 0x13), ("a" * 255, 0x13), ("code_1", 0x0C), ("schlüssel", 0x0C)]
)
def test_a_code_is_a_printable_string_where_it_can_be(text: str, tag: int) -> None:
    csr = csr_of(sent(enrollment(OTP, text=text), reached()))
    (attribute,) = csr.attribute(OF[OTP])
    assert [value[0] for value in attribute.values] == [tag]


@pytest.mark.req("EST-194")
@pytest.mark.parametrize("text", ["", "a" * 256, "\ud800"])
def test_a_code_that_fits_into_no_attribute_is_refused_at_once(text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        enrollment(OTP, text=text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("csrattrs", [None, DEMANDING])
def test_a_code_in_the_place_of_linking_that_is_a_must_is_refused_before_anything_is_sent(
    csrattrs: CsrAttrs | None,
) -> None:
    with pytest.raises(LocalProtocolError, match="no place for the linking"):
        enrollment(PASSWORD, csrattrs, PopMode.ALWAYS)


@pytest.mark.parametrize("link_with", [LinkWith.IDENTITY_LINKING, LinkWith.BOTH])
def test_a_client_may_link_beside_a_code_without_being_asked(link_with: LinkWith) -> None:
    client = ClientSession(
        URI, trust=(pki().ca.certificate,), pop=PopMode.ALWAYS, link_with=link_with
    )
    code = CodeCredentials(code=CODE, source=PASSWORD)
    csr = csr_of(sent(client.enroll(info(own_key()), code=code), reached()))
    assert challenges(csr) == {OF[PASSWORD]: (CODE,), IDENTITY_LINKING: (TEXT,)}


@pytest.mark.parametrize(
    ("csrattrs", "goes_down"), [(None, False), (DEMANDING, False), (BOTH, True)]
)
def test_without_a_place_for_linking_nobody_goes_down_to_tls_1_2(
    csrattrs: CsrAttrs | None, goes_down: bool
) -> None:
    exchange = enrollment(PASSWORD, csrattrs)
    take(exchange, ConnectRequested)
    exchange.connected(server_channel(version=TlsVersion.TLS_1_3))
    event = exchange.next_event()
    assert isinstance(event, ConnectRequested if goes_down else SignatureRequested)


def test_a_code_replaces_what_the_request_had_in_its_place() -> None:
    client = ClientSession(URI, trust=(pki().ca.certificate,))
    for source in CodeSource:
        wanted = info(own_key()).with_attribute(challenge_attribute(OF[source], "old"))
        code = CodeCredentials(code=CODE, source=source)
        csr = csr_of(sent(client.enroll(wanted, code=code), server_channel()))
        assert challenges(csr) == {OF[source]: (CODE,)}


def test_a_request_that_is_signed_takes_no_code() -> None:
    client = ClientSession(URI, trust=(pki().ca.certificate,))
    signed = parse_cert_request(csr_der(own_key()), LIMITS)
    with pytest.raises(LocalProtocolError, match="takes no code"):
        client.enroll(signed, code=CodeCredentials(code=CODE, source=OTP))


@pytest.mark.parametrize("on", [reached(), server_channel()])
def test_a_repeated_request_has_the_same_code(on: Channel) -> None:
    exchange = enrollment(OTP)
    first = csr_of(sent(exchange, on))
    exchange.receive_response(Pending(operation=SIMPLEENROLL), FIXED_INSTANT)
    exchange.handle_timeout(take(exchange, RetryLater).at)
    again = csr_of(sent(exchange, on))
    assert challenges(again)[OF[OTP]] == challenges(first)[OF[OTP]] == (CODE,)


def test_what_is_not_linked_is_signed_once_for_all_channels() -> None:
    exchange = enrollment(PASSWORD)
    first = csr_of(sent(exchange, reached()))
    exchange.receive_response(Pending(operation=SIMPLEENROLL), FIXED_INSTANT)
    exchange.handle_timeout(take(exchange, RetryLater).at)
    take(exchange, ConnectRequested)
    exchange.connected(reached(binding=ChannelBinding(kind=BINDING.kind, data=b"other finish")))
    assert csr_of(take(exchange, SendRequest)) == first


@pytest.mark.req("EST-020")
@pytest.mark.parametrize("source", CodeSource)
def test_a_code_goes_to_no_other_origin(source: CodeSource) -> None:
    exchange = enrollment(source)
    sent(exchange, reached())
    there = "https://other.example/.well-known/est/simpleenroll"
    exchange.receive_response(redirected(SIMPLEENROLL, there), FIXED_INSTANT)
    take(exchange, RedirectRequested)
    exchange.provide_redirect(follow=True)
    assert challenges(csr_of(sent(exchange, reached()))) == {OF[PASSWORD]: (TEXT,)}


def test_a_code_is_not_shown() -> None:
    exchange = enrollment(OTP)
    take(exchange, ConnectRequested)
    exchange.connected(reached())
    event = take(exchange, SignatureRequested)
    assert CODE in repr(event.tbs)
    assert CODE not in repr(event)
    assert CODE not in repr(exchange)
