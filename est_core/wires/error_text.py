"""What people are shown of the body of a refusal: a line of text, whatever was sent.

Refusals often come from a proxy in front of the server, as a page of HTML. Of a page the title is
shown, or else the first sentence. It is scanned once from left to right, so that no body takes
more than linear time. Of a problem in JSON (RFC 9457) the title and the detail are shown.
"""

from __future__ import annotations

import re
from typing import Final

from est_core.model import shown_text
from est_core.refusal_tag import TAG_CHARS, RefusalTag, untagged

_SCANNED_BYTES: Final = 16 * 1024
"""Of a body; titles stand at the top."""
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
_PROBLEM_TYPE: Final = "application/problem+json"
_HTML_START: Final = re.compile(r"\s*(?:<!doctype\s+html|<html|<head|<body|<title)", re.IGNORECASE)
_NO_TEXT_TYPES: Final = ("application/pkcs", "application/octet-stream", "application/csrattrs")
_NO_TEXT_MAIN_TYPES: Final = ("multipart", "image", "audio", "video", "font")
_TAG_NAME: Final = re.compile(r"/?[a-z0-9]+")
_NOT_TEXT: Final = frozenset({"script", "style", "template", "noscript"})
"""Elements whose content is never shown."""
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s")


def error_text(body: bytes, max_chars: int, content_type: str = "") -> str:
    """Return text of a refusal's body that may be printed, at most `max_chars` long.

    Of HTML, by its media type or how it begins, the title, or the first sentence where there is
    none. Of application/problem+json title and detail, where it has one of them. What is not
    printable becomes a blank. Nothing of a body whose media type is no text, as that of
    certificates in an answer that is not 200.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith(_NO_TEXT_TYPES) or media_type.partition("/")[0] in _NO_TEXT_MAIN_TYPES:
        return ""
    text = body[:_SCANNED_BYTES].decode("utf-8", "replace")
    if media_type in _HTML_TYPES or _HTML_START.match(text):
        text = _text_of_html(text)
    elif media_type == _PROBLEM_TYPE:
        text = _text_of_problem(text)
    return shown_text(text, max_chars)


def refusal_text(
    body: bytes, max_chars: int, content_type: str = ""
) -> tuple[str, RefusalTag | None]:
    """Return what `error_text` does without the tag at its end, and the tag."""
    text, tag = untagged(error_text(body, max_chars + TAG_CHARS, content_type))
    return text[:max_chars].rstrip(), tag


def _text_of_problem(text: str) -> str:
    """Return title and detail of a problem, the text where it is none. RFC 9457 3.1.3, 3.1.4."""
    from json import loads  # hardly ever

    try:
        problem = loads(text)
    except (ValueError, RecursionError):
        return text
    members = [problem.get(name) for name in ("title", "detail")] if type(problem) is dict else []
    return ": ".join(each for each in members if isinstance(each, str) and each.strip()) or text


def _text_of_html(page: str) -> str:
    title, body = _title_and_body(page)
    if line := _one_line(title):
        return line
    return _SENTENCE_END.split(_one_line(body))[0]


def _title_and_body(page: str) -> tuple[str, str]:
    """Return the content of the first title, and all other text, without markup."""
    lower, title, texts, at = page.lower(), "", [], 0
    while (start := page.find("<", at)) >= 0:
        texts.append(page[at:start])
        comment = page.startswith("<!--", start)
        closing = "-->" if comment else ">"
        end = page.find(closing, start)
        if end == -1:
            return title, " ".join(texts)
        at = end + len(closing)
        match = _TAG_NAME.match(lower, start + 1)
        name = match[0] if match else ""
        if name == "title" or name in _NOT_TEXT:
            stop = lower.find(f"</{name}", at)
            if stop == -1:
                stop = len(page)
            content, at = page[at:stop], stop
            if name == "title":
                title = title or content
    texts.append(page[at:])
    return title, " ".join(texts)


def _one_line(text: str) -> str:
    from html import unescape  # with a table of 2231 names

    return " ".join(unescape(text).split())
