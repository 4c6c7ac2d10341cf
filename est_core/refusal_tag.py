"""What an answer that refuses carries to be found again: a short id, and its error code.

It stands at the end of the text that people are shown, in words that both ends know::

    there is no proof of possession (code pop/missing, refusal 7K3M9QX2TD)

so that it goes wherever a text goes: CoAP has no place for it but the diagnostic payload. An id
names one refusal in a server's log. It is no secret and opens nothing.
"""

from __future__ import annotations

import re
from typing import Final

from est_core._errors import LocalProtocolError, check_code
from est_core._instant import Entropy
from est_core.arguments import checked
from est_core.values import value_class

ID_CHARS: Final = 10
"""50 bits: of a million refusals two have the same id with a chance of 1 in 2,000."""
CODE_CHARS: Final = 64
TAG_CHARS: Final = len(" (code , refusal )") + CODE_CHARS + ID_CHARS
"""The longest text of a tag, with the blank before it."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_BITS: Final = 5
_SPELLING: Final = re.compile(rf"[{_ALPHABET}]{{{ID_CHARS}}}")
_AS_TYPED: Final = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})
_AT_END: Final = re.compile(
    r"\((?:code (?P<code>[a-z][a-z0-9]*(?:-[a-z0-9]+)*/[a-z0-9]+(?:-[a-z0-9]+)*), )?"
    rf"refusal (?P<id>{_SPELLING.pattern})\)\s*\Z"
)


@value_class
class RefusalTag:
    """The id of one refusal, and its error code where that is told; "" where it is not.

    LocalProtocolError for an id that `new_refusal_id` cannot have made, and for a code that is
    none or longer than CODE_CHARS.
    """

    id: str
    code: str = ""

    def __post_init__(self) -> None:
        if not _SPELLING.fullmatch(self.id):
            raise LocalProtocolError(f"{self.id[:64]!r} is no id of a refusal")
        if self.code:
            check_code(self.code)
            if len(self.code) > CODE_CHARS:
                raise LocalProtocolError(f"a code has at most {CODE_CHARS} characters here")

    @property
    def text(self) -> str:
        """What stands at the end of the text of the refusal."""
        return f"(code {self.code}, refusal {self.id})" if self.code else f"(refusal {self.id})"


@checked
def new_refusal_id(entropy: Entropy) -> str:
    """Return an id for one refusal: ten letters and digits that are hard to mistake."""
    number = int.from_bytes(entropy(7), "big")
    return "".join(_ALPHABET[number >> (_BITS * place) & 0x1F] for place in range(ID_CHARS))


@checked
def read_refusal_id(text: str) -> str:
    """Return the id that somebody typed or was told: in either case, I and L as 1, O as 0.

    Raises LocalProtocolError for anything else.
    """
    found = text.strip().upper().translate(_AS_TYPED)
    if not _SPELLING.fullmatch(found):
        raise LocalProtocolError(
            f"{text[:64]!r} is no id of a refusal: that is {ID_CHARS} letters and digits"
        )
    return found


def tagged(text: str, tag: RefusalTag | None) -> str:
    """Return a refusal's text with its tag behind it."""
    if tag is None:
        return text
    return f"{text} {tag.text}" if text else tag.text


def untagged(text: str) -> tuple[str, RefusalTag | None]:
    """Return the text that a peer sent without the tag at its end, and the tag; None without one.

    Never raises.
    """
    found = _AT_END.search(text[-2 * TAG_CHARS :])
    if found is None or len(found["code"] or "") > CODE_CHARS:
        return text, None
    length = len(found[0])
    return text[:-length].rstrip(), RefusalTag(id=found["id"], code=found["code"] or "")


def tag_of_field(value: str) -> RefusalTag | None:
    """Return the tag that a header field of a peer's holds, None for what is no id."""
    return RefusalTag(id=value) if _SPELLING.fullmatch(value) else None
