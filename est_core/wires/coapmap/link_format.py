"""Links in CoRE link format, out of bytes that a server sent. RFC 6690 2.

Read once, from left to right, within bounds: neither the number of links nor what is in one can
make it take more than time in proportion to the size.
"""

from __future__ import annotations

import re
from typing import Final

from est_core._errors import RemoteProtocolError
from est_core.values import unchecked_value_class

MAX_LINKS: Final = 1024
MAX_ATTRIBUTES: Final = 32  # of one link

_TARGET: Final = re.compile(r"\s*<([^<>\s]*)>\s*")
_NAME: Final = re.compile(r";\s*([!#-&*+\-.0-9A-Za-z^_`|~]+\*?)\s*")
_QUOTED: Final = re.compile(r'=\s*"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
_TOKEN: Final = re.compile(r'=\s*([^\s";,<>]+)\s*')
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


@unchecked_value_class
class CoreLink:
    """One link: the reference as it is written, and its resource types (`rt`)."""

    target: str
    resource_types: tuple[str, ...] = ()


def read_links(payload: bytes) -> tuple[CoreLink, ...]:
    """Return the links of a list in their order.

    Raises RemoteProtocolError("coap/link-format") for what is no list of links, and above
    MAX_LINKS or MAX_ATTRIBUTES.
    """
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _broken("it is no UTF-8") from exc
    links: list[CoreLink] = []
    at = 0
    while at < len(text):
        link, at = _link_untrusted(text, at)
        links.append(link)
        if len(links) > MAX_LINKS:
            raise _broken(f"it has more than {MAX_LINKS} links")
        if at < len(text):
            if text[at] != ",":
                raise _broken("a link ends in neither comma nor semicolon")
            at += 1
    return tuple(links)


def _link_untrusted(text: str, at: int) -> tuple[CoreLink, int]:
    """Return the link that starts there, and where it ends."""
    target = _TARGET.match(text, at)
    if target is None:
        raise _broken("a link does not start with a reference in angle brackets")
    at, types = target.end(), None
    for _ in range(MAX_ATTRIBUTES + 1):
        name = _NAME.match(text, at)
        if name is None:
            return CoreLink(target=target[1], resource_types=tuple((types or "").split())), at
        at = name.end()
        value, at = _value_untrusted(text, at)
        if name[1].lower() == "rt" and types is None:  # RFC 6690 3.1: the first one counts
            types = value
    raise _broken(f"a link has more than {MAX_ATTRIBUTES} attributes")


def _value_untrusted(text: str, at: int) -> tuple[str, int]:
    """Return the value of an attribute, "" for one without, and where it ends."""
    if not text.startswith("=", at):
        return "", at
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    token = _TOKEN.match(text, at)
    if token is None:
        raise _broken("an attribute has no value that can be read")
    return token[1], token.end()


def _broken(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        "coap/link-format", f"the server's list of resources cannot be read: {what}"
    )
