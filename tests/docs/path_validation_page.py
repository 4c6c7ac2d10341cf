"""Writes docs/reference/path-validation.md from the cases of x509-limbo: see `COMMAND`."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Final

from est_transports.pki.openssl_store import MAX_CHAIN_DEPTH
from tests.docs.pages import DOCS
from tests.limbo import End, cases, said
from tests.limbo_differences import DIFFERENCES, Difference

COMMAND: Final = "python -m tests.docs.path_validation_page"
PAGE: Final = DOCS / "reference" / "path-validation.md"

HEAD: Final = f"""\
# Path validation

What makes a peer's certificate good enough: a client's at a server, a server's at a client, the
same over TLS and DTLS. Why it is not stricter, or less strict, is told by a
[decision](../decisions/0017-no-stricter-than-what-protects.md).

## The rules

| what | rule |
| --- | --- |
| anchors | a name and a key; any certificate of the operator's may be one, self-signed or not. \
[Explicit and implicit ones](../explanation/trust-and-binding.md) are kept apart |
| path | one, which OpenSSL builds from what the peer sent and the anchors; no more than \
{MAX_CHAIN_DEPTH} intermediates |
| validity | every certificate of the path, the anchor too, is within its period, to the second |
| revocation | where there are lists: each certificate is looked up in that of its issuer, which \
is there and up to date, unless [an option](configuration.md#crls) says otherwise |
| issuers | cA in basicConstraints, keyCertSign where there is keyUsage, pathLenConstraint kept; \
an extendedKeyUsage of a CA has the purpose |
| purpose | no extendedKeyUsage, or one with the purpose: clientAuth for a client, serverAuth or \
id-kp-cmcRA for a server, anyExtendedKeyUsage for both; digitalSignature where there is keyUsage |
| name constraints | of every CA above, for all names that OpenSSL compares; others are refused. \
Below any, a DNS name, a mail address or the host of a URI has to be of the usual form, and no \
wildcard may stand for an excluded name |
| extensions | none that is critical and not understood; each can be read, and occurs once |
| keys | RSA from 2048 bits, P-256, P-384, P-521, Ed25519, Ed448, ML-DSA; on a named curve |
| policies | where a CA between the anchor and the peer requires one, there is one that all have \
(RFC 5280 6.1.5); else they are not looked at |
| signatures | no MD5 and no SHA-1, except on an anchor, whose signature proves nothing |
| host | a client finds the host that it asked for in subjectAltName; a wildcard is the whole \
left-most label and stands for one. RFC 9525 |

## Held against x509-limbo

[x509-limbo](https://x509-limbo.com) is a collection of path validation cases, made to find where
validators differ. Its profile is RFC 5280 to the letter, and the Baseline Requirements of the web's
CAs for the cases called `webpki::`. Each case is shown in a handshake to a client, as the
certificate of its server, and to a server, as that of its client; at the server it is judged for
the purpose that the case is about. Of certificates that come without their key, the path is judged.
"""

_CELLS: Final = {True: "accepted", False: "refused"}


def page() -> str:
    """Return the text of the page."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    yield HEAD
    yield "\n" + fill(_summary(), 100) + "\n"
    for each in DIFFERENCES:
        yield f"\n### {each.title}\n\n{fill(each.why, 100)}\n\n"
        yield "| case | expected | client | server |\n| --- | --- | --- | --- |\n"
        yield from (_row(name, each) for name in each.cases)
    yield f"\nThis page is made from the cases, by showing them: `{COMMAND}`.\n"


def _summary() -> str:
    told = [
        f"{_agreeing(end)} of {sum(end in case.ends for case in cases().values())} at the "
        f"{end.value}"
        for end in End
    ]
    return (
        f"As expected are {' and '.join(told)}. The others have reasons; a dash stands for what is"
        " as expected, or for a certificate of a client, which no client is shown."
    )


def _agreeing(end: End) -> int:
    shown = [case for case in cases().values() if end in case.ends]
    return sum((said(case.id, end) == "") == case.is_accepted for case in shown)


def _row(name: str, reason: Difference) -> str:
    cells = [_cell(name, end) if end in reason.ends else "-" for end in End]
    expected = _CELLS[cases()[name].is_accepted]
    return f"| `{name}` | {expected} | {' | '.join(cells)} |\n"


def _cell(name: str, end: End) -> str:
    text = said(name, end).rpartition("not trusted: ")[2]
    return f"refused: {text}" if text else "accepted"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
