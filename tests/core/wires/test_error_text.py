"""What is shown of a refusal's body: text as it is, of a page its title or first sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core.wires.error_text import error_text
from tests.reached import reached, reaches

CHARS = 60


@pytest.mark.parametrize(
    "body, shown",
    [
        (b"", ""),
        (b"try later\r\n", "try later"),
        (b"the CN must be < 64 characters", "the CN must be < 64 characters"),
        (b"<x509> is not valid", "<x509> is not valid"),
        (b"\x1b[31mred\x07", "[31mred"),
        (b"<html><title>403 Forbidden</title><body>no</body></html>", "403 Forbidden"),
        (
            b"<!DOCTYPE html>\n<HTML><TITLE lang=en>\n 502\n Bad  Gateway </TITLE>",
            "502 Bad Gateway",
        ),
        (b"\r\n <head><title>a &lt; b &#38; &eacute;</title>", "a < b & \u00e9"),
        (b"<html><title>\x1b]0;x\x07&#27;[2J&#x202e;no</title>", "]0;x [2J no"),
        (
            b"<html><head><title></title><style>p { color: red }</style></head>"
            b"<body><h1>Not</h1> <p>allowed. Ask the owner.</p></body></html>",
            "Not allowed.",
        ),
        (b"<html><script>var a = '</p>';</script><p>No way!\nReally", "No way!"),
        (b"<html><!-- <title>hidden</title> --><p>Seen", "Seen"),
        (b"<html><title>the first</title><svg><title>another</title></svg>", "the first"),
        (b"<html><p>at the top." + b" " * 16384 + b"<title>far below</title>", "at the top."),
        (b"<html><body>cut off <b", "cut off"),
        (b"<html><script>never closed", ""),
        (b"<html><title>never closed", "never closed"),
        (b"<html>" + b"word " * 100, ("word " * 100)[:CHARS].rstrip()),
    ],
)
def test_what_is_shown_of_a_body(body: bytes, shown: str) -> None:
    assert error_text(body, CHARS).rstrip() == shown


def test_a_media_type_says_that_it_is_a_page() -> None:
    fragment = b"<h1>Forbidden</h1>"
    assert error_text(fragment, CHARS, "text/plain") == "<h1>Forbidden</h1>"
    assert error_text(fragment, CHARS, "Text/HTML; charset=utf-8") == "Forbidden"
    assert error_text(fragment, CHARS, "application/xhtml+xml") == "Forbidden"


@pytest.mark.parametrize(
    "media_type",
    [
        "application/pkcs7-mime; smime-type=certs-only",
        "Application/PKCS10",
        "application/octet-stream",
        "application/csrattrs",
        "multipart/mixed",
        "image/png",
    ],
)
def test_what_is_no_text_is_not_shown(media_type: str) -> None:
    assert error_text(b"MIIB", CHARS, media_type) == ""


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/json", "nonsense"])
def test_what_may_be_text_is_shown(media_type: str) -> None:
    assert error_text(b"MIIB", CHARS, media_type) == "MIIB"


MARKUP = st.lists(
    st.sampled_from(
        [*"<>/&;#!- .", "<!--", "-->", "<title>", "</title>", "<script", "</script>", "&#27;"]
    )
    | st.text(max_size=4)
).map("".join)


@reaches(shown=30, cut=10)
@given(body=MARKUP.map(str.encode) | st.binary(max_size=200), chars=st.integers(1, 40))
def test_whatever_came_can_be_printed_and_is_no_longer_than_said(body: bytes, chars: int) -> None:
    for content_type in ("", "text/html"):
        shown = error_text(body, chars, content_type)
        assert shown == "" or shown.isprintable()
        assert len(shown) <= chars
        reached(*(["shown"] if shown else []), *(["cut"] if len(shown) == chars else []))


PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    "body, shown",
    [
        (
            b'{"title":"Out of credit","detail":"Your balance is 30."}',
            "Out of credit: Your balance is 30.",
        ),
        (b'{"type":"about:blank","title":"Forbidden","status":403}', "Forbidden"),
        (b'{"detail":"bad"}', "bad"),
        (b'{"detail":"\\u001b[31mred\\ud800"}', " [31mred "),
        (b'{"title":1,"detail":["a"]}', '{"title":1,"detail":["a"]}'),
        (b'{"title":" "}', '{"title":" "}'),
        (b"{}", "{}"),
        (b"[1]", "[1]"),
        (b"null", "null"),
        (b"no JSON", "no JSON"),
        (b'{"title":"cut', '{"title":"cut'),
        (b"[" * 5000, "[" * CHARS),
        (b"9" * 5000, "9" * CHARS),
    ],
)
def test_of_a_problem_title_and_detail_are_shown(body: bytes, shown: str) -> None:
    """RFC 9457. What is none, or cut at its end, is shown as it is."""
    assert error_text(body, CHARS, f"{PROBLEM}; charset=utf-8").strip() == shown[:CHARS].strip()


def test_other_json_is_shown_as_it_is() -> None:
    assert error_text(b'{"detail":"bad"}', CHARS, "application/json") == '{"detail":"bad"}'
