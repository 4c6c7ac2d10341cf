"""Writes docs/reference/errors.md from the table of error codes: see `COMMAND`."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from est_core.error_codes import Audience, ErrorCode
from est_transports.error_codes import SECTIONS
from tests.docs.pages import DOCS

COMMAND: Final = "python -m tests.docs.errors_page"
PAGE: Final = DOCS / "reference" / "errors.md"

HEAD: Final = f"""\
# Error codes

Every error that a peer can cause has a code `area/reason`. Codes are stable: programs may compare
them, logs carry them. The text beside a code is for people and may change. A code that a server
decided on is in its log, and stands at the end of the text that a refused client gets, with the id
by which the log has that refusal: `(code pop/missing, refusal 7K3M9QX2TD)`. `est` prints
the code behind its error, and the remedy as its hint: the same on both ends.

*Status* is what a server answers when it is the one that found the error; `-` where the error is a
client's finding and no answer is sent, or where the status depends on where the error was found.
*Who* can do what the remedy says: the *{Audience.USER.value}* runs the client, the \
*{Audience.OPERATOR.value}*
runs the server, the *{Audience.AUTHOR.value}* writes the program that sent what was refused.

The application's own codes (`Deny`, `Postpone`, `Fail`) follow the same form and are the
application's to document; those of the reference CA are here. Clients are not told codes that are
not on this page: their authors wrote them for the log.

In Python, `est_transports.error_codes.find_error_code(code)` returns a row of this page.

This page is made from the table in the sources: `{COMMAND}`.
"""


def page() -> str:
    """Return the text of the page."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    yield HEAD
    for section in SECTIONS:
        yield f"\n## {section.title}\n\n"
        if section.note:
            yield fill(section.note, 100) + "\n\n"
        yield "| code | cause | remedy | who | status |\n| --- | --- | --- | --- | --- |\n"
        yield from map(_row, section.codes)


def _row(entry: ErrorCode) -> str:
    statuses = ", ".join(entry.statuses) or "-"
    cells = f"`{entry.code}`", entry.cause, entry.remedy, entry.audience.value, statuses
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
