"""Inputs that are nearly good: published or made ones, and what a few other octets make of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st


def times(most: int) -> st.SearchStrategy[int]:
    """How often: not at all in a third of the cases, so that some good ones are left."""
    return st.sampled_from([0] * most + list(range(1, most + 1)) * 2)


@st.composite
def damaged(draw: st.DrawFn, good: Sequence[bytes], changes: int = 2) -> bytes:
    """One of these with some octets of other values, or now and then more or fewer octets.

    A third is undamaged: what accepts nothing proves nothing.
    """
    raw = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(times(changes))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        length = draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
        raw[at : at + 1] = bytes(
            draw(st.lists(st.integers(0, 255), min_size=length, max_size=length))
        )
    return bytes(raw)


@st.composite
def damaged_text(draw: st.DrawFn, good: Sequence[str], alphabet: str, changes: int = 2) -> str:
    """One of these with some characters of the alphabet in the place of others, or between."""
    text = draw(st.sampled_from(good))
    for _ in range(draw(times(changes))):
        at = draw(st.integers(0, len(text)))
        skipped = draw(st.integers(0, 1))
        text = text[:at] + draw(st.text(alphabet, max_size=2)) + text[at + skipped :]
    return text
