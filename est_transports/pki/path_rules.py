"""Rules for a verified path that OpenSSL does not have: constraints on names, and on policies.

OpenSSL holds every name against the constraints above it, letter by letter, and so lets names pass
that are used as if they were excluded ones: a wildcard that stands for an excluded host
(CVE-2025-61727 is that one, in another library), or a host with a space or a dot at its end, which
whoever compares hosts drops. `est_core.checks.constraints` knows them, for a CA does not issue them
either. So where there are constraints the names of the peer's certificate are looked at once more.
Of the certificates above nobody uses the names, and OpenSSL's word is enough.

policyConstraints can require a certificate policy and is critical. OpenSSL passes over it unless it
is told to evaluate policies; it then wants to be told which are acceptable, for which pyOpenSSL has
no way, and calls the verify callback without a certificate, with which pyOpenSSL ends the process.
So that is done here too.

Hardly any CA has either, and what its certificate says is remembered: without any, this costs one
look-up for each. With names and subtrees by the hundred it takes a time that grows with their sum,
and not with their product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509

from est_core import LocalProtocolError
from est_core.values import unchecked_value_class
from est_transports.pki.certificate_checks import UNREADABLE
from est_transports.pki.certificates import shown

if TYPE_CHECKING:  # else it is loaded by the first CA with constraints: most clients meet none
    from est_core.checks.constraints import ConstrainedName, NameConstraints, NameKind

_KNOWN_MAX: Final = 256  # CAs of verified paths, which are the same few in every handshake
_SHOWN_CHARS: Final = 64
_WILDCARD: Final = "*."
_ANY_POLICY: Final = "2.5.29.32.0"
_POLICY_MAPPINGS: Final = x509.ObjectIdentifier("2.5.29.33")
WITHOUT_POLICY: Final = "without the certificate policy that a CA of its path requires"


@unchecked_value_class
class _NameRules:
    """Name constraints of a CA, and what of them is asked for each name.

    `constraints` is None where they cannot be read. `kinds` are the kinds of names that they are
    about. `siblings` are the domains one label above an excluded host: a wildcard in one of them
    stands for that host too.
    """

    constraints: NameConstraints | None
    kinds: frozenset[NameKind] = frozenset()
    siblings: frozenset[str] = frozenset()


@unchecked_value_class
class _Rules:
    """What a CA demands of the certificates below it; None for what it does not demand.

    A policy is required after so many certificates.
    """

    names: _NameRules | None
    policy_after: int | None


def path_flaw(path: Sequence[x509.Certificate]) -> str:
    """Return which rule of a CA above it a certificate breaks, in a few words, or "".

    `path` is one that OpenSSL verified, the peer's certificate first, and each of its certificates
    can be read. RFC 5280 4.2.1.10, 4.2.1.11.
    """
    if not any(map(_known_rules, path[1:])):
        return ""
    return name_flaw(path) or policy_flaw(path)


def name_flaw(path: Sequence[x509.Certificate]) -> str:
    """Return which name of a certificate the constraints above it keep out, and why, or "".

    `path` as above.
    """
    names: tuple[ConstrainedName, ...] = ()
    for issuer in path[1:]:
        rules = _known_rules(issuer)
        if rules is not None and rules.names is not None:
            names = names or tuple(_names(path[0]))
            if text := _kept_out(names, rules.names):
                return f"{text}, by the name constraints of {shown(issuer)}"
    return ""


def _kept_out(names: Iterable[ConstrainedName], rules: _NameRules) -> str:
    from est_core.checks.constraints import NameKind, is_well_formed

    if rules.constraints is None:
        return "is kept out by what cannot be read"
    for name in names:
        if name.kind not in rules.kinds:
            continue
        domain = _domain_of_wildcard(name) if name.kind is NameKind.DNS else ""
        # Only of these OpenSSL's word is not enough.
        if domain in rules.siblings or not is_well_formed(name):
            problem = rules.constraints.violation(name)
            if problem:
                return f"{_quoted(name.text)} {problem}"
    return ""


def _domain_of_wildcard(name: ConstrainedName) -> str:
    host = str(name.value)
    return host.removeprefix(_WILDCARD).lower() if host.startswith(_WILDCARD) else ""


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


def _rules_of(certificate: x509.Certificate) -> _Rules | None:
    names = _name_rules_of(certificate)
    if names is not None and names.constraints is None:
        return _Rules(names=names, policy_after=None)
    policy_after = _stated(certificate).policy_after
    if names is None and policy_after is None:
        return None
    return _Rules(names=names, policy_after=policy_after)


def _name_rules_of(certificate: x509.Certificate) -> _NameRules | None:
    try:
        certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE:
        return _NameRules(constraints=None)
    from est_core.checks.constraints import NameKind, name_constraints

    try:
        constraints = name_constraints(certificate)
    except LocalProtocolError:
        return _NameRules(constraints=None)
    if constraints is None:
        return None
    subtrees = (*constraints.permitted, *constraints.excluded)
    hosts = (str(each.base) for each in constraints.excluded if each.kind is NameKind.DNS)
    return _NameRules(
        constraints=constraints,
        kinds=frozenset(each.kind for each in subtrees),
        siblings=frozenset(host.lower().partition(".")[2] for host in hosts) - {""},
    )


_known_rules: Final = lru_cache(maxsize=_KNOWN_MAX)(_rules_of)


# --- Certificate policies -------------------------------------------------------------------------


@unchecked_value_class
class _Stated:
    """What a certificate says of policies: its own, and after how many one is required below."""

    policies: frozenset[str]
    policy_after: int | None
    maps: bool


def policy_flaw(path: Sequence[x509.Certificate]) -> str:
    """Return why a path lacks the certificate policy that a CA of it requires, or "".

    Any policy will do that all certificates below the anchor have. What is mapped to another counts
    for any, and anyPolicy does so even where it is inhibited: neither lets a certificate pass that
    has no policy. `path` as above. RFC 5280 4.2.1.11, 6.1.
    """
    demands = (_known_rules(each) for each in path[1:-1])  # the anchor is a name and a key
    if not any(rules is not None and rules.policy_after is not None for rules in demands):
        return ""
    acceptable: frozenset[str] | None = None  # any
    without = len(path)  # so many certificates may still go without: explicit_policy, RFC 5280 6.1
    for at in range(len(path) - 2, -1, -1):
        certificate, stated = path[at], _stated(path[at])
        if _ANY_POLICY not in stated.policies:
            has = stated.policies
            acceptable = has if acceptable is None else acceptable & has
        if without == 0 and acceptable == frozenset():
            return WITHOUT_POLICY
        if stated.maps and acceptable:
            acceptable = None
        if at == 0 or certificate.subject != certificate.issuer:
            without = max(0, without - 1)
        if stated.policy_after is not None and (at or stated.policy_after == 0):
            without = min(without, stated.policy_after)
    return WITHOUT_POLICY if without == 0 and acceptable == frozenset() else ""


def _stated(certificate: x509.Certificate) -> _Stated:
    policies: frozenset[str] = frozenset()
    policy_after, maps = None, False
    for extension in certificate.extensions:
        match extension.value:
            case x509.CertificatePolicies() as found:
                policies = frozenset(each.policy_identifier.dotted_string for each in found)
            case x509.PolicyConstraints() as constraints:
                policy_after = constraints.require_explicit_policy
            case _:
                maps = maps or extension.oid == _POLICY_MAPPINGS
    return _Stated(policies=policies, policy_after=policy_after, maps=maps)
