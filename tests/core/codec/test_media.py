"""Media types: read by meaning, compared without regard to spelling, written exactly."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Fault, LocalProtocolError, RemoteProtocolError
from est_core.codec.media import MAX_CHARS, MAX_PARAMETERS, MediaType, parse_media_type
from tests.damage import damaged_text
from tests.reached import reaches, refusals

TOKENS: Final = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12)
VALUES: Final = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
    | st.just("\t"),
    max_size=20,
)
MEDIA_TYPES: Final = st.builds(
    MediaType,
    type=TOKENS.map(str.lower),
    subtype=TOKENS.map(str.lower),
    parameters=st.dictionaries(TOKENS.map(str.lower), VALUES, max_size=4).map(
        lambda found: tuple(found.items())
    ),
)

CERTS_ONLY: Final = "application/pkcs7-mime; smime-type=certs-only"


@pytest.mark.req("EST-015")
@pytest.mark.parametrize(
    "spelling",
    [
        "application/pkcs7-mime; smime-type=certs-only",
        "application/pkcs7-mime;smime-type=certs-only",
        "application/pkcs7-mime ; smime-type=certs-only",
        " application/pkcs7-mime\t;\tsmime-type=certs-only ",
        'application/pkcs7-mime; smime-type="certs-only"',
        r'application/pkcs7-mime; smime-type="certs\-only"',
        "Application/PKCS7-MIME; SMIME-Type=Certs-Only",
        "application/pkcs7-mime; smime-type=certs-only;",
        "application/pkcs7-mime; ; smime-type=certs-only ; ",
        "application/pkcs7-mime; charset=utf-8; smime-type=certs-only; name=a.p7",
    ],
)
def test_every_spelling_matches(spelling: str) -> None:
    media = parse_media_type(spelling)
    assert media.essence == "application/pkcs7-mime"
    assert media.matches(CERTS_ONLY)
    assert media.matches("application/pkcs7-mime")
    assert media.matches(parse_media_type(CERTS_ONLY))


@pytest.mark.parametrize(
    "other",
    [
        "application/x-pkcs7-mime; smime-type=certs-only",
        "application/pkcs7-mime; smime-type=CMC-response",
        "application/pkcs7-mime",
        "application/pkcs7-mime; x-smime-type=certs-only",
    ],
)
@pytest.mark.req("EST-015")
def test_another_type_or_parameter_does_not_match(other: str) -> None:
    assert not parse_media_type(other).matches(CERTS_ONLY)


def test_a_missing_parameter_is_not_an_empty_one() -> None:
    assert not parse_media_type("a/b").matches('a/b; c=""')
    assert parse_media_type('a/b; c=""').matches('a/b; c=""')


def test_the_boundary_keeps_its_case_and_loses_its_quotes() -> None:
    media = parse_media_type('multipart/mixed ; BOUNDARY="Est \\"B\\" 1"')
    assert media.get("Boundary") == 'Est "B" 1'
    assert media.get("charset") is None


def test_octets_beyond_ascii_may_stand_in_quotes() -> None:
    assert parse_media_type('a/b; name="\xfc\t"').get("name") == "\xfc\t"


@pytest.mark.req("EST-015")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("application", id="no subtype"),
        pytest.param("application/", id="empty subtype"),
        pytest.param("/pkcs10", id="empty type"),
        pytest.param("application / pkcs10", id="space around the slash"),
        pytest.param("application/pkcs10, text/plain", id="two types"),
        pytest.param("application/pkcs10 charset=utf-8", id="no semicolon"),
        pytest.param("application/pkcs10; charset", id="no value"),
        pytest.param("application/pkcs10; charset=", id="empty value"),
        pytest.param("application/pkcs10; charset = utf-8", id="space around ="),
        pytest.param("application/pkcs10; =utf-8", id="no name"),
        pytest.param('application/pkcs10; a="b', id="quote not closed"),
        pytest.param('application/pkcs10; a="b\\"', id="closing quote escaped"),
        pytest.param('application/pkcs10; a="b"c', id="text after a quote"),
        pytest.param('application/pkcs10; a="b\nc"', id="LF in quotes"),
        pytest.param('application/pkcs10; a="b\\\nc"', id="escaped LF"),
        pytest.param('application/pkcs10; a="b\0c"', id="NUL in quotes"),
        pytest.param('application/pkcs10; a="\u0100"', id="not an octet"),
        pytest.param("application/pkcs10\n", id="LF at the end"),
        pytest.param("application/\xe4", id="not ASCII"),
        pytest.param("application/pkcs10; a=1; A=2", id="parameter twice"),
        pytest.param("a/b" + " " * MAX_CHARS, id="too long"),
        pytest.param("a/b" + "".join(f";p{n}=1" for n in range(MAX_PARAMETERS + 1)), id="too many"),
    ],
)
def test_refuses_what_is_no_media_type(value: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_media_type(value)
    assert caught.value.code == "media/malformed"
    assert caught.value.fault is Fault.MEDIA_TYPE


def test_as_many_parameters_as_allowed_are_read() -> None:
    value = "a/b" + "".join(f";p{n}=1" for n in range(MAX_PARAMETERS))
    assert len(parse_media_type(value).parameters) == MAX_PARAMETERS


def test_writes_the_spelling_that_every_client_reads() -> None:
    media = MediaType(
        type="application",
        subtype="pkcs7-mime",
        parameters=(("smime-type", "certs-only"),),
    )
    assert str(media) == CERTS_ONLY


def test_quotes_only_where_they_are_needed() -> None:
    media = MediaType(type="a", subtype="b", parameters=(("c", "d e"), ("f", ""), ("g", 'h"\\')))
    assert str(media) == 'a/b; c="d e"; f=""; g="h\\"\\\\"'


@pytest.mark.parametrize(
    "type_, subtype, parameters",
    [
        ("a b", "c", ()),
        ("a", "c\r\nX: y", ()),
        ("a", "", ()),
        ("a", "b", (("c d", "e"),)),
        ("a", "b", (("c", "d\r\nX: y"),)),
        ("a", "b", (("c", "\u0100"),)),
    ],
)
def test_what_cannot_be_sent_cannot_be_made(
    type_: str, subtype: str, parameters: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(LocalProtocolError):
        MediaType(type=type_, subtype=subtype, parameters=parameters)


def test_a_bad_pattern_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        parse_media_type("a/b").matches("a")


@given(media=MEDIA_TYPES)
def test_what_is_written_reads_back_the_same(media: MediaType) -> None:
    assert parse_media_type(str(media)) == media
    assert media.matches(str(media))


@reaches(accepted=10)
@given(value=damaged_text([CERTS_ONLY, 'multipart/mixed; boundary="a\\"b"'], 'a/;="\\ \t,\x80'))
def test_only_a_remote_protocol_error_escapes(value: str) -> None:
    with refusals():
        parse_media_type(value)


def test_truncation_at_every_character_reads_or_is_refused() -> None:
    value = 'multipart/mixed ; boundary="a\\"b" ; smime-type=certs-only'
    for end in range(len(value)):
        with suppress(RemoteProtocolError):
            assert parse_media_type(value[:end]) != parse_media_type(value)
