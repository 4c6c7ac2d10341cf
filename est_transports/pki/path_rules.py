"""Rules for a verified path that OpenSSL does not have: constraints on names, and on policies.

OpenSSL holds every name against the constraints above it, letter by letter, and so lets names pass
that are used as if they were excluded ones: a wildcard that stands for an excluded host
(CVE-2025-61727 is that one, in another library), or a host with a space or a dot at its end, which
whoever compares hosts drops. `est_core.checks.constraints` knows them, for a CA does not issue them
either. So where there are constraints the names of the peer's certificate are held against them
once more. Of the certificates above nobody uses the names, and OpenSSL's word is enough.

policyConstraints can require a certificate policy and is critical. OpenSSL passes over it unless it
is told to evaluate policies; it then wants to be told which are acceptable, for which pyOpenSSL has
no way, and calls the verify callback without a certificate, with which pyOpenSSL ends the process.
So that is done here too.

Hardly any path has either, and what a CA certificate has of them is remembered: without any, this
costs two look-ups for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509

from est_core import LocalProtocolError
from est_core.values import unchecked_value_class
from est_transports.pki.certificate_checks import UNREADABLE
from est_transports.pki.certificates import shown

if TYPE_CHECKING:  # else it is loaded by the first CA with constraints: most clients meet none
    from est_core.checks.constraints import ConstrainedName, NameConstraints

_KNOWN_MAX: Final = 256  # CAs of verified paths, which are the same few in every handshake
_MAX_COMPARISONS: Final = 1 << 15  # names by subtrees; OpenSSL stops at 2^20, and is faster
_SHOWN_CHARS: Final = 64
_ANY_POLICY: Final = "2.5.29.32.0"
_POLICY_MAPPINGS: Final = x509.ObjectIdentifier("2.5.29.33")
WITHOUT_POLICY: Final = "without the certificate policy that a CA of its path requires"


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


# --- Certificate policies -------------------------------------------------------------------------


@unchecked_value_class
class _Stated:
    """What a certificate says of policies: its own, and after how many they are required below."""

    policies: frozenset[str]
    required_after: int | None
    maps: bool


def policy_flaw(path: Sequence[x509.Certificate]) -> str:
    """Return why a path lacks the certificate policy that a CA of it requires, or "".

    Any policy will do that all certificates below the anchor have. What is mapped to another counts
    for any, and anyPolicy does so even where it is inhibited: neither lets a certificate pass that
    has no policy. `path` as above. RFC 5280 4.2.1.11, 6.1.
    """
    if all(_known_statement(each).required_after is None for each in path[1:-1]):
        return ""
    acceptable: frozenset[str] | None = None  # any
    without = len(path)  # so many certificates may still go without: explicit_policy, RFC 5280 6.1
    for at in range(len(path) - 2, -1, -1):
        certificate, stated = path[at], _statement(path[at])
        if _ANY_POLICY not in stated.policies:
            has = stated.policies
            acceptable = has if acceptable is None else acceptable & has
        if without == 0 and acceptable == frozenset():
            return WITHOUT_POLICY
        if stated.maps and acceptable:
            acceptable = None
        if at == 0 or certificate.subject != certificate.issuer:
            without = max(0, without - 1)
        if stated.required_after is not None and (at or stated.required_after == 0):
            without = min(without, stated.required_after)
    return WITHOUT_POLICY if without == 0 and acceptable == frozenset() else ""


def _statement(certificate: x509.Certificate) -> _Stated:
    policies: frozenset[str] = frozenset()
    required_after, maps = None, False
    for extension in certificate.extensions:
        match extension.value:
            case x509.CertificatePolicies() as found:
                policies = frozenset(each.policy_identifier.dotted_string for each in found)
            case x509.PolicyConstraints() as constraints:
                required_after = constraints.require_explicit_policy
            case _:
                maps = maps or extension.oid == _POLICY_MAPPINGS
    return _Stated(policies=policies, required_after=required_after, maps=maps)


_known_statement: Final = lru_cache(maxsize=_KNOWN_MAX)(_statement)
