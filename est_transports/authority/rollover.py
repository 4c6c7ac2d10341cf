"""A new key for a root: its new certificate, and the links between the old one and the new one.

RFC 4210 4.4, RFC 7030 4.1.3. Each of the two keys is certified by itself and by the other one:
OldWithOld is there already, NewWithNew is the new root, NewWithOld lets whoever trusts the old root
come to trust the new one, OldWithNew lets whoever has the new root alone verify what the old key
certified. All four have one name, so that a link is self-issued: no other CA can pose as the next
root, and a link does not count for a path length (RFC 5280 6.1.4 (l)).

The new root claims what the old one does, extension by extension: a client takes no root that is
trusted for more than the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from est_core import Entropy
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.ca import BACKDATED, new_serial
from est_transports.authority.planned_certificate import authority_key_id
from est_transports.pki.certificate_checks import UNREADABLE
from est_transports.pki.chains import is_issued_by, is_self_signed, issuer_flaw
from est_transports.pki.signers import CertificateSigner, Signer

_SECOND: Final = timedelta(seconds=1)
_OF_KEYS: Final = frozenset({x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid})


class RolloverError(Exception):
    """A CA cannot be rolled over. The text is one line; nothing has changed."""


@value_class
class RootRollover:
    """The certificates of a rollover. `links` are NewWithOld and OldWithNew."""

    root: x509.Certificate
    new_with_old: x509.Certificate
    old_with_new: x509.Certificate

    @property
    def links(self) -> tuple[x509.Certificate, x509.Certificate]:
        """Both links: what /cacerts has beside the two roots."""
        return self.new_with_old, self.old_with_new


@checked
def roll_root_over(
    old: x509.Certificate,
    *,
    old_signer: Signer,
    signer: Signer,
    public_key: CertificatePublicKeyTypes,
    now: datetime,
    entropy: Entropy,
) -> RootRollover:
    """Return the next root after `old`, for a new key, and the links between them.

    It lasts as long as the old one does in all. NewWithOld ends with the old root, as its key does.
    `signer` has the new key, which is `public_key`; `now` is aware UTC. Raises RolloverError for a
    certificate that is no root, or not valid now; SignerError.
    """
    _check_root(old, now)
    moment = now.replace(microsecond=0)
    # A client goes forward only: the new root begins after the old one, however young that is.
    begin = max(moment - BACKDATED, old.not_valid_before_utc + _SECOND)
    life = old.not_valid_after_utc - old.not_valid_before_utc
    try:
        end = begin + life
    except OverflowError:  # RFC 5280 4.1.2.5: 99991231235959Z, "no date"
        end = old.not_valid_after_utc
    unsigned = _Certificate(old, entropy)
    key = x509.SubjectKeyIdentifier.from_public_key(public_key)
    own = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key)
    above, below = authority_key_id(old), x509.SubjectKeyIdentifier(_identifier(old))
    new_key, old_key = CertificateSigner(signer), CertificateSigner(old_signer, issuer=old)
    root = new_key.sign(unsigned.of(public_key, key, own if _has_own(old) else None, begin, end))
    return RootRollover(
        root=root,
        new_with_old=old_key.sign(
            unsigned.of(public_key, key, above, begin, min(end, old.not_valid_after_utc))
        ),
        old_with_new=new_key.sign(
            unsigned.of(
                old.public_key(), below, own, old.not_valid_before_utc, old.not_valid_after_utc
            )
        ),
    )


@checked
def is_link(certificate: x509.Certificate, roots: Iterable[x509.Certificate]) -> bool:
    """Return whether one of these roots certified by it the key of another one of them."""
    roots = tuple(roots)
    try:
        key = certificate.public_key()
        return any(
            root.public_key() == key and root.subject == certificate.subject for root in roots
        ) and any(
            root.public_key() != key and is_issued_by(certificate, root) for root in roots
        )  # fmt: skip
    except UNREADABLE:
        return False


class _Certificate:
    """What the certificates of a rollover have in common with the old root."""

    def __init__(self, old: x509.Certificate, entropy: Entropy) -> None:
        self._old, self._entropy = old, entropy

    def of(
        self,
        key: CertificatePublicKeyTypes,
        own: x509.SubjectKeyIdentifier,
        above: x509.AuthorityKeyIdentifier | None,
        begin: datetime,
        end: datetime,
    ) -> x509.CertificateBuilder:
        """Return the certificate of a key, to be signed with the key that is named `above`."""
        extensions: list[x509.Extension[x509.ExtensionType]] = [
            *(each for each in self._old.extensions if each.oid not in _OF_KEYS),
            x509.Extension(own.oid, False, own),
            *(() if above is None else (x509.Extension(above.oid, False, above),)),
        ]
        return x509.CertificateBuilder(
            issuer_name=self._old.subject,
            subject_name=self._old.subject,
            public_key=key,
            serial_number=new_serial(self._entropy),
            not_valid_before=begin.replace(tzinfo=None),
            not_valid_after=end.replace(tzinfo=None),
            extensions=extensions,
        )


def _has_own(root: x509.Certificate) -> bool:
    """True if a root names its own key as that of its issuer, as it may. RFC 5280 4.2.1.1."""
    return any(each.oid == x509.AuthorityKeyIdentifier.oid for each in root.extensions)


def _identifier(certificate: x509.Certificate) -> bytes:
    return authority_key_id(certificate).key_identifier or b""


def _check_root(old: x509.Certificate, now: datetime) -> None:
    if not is_self_signed(old):
        raise RolloverError("the CA's certificate is not that of a root: it is not self-signed")
    if flaw := issuer_flaw(old):
        raise RolloverError(f"the root cannot vouch for another: {flaw}")
    if not old.not_valid_before_utc <= now < old.not_valid_after_utc:
        raise RolloverError(
            "the root is not valid now, and nobody takes its word for a new one: make a new CA"
        )
