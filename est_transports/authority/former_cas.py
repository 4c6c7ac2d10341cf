"""The generations of a CA: the key that it issues with, and the keys that it issued with before.

They have one name as a rule, so what tells them apart is the identifier of the key: the
authorityKeyIdentifier of a certificate says which of them issued it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from datetime import datetime, timedelta

from cryptography import x509

from est_core import LocalProtocolError
from est_core.values import value_class
from est_transports.authority.planned_certificate import authority_key_id
from est_transports.pki.certificate_checks import UNREADABLE
from est_transports.pki.chains import is_issued_by, is_self_signed
from est_transports.pki.signers import Signer


@value_class
class FormerCa:
    """A generation that issues no more: its certificate, its chain and the links to its successor.

    What it issued is taken for authentication, and is renewed, until `trusted_until` (aware UTC;
    LocalProtocolError otherwise). `links` are the certificates by which one generation certified
    the key of another. `signer` has its key, where that is still there: it signs revocation lists.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    links: tuple[x509.Certificate, ...] = ()
    trusted_until: datetime
    signer: Signer | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.trusted_until.utcoffset() != timedelta(0):
            raise LocalProtocolError("trusted_until is aware and in UTC")

    @property
    def key_identifier(self) -> bytes | None:
        """What the certificates that it issued say of its key."""
        return authority_key_id(self.certificate).key_identifier

    @property
    def published(self) -> tuple[x509.Certificate, ...]:
        """What /cacerts has of it."""
        return (self.certificate, *self.chain, *self.links)

    def is_trusted(self, now: datetime) -> bool:
        """True if what it issued counts."""
        return now <= self.trusted_until


def issuer_key_of(certificate: x509.Certificate) -> bytes | None:
    """Return what a certificate says of the key that issued it, None where it says nothing."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, *UNREADABLE):
        return None
    return found.value.key_identifier


def former_ca_of(certificate: x509.Certificate, former: Iterable[FormerCa]) -> FormerCa | None:
    """Return the former generation that a certificate says it is of."""
    key = issuer_key_of(certificate)
    if key is None:
        return None
    for each in former:
        if each.key_identifier == key and each.certificate.subject == certificate.issuer:
            return each
    return None


def published_certificates(
    current: Sequence[x509.Certificate], former: Iterable[FormerCa]
) -> tuple[x509.Certificate, ...]:
    """Return what /cacerts has: the generation that issues, those before it, and all links.

    A former one stays in it after its date, for whoever has to find the way from its root.
    """
    return tuple(dict.fromkeys((*current, *(c for each in former for c in each.published))))


def linked_chain(
    chain: Sequence[x509.Certificate],
    current: x509.Certificate,
    former: Sequence[FormerCa],
) -> tuple[x509.Certificate, ...]:
    """Return a server's chain with the links that lead on from it, so that every root verifies it.

    A client that has an old root alone finds the way by NewWithOld, of each generation to the one
    before; where a former generation issued the server's certificate, one that has the new root
    alone finds it by OldWithNew. What is sent is one path and no fork: not every client tries both.
    """
    links = [link for each in former for link in each.links]
    roots = [current, *(each.certificate for each in former)]
    top = chain[-1]
    if is_self_signed(top) and top in roots:
        return tuple(chain)  # sent by somebody's choice; nothing follows a root
    issuer = next((root for root in roots if is_issued_by(top, root)), None)
    if issuer is None:
        return tuple(chain)
    path = _older(issuer, roots, links) if issuer == current else _newer(issuer, roots, links)
    return (*chain, *path)


def _older(
    root: x509.Certificate, roots: Sequence[x509.Certificate], links: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """Yield the links from a root down to the oldest one."""
    ages = _by_age(roots)
    for older in reversed(ages[: ages.index(root)]):
        link = _link(root, older, links)
        if link is not None:
            yield link
            root = older


def _newer(
    root: x509.Certificate, roots: Sequence[x509.Certificate], links: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """Yield the links from a root up to the newest one."""
    ages = _by_age(roots)
    for newer in ages[ages.index(root) + 1 :]:
        link = _link(root, newer, links)
        if link is not None:
            yield link
            root = newer


def _by_age(roots: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    return sorted(roots, key=lambda each: each.not_valid_before_utc)


def _link(
    subject: x509.Certificate, issuer: x509.Certificate, links: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    key = subject.public_key()
    fitting = (each for each in links if each.public_key() == key)
    return next((each for each in fitting if is_issued_by(each, issuer)), None)
