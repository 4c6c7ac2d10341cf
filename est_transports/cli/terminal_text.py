"""Text made fit for a terminal: in one line, with nothing in it that a terminal obeys."""

from __future__ import annotations


def terminal_safe(text: str) -> str:
    """Return text with everything that a terminal might obey replaced by "?"."""
    return "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: str) -> str:
    """Return text with its line breaks and runs of blanks made single blanks."""
    return " ".join(text.split())
