"""Addresses of EST servers: what people may write, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import OPERATIONS, EstUri, Label, LocalProtocolError, Operation
from tests.damage import damaged_text
from tests.reached import reaches, refusals

BASE = "https://est.example"


@pytest.mark.req("EST-009")
@pytest.mark.parametrize(
    ("text", "port", "label"),
    [
        ("https://est.example", 443, None),
        ("https://est.example/", 443, None),
        ("https://est.example:443", 443, None),
        ("https://est.example:8443/", 8443, None),
        ("https://est.example:/", 443, None),
        ("HTTPS://est.example", 443, None),
        ("https://est.example/printers", 443, "printers"),
        ("https://est.example/printers/", 443, "printers"),
        ("https://est.example/.well-known/est", 443, None),
        ("https://est.example/.well-known/est/", 443, None),
        ("https://est.example:8443/.well-known/est/printers", 8443, "printers"),
        ("https://est.example/%70rinters", 443, "printers"),
        ("coaps://est.example", 5684, None),
        ("coaps://est.example:5685/printers", 5685, "printers"),
    ],
)
def test_a_uri_is_an_authority_or_the_prefix_and_perhaps_a_label(
    text: str, port: int, label: str | None
) -> None:
    uri = EstUri.parse(text)
    assert (uri.host, uri.port) == ("est.example", port)
    assert uri.label == (None if label is None else Label(label))
    assert uri.scheme == text.partition(":")[0].lower()


@pytest.mark.parametrize(
    ("text", "host", "authority"),
    [
        ("https://[::1]", "::1", "[::1]"),
        ("https://[2001:db8::1]:8443/printers", "2001:db8::1", "[2001:db8::1]:8443"),
        ("https://192.0.2.1:444", "192.0.2.1", "192.0.2.1:444"),
        ("https://Est.Example", "Est.Example", "Est.Example"),
        ("https://est.example.", "est.example.", "est.example."),
        ("https://est_1.example", "est_1.example", "est_1.example"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_a_dns_name_or_an_ip_literal(text: str, host: str, authority: str) -> None:
    uri = EstUri.parse(text)
    assert (uri.host, uri.authority) == (host, authority)


@pytest.mark.req("EST-052", "EST-008", "EST-037")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "est.example",
        "http://est.example",
        "coap://est.example",
        "ftp://est.example",
        "//est.example",
        "https://",
        "https:///printers",
        "https://user@est.example",
        "https://user:secret@est.example",
        "https://est.example?x",
        "https://est.example/printers?x",
        "https://est.example#x",
        "https://est.example/a b",
        "https://est.example/a\\b",
        "https://est example",
        "https://est.example\n",
        "https://est.example:0",
        "https://est.example:65536",
        "https://est.example:-1",
        "https://est.example:https",
        "https://est.example:٤٤٣",
        "https://est.example:443:443",
        "https://::1",
        "https://[::1",
        "https://[::1]x",
        "https://[::1]x:443",
        "https://[est.example]",
        "https://[192.0.2.1]",
        "https://[fe80::1%25eth0]",
        "https://bücher.example",
        "https://-est.example",
        "https://est..example",
        f"https://{'a' * 64}.example",
        f"https://{'a.' * 127}example",
        "https://est.example/a/b",
        "https://est.example//printers",
        "https://est.example/cacerts",
        "https://est.example/.well-known",
        "https://est.example/.well-known/est/a/b",
        "https://est.example/.well-known/est/cacerts",
        "https://est.example/..",
        "https://est.example/%2e%2e",
        "https://est.example/a%2Fb",
        "https://est.example/%FF",
        "https://est.example/" + "a" * 129,
        "https://est.example/" + "a" * 2048,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        EstUri.parse(text)


def test_a_uri_may_have_as_many_characters_as_the_limit() -> None:
    assert EstUri.parse("https://est.example".ljust(2048, "/")) == EstUri.parse(BASE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coaps://user:secret@est.example", "no user in a URI"),
        ("coaps://::1:8443", "write an IPv6 address in brackets"),
        ("https://::1", "write an IPv6 address in brackets"),
        ("https://est.example?x", "no query"),
        ("https:est.example", "starts with https:// or coaps://"),
        ("https://est.example".ljust(2049, "/"), "the URI is too long"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        EstUri.parse(text)


@pytest.mark.parametrize(
    ("host", "port", "scheme"),
    [("est.example", 0, "https"), ("est.example", 443, "http"), ("", 443, "https")],
)
def test_a_uri_cannot_be_built_from_impossible_parts(host: str, port: int, scheme: str) -> None:
    with pytest.raises(LocalProtocolError):
        EstUri(host=host, port=port, scheme=scheme)


@pytest.mark.req("EST-019", "EST-020")
def test_an_origin_is_scheme_lower_case_host_and_port() -> None:
    origin = EstUri.parse(BASE).origin
    assert origin == ("https", "est.example", 443)
    for same in ("https://EST.example:443/printers", "https://est.example/.well-known/est"):
        assert EstUri.parse(same).origin == origin
    for other in ("https://est.example:444", "https://www.est.example", "coaps://est.example:443"):
        assert EstUri.parse(other).origin != origin


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_a_full_uri_names_server_and_operation(operation: Operation) -> None:
    plain, labelled = EstUri.parse(BASE), EstUri.parse(f"{BASE}/printers")
    path = f"{BASE}/.well-known/est"
    assert EstUri.parse_operation(f"{path}/{operation.name}") == (plain, operation.name)
    assert EstUri.parse_operation(f"{path}/{operation.name}/") == (plain, operation.name)
    assert EstUri.parse_operation(f"{path}/printers/{operation.name}") == (labelled, operation.name)


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        f"{BASE}/.well-known/est",
        f"{BASE}/.well-known/est/printers",
        f"{BASE}/cacerts",
        f"{BASE}/printers/cacerts",
        f"{BASE}/.well-known/cacerts",
        f"{BASE}/.well-known/est/CACERTS",
        f"{BASE}/.well-known/est//cacerts",
        f"{BASE}/.well-known/est/a/b/cacerts",
        f"{BASE}/.well-known/est/cacerts?x",
        "http://est.example/.well-known/est/cacerts",
        "/.well-known/est/cacerts",
    ],
)
def test_an_operation_needs_the_whole_path(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        EstUri.parse_operation(text)


HOSTS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z]{1,9}){0,3}", fullmatch=True),
    st.ip_addresses().map(str),
)
URIS = st.builds(
    EstUri,
    host=HOSTS,
    port=st.integers(1, 65535),
    label=st.none() | st.from_regex(r"[a-z0-9_~-]{10,20}", fullmatch=True).map(Label),
    scheme=st.sampled_from(["https", "coaps"]),
)


@given(uri=URIS)
def test_a_uri_survives_being_written_and_read(uri: EstUri) -> None:
    assert EstUri.parse(str(uri)) == uri


GOOD_URIS = (
    "https://est.example",
    "https://est.example:8443/.well-known/est/printers",
    "coaps://[2001:db8::1]/.well-known/est",
    "https://192.0.2.1/.well-known/est/simpleenroll",
    "/.well-known/est/printers/cacerts",
)


@reaches(accepted=5)
@given(text=damaged_text(GOOD_URIS, "a1:/.[]%@?#é \0"))
def test_reading_raises_nothing_but_local_protocol_error(text: str) -> None:
    for parse in (EstUri.parse, EstUri.parse_operation):
        with refusals(error=LocalProtocolError):
            parse(text)
