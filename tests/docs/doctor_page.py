"""Writes docs/reference/doctor.md from the table of checks: see `COMMAND`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from est_transports.doctor import CHECKS, SUBJECTS, Check
from tests.docs.pages import DOCS

COMMAND: Final = "python -m tests.docs.doctor_page"
PAGE: Final = DOCS / "reference" / "doctor.md"

HEAD: Final = """\
# Checks of `est doctor`

What [`est doctor`](cli.md#est-doctor) looks at, what that means, and what to do where it is not
well. [How to examine a server](../how-to/examine-a-server.md) shows it. From Python, it is
`est_transports.doctor`.

A finding is `ok`; a `note`, where a client of some make minds, or an option shows; a `warning`,
where it is against advice; a `fault`, where it is against a rule, or clients fail; or
`not-judged`, with the reason. A check that cannot be judged stops no other.

The connections are made one after the other, and there are at most 60, with at most 60 requests;
it takes about 10 and 15. The body of every POST is an empty SEQUENCE, which holds no name, no key
and no signature: no certificate can be made of it. A password, a token or a certificate is shown
to a server that was verified, and to no other, and no redirect is followed.
"""

_TITLES: Final = {
    "reach": "Names and addresses",
    "tls": "TLS",
    "certificate": "The server's certificate",
    "clock": "Clocks",
    "http": "HTTP",
    "cacerts": "CA certificates",
    "csrattrs": "CSR attributes",
    "login": "Logging in",
    "paths": "Paths and refusals",
    "options": "Optional operations",
    "coaps": "EST over CoAP",
}


def page() -> str:
    """Return the text of the page."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    yield HEAD
    for subject in SUBJECTS:
        yield f"\n## {_TITLES[subject]}\n\n"
        yield "| check | what is wanted | what it means | what to do |\n| --- | --- | --- | --- |\n"
        yield from (_row(check) for check in CHECKS if check.subject == subject)
    yield f"\nThis page is made from the checks: `{COMMAND}`.\n"


def _row(check: Check) -> str:
    cells = (f"`{check.name}`", check.title, check.means, check.do)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
