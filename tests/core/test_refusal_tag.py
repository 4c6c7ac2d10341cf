"""The tag of a refusal: made, written into a text and read out of it again, on both wires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    AuthChallenge,
    Challenged,
    Fault,
    Instant,
    Limits,
    LocalProtocolError,
    RefusalTag,
    Refused,
    Response,
    coapmap,
    httpmap,
    new_refusal_id,
    read_refusal_id,
)
from est_core.refusal_tag import CODE_CHARS, ID_CHARS, TAG_CHARS, tagged, untagged
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap.server import DIAGNOSTIC_BYTES
from tests.reached import reached, reaches

LIMITS: Final = Limits()
NOW: Final[Instant] = FIXED_INSTANT
TAG: Final = RefusalTag(id="7K3M9QX2TD", code="pop/missing")
REFUSED: Final = Refused(
    operation=CACERTS, fault=Fault.FORBIDDEN, code="pop/missing", reason="no proof", tag=TAG
)
codes = st.sampled_from(["", "pop/missing", "names/not-listed", "a1/b-2", "x/" + "y" * 62])


@reaches(other=90)
@given(chance=st.binary(min_size=7, max_size=7))
def test_an_id_is_ten_characters_that_nobody_mistakes(chance: bytes) -> None:
    made = new_refusal_id(lambda size: chance[:size])
    assert len(made) == ID_CHARS
    assert not set(made) & set("ILOU")
    assert read_refusal_id(made.lower()) == made
    assert RefusalTag(id=made).id == made
    if made != "0" * ID_CHARS:
        reached("other")


def test_what_is_drawn_for_an_id_makes_a_difference() -> None:
    drawn = iter(bytes([number]) * 7 for number in range(256))
    assert len({new_refusal_id(lambda _size: next(drawn)) for _ in range(256)}) == 256


@pytest.mark.parametrize("typed", ["7k3m9qx2td", " 7K3M9QX2TD\n", "7K3M9-QX2TD", "7K3M9 QX2TD"])
def test_an_id_is_read_as_people_write_it(typed: str) -> None:
    assert read_refusal_id(typed) == TAG.id


def test_letters_that_look_like_digits_are_digits() -> None:
    assert read_refusal_id("oOiIlL2345") == "0011112345"


@pytest.mark.parametrize("typed", ["", "7K3M9QX2T", "7K3M9QX2TDX", "7K3M9QX2TU", "\u0661" * 10])
def test_what_is_no_id_is_refused(typed: str) -> None:
    with pytest.raises(LocalProtocolError, match="no id of a refusal"):
        read_refusal_id(typed)


@pytest.mark.parametrize(
    "values",
    [
        {"id": ""},
        {"id": "7k3m9qx2td"},
        {"id": "7K3M9QX2TD\n"},
        {"id": "7K3M9QX2TD", "code": "nonsense"},
        {"id": "7K3M9QX2TD", "code": "x/" + "y" * 63},
    ],
)
def test_a_tag_holds_nothing_that_a_text_could_not(values: dict[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        RefusalTag(**values)


@reaches(told=50)
@given(text=st.text(max_size=80), code=codes)
def test_a_tag_is_read_from_the_text_that_it_was_written_into(text: str, code: str) -> None:
    tag = RefusalTag(id=TAG.id, code=code)
    assert len(tag.text) < TAG_CHARS
    found = untagged(tagged(text, tag))
    assert found == (text.rstrip(), tag)
    if code:
        reached("told")


@reaches(tag=1)
@given(
    text=st.one_of(
        st.text(max_size=200),
        st.builds(
            "{} (code {}, refusal {})".format,
            st.text(max_size=20),
            st.one_of(codes, st.text("abc-/", max_size=CODE_CHARS + 10)),
            st.sampled_from([TAG.id, TAG.id[1:], TAG.id + "0", TAG.id.lower()]),
        ),
    )
)
def test_no_text_of_a_peer_raises_and_what_is_not_a_tag_stays(text: str) -> None:
    shown, tag = untagged(text)
    if tag is None:
        assert shown == text
    else:
        reached("tag")
        assert text.rstrip().endswith(tag.text)


def over_http(response: Response, *, method: bytes = b"GET") -> tuple[bytes, Response]:
    shape = httpmap.reply_shape(httpmap.RequestHead(method=method, target=b"/x"))
    head, body = httpmap.write(response, shape)
    return body, httpmap.read_response(CACERTS, head, body, limits=LIMITS, now=NOW)


def over_coap(response: Response) -> tuple[bytes, Response]:
    head, payload = coapmap.write(response, coapmap.ReplyShape(), now=NOW)
    return payload, coapmap.read_response(CACERTS, head, payload, limits=LIMITS)


@pytest.mark.parametrize("carry", [over_http, over_coap])
@pytest.mark.req("EST-280")
def test_a_refusal_has_its_tag_at_the_end_of_its_text_and_a_client_reads_both(
    carry: Callable[[Response], tuple[bytes, Response]],
) -> None:
    sent, response = carry(REFUSED)
    assert sent.rstrip() == b"no proof (code pop/missing, refusal 7K3M9QX2TD)"
    assert (response.reason, response.tag) == ("no proof", TAG)
    sent, response = carry(replace(REFUSED, tag=None))
    assert (sent.rstrip(), response.reason, response.tag) == (b"no proof", "no proof", None)


def test_without_a_body_the_id_is_in_a_header() -> None:
    asked = Challenged(operation=CACERTS, challenges=(AuthChallenge(scheme="Basic"),), tag=TAG)
    for response, method in ((REFUSED, b"HEAD"), (asked, b"GET")):
        body, read = over_http(response, method=method)
        assert body == b""
        assert read.tag == RefusalTag(id=TAG.id)


@pytest.mark.parametrize("value", [b"", b"7k3m9qx2td", b"7K3M9QX2TD; x", b"\xff" * 10])
def test_a_header_that_holds_no_id_is_none(value: bytes) -> None:
    head = httpmap.ResponseHead(status=403, phrase=b"x", headers=((b"est-refusal-id", value),))
    response = httpmap.read_response(CACERTS, head, b"no", limits=LIMITS, now=NOW)
    assert (response.reason, response.tag) == ("no", None)


def test_the_longest_text_is_cut_and_its_tag_is_not() -> None:
    long = replace(REFUSED, reason="\u00e9" * LIMITS.error_text_chars)
    payload, response = over_coap(long)
    assert len(payload) <= DIAGNOSTIC_BYTES
    assert response.tag == TAG
    assert set(response.reason) == {"\u00e9"}
    _, response = over_http(long)
    assert (response.reason, response.tag) == (long.reason, TAG)
