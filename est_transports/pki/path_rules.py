"""Rules for a verified path that OpenSSL does not have: name constraints to the end.

OpenSSL holds every name against the constraints above it, letter by letter, and so lets names pass
that are used as if they were excluded ones: a wildcard that stands for an excluded host
(CVE-2025-61727 is that one, in another library), or a host with a space or a dot at its end, which
whoever compares hosts drops. `est_core.checks.constraints` knows them, for a CA does not issue them
either. So where there are constraints the names of the peer's certificate are held against them
once more. Of the certificates above nobody uses the names, and OpenSSL's word is enough.

Hardly any path has constraints, and what a CA certificate has of them is remembered: without any,
this costs a look-up per certificate of the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509

from est_core import LocalProtocolError
from est_transports.pki.certificate_checks import UNREADABLE
from est_transports.pki.certificates import shown

if TYPE_CHECKING:  # else it is loaded by the first CA with constraints: most clients meet none
    from est_core.checks.constraints import ConstrainedName, NameConstraints

_KNOWN_MAX: Final = 256  # CAs of verified paths, which are the same few in every handshake
_MAX_COMPARISONS: Final = 1 << 15  # names by subtrees; OpenSSL stops at 2^20, and is faster
_SHOWN_CHARS: Final = 64


def name_flaw(path: Sequence[x509.Certificate]) -> str:
    """Return which name of a certificate is kept out by constraints above it, and why, or "".

    `path` is one that OpenSSL verified, the peer's certificate first, and each of its certificates
    can be read. RFC 5280 4.2.1.10.
    """
    names: tuple[ConstrainedName, ...] = ()
    for issuer in path[1:]:
        constraints = _known_constraints(issuer)
        if constraints is None:
            continue
        names = names or tuple(_names(path[0]))
        if text := _flaw_of(names, constraints):
            return f"{text}, by the name constraints of {shown(issuer)}"
    return ""


def _flaw_of(names: tuple[ConstrainedName, ...], constraints: NameConstraints) -> str:
    subtrees = len(constraints.permitted) + len(constraints.excluded)
    if len(names) * subtrees > _MAX_COMPARISONS:
        return f"has {len(names)} names, too many to be held against {subtrees}"
    for name in names:
        if problem := constraints.violation(name):
            return f"{_quoted(name.text)} {problem}"
    return ""


def _names(certificate: x509.Certificate) -> Iterator[ConstrainedName]:
    from est_core.checks.constraints import constrained_names

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = None
    return constrained_names(certificate.subject, found)


def _quoted(text: str) -> str:
    """Return a name that nobody vouches for, with its spaces seen, fit for a line of the log."""
    return ascii(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")


def _constraints_of(certificate: x509.Certificate) -> NameConstraints | None:
    try:
        certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE:  # then the path has failed already; nothing is permitted below it
        pass
    from est_core.checks.constraints import NameConstraints, NameKind, Subtree, name_constraints

    try:
        return name_constraints(certificate)
    except LocalProtocolError:
        unread = (Subtree(kind=kind, base=None, text="(cannot be read)") for kind in NameKind)
        return NameConstraints(permitted=tuple(unread))


_known_constraints: Final = lru_cache(maxsize=_KNOWN_MAX)(_constraints_of)
