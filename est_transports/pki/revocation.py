"""Revocation lists (CRLs), and what they say of a certificate path that was verified.

OpenSSL could look at them while it verifies, but then a session that is resumed, where it calls
nobody back, would be judged by other rules than its handshake. So the lists are looked at here, for
both, when the path is known, and the signature of a list is verified once for each key of an
issuer. RFC 5280 5, 6.3.

What is understood: complete lists, signed by the issuer of the certificates, for all of them, or
for its end entities or its CAs alone. A list with changes only (a delta), an indirect one, one for
some reasons or for one distribution point says too little by itself: it does not count, and neither
does one with a critical extension that is not known. Whoever has no list that counts is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from est_core.values import unchecked_value_class, value_class
from est_transports.pki.certificate_checks import UNREADABLE, weak_signature
from est_transports.pki.certificates import anchor_key, shown
from est_transports.pki.path_problems import at_depth

_SHA256: Final = hashes.SHA256()
_MAX_SIGNERS: Final = 1024  # verified CA certificates, remembered for each list
_CRITICAL: Final = b"\x01\x01\xff"  # BOOLEAN TRUE, as DER marks an extension
_KNOWN: Final = frozenset({x509.IssuingDistributionPoint.oid})
"""What may be critical in a list; of cRLNumber and others RFC 5280 5.2 says that they are not."""
_KNOWN_OF_ENTRIES: Final = frozenset({x509.CRLReason.oid, x509.InvalidityDate.oid})

_Value = TypeVar("_Value", bound=x509.ExtensionType)
_FoldedName = tuple[frozenset[tuple[str, str]], ...]


@unchecked_value_class
class Doubt:
    """What is wrong with a certificate, in a few words: it is revoked, or that is not known."""

    text: str = ""
    is_revoked: bool = False
    is_accepted: bool = False


@value_class
class Revocation:
    """Revocation lists, and what becomes of a certificate that they leave in doubt.

    With lists, each certificate of a path is looked up in that of its issuer; without any, nothing
    is. `accept_missing` accepts a certificate whose issuer has no list here, `accept_stale` one
    whose issuer's list is past its nextUpdate, or before its thisUpdate, and does not name it; the
    log has a line then. `recorded` are CAs of which no list is missed, for what they revoke is
    known otherwise.
    """

    crls: tuple[x509.CertificateRevocationList, ...] = ()
    accept_missing: bool = False
    accept_stale: bool = False
    recorded: tuple[x509.Certificate, ...] = ()
    _lists: Mapping[_FoldedName, tuple[_List, ...]] = field(init=False, repr=False, compare=False)
    _recorded: frozenset[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[_FoldedName, list[_List]] = {}
        for crl in self.crls:
            by_name.setdefault(folded_name(crl.issuer), []).append(_List(crl))
        found = {name: tuple(each) for name, each in by_name.items()}
        object.__setattr__(self, "_lists", MappingProxyType(found))
        object.__setattr__(self, "_recorded", frozenset(map(anchor_key, self.recorded)))

    def problems(
        self, path: Sequence[x509.Certificate], now: datetime, accepted: Callable[[str], None]
    ) -> tuple[Doubt, ...]:
        """Return why a verified path is not to be trusted, for each certificate that causes it.

        The path begins with the peer's own certificate and ends in the anchor, which is looked up
        too where its issuer has a list, though nobody is there to verify that with. `accepted` is
        told what was accepted in doubt.
        """
        if not self.crls:
            return ()
        found = []
        for depth, certificate in enumerate(path):
            issuer = path[depth + 1] if depth + 1 < len(path) else None
            verdict = self._verdict(certificate, issuer, now)
            if verdict.text and verdict.is_accepted:
                accepted(f"{shown(certificate)}: {verdict.text}")
            elif verdict.text:
                found.append(replace(verdict, text=at_depth(verdict.text, certificate, depth)))
        return tuple(found)

    def covers(self, ca: x509.Certificate) -> bool:
        """True if there is a list that counts for what this CA has issued."""
        return any(each.counts_for(ca) for each in self._of(ca.subject))

    def _of(self, name: x509.Name) -> tuple[_List, ...]:
        return self._lists.get(folded_name(name), ())

    def _verdict(
        self, certificate: x509.Certificate, issuer: x509.Certificate | None, now: datetime
    ) -> Doubt:
        lists = self._of(certificate.issuer)
        if issuer is None:
            revoked = any(certificate.serial_number in each.serials for each in lists)
            return _REVOKED if revoked else _GOOD
        is_ca = _is_ca(certificate)
        of_kind = [each for each in lists if each.is_ca in (None, is_ca)]
        if not of_kind:
            if not lists and anchor_key(issuer) in self._recorded:
                return _GOOD
            return Doubt(text=MISSING, is_accepted=self.accept_missing)
        counting = [each for each in of_kind if each.counts_for(issuer)]
        if not counting:
            return Doubt(text=of_kind[0].problem_for(issuer))
        begun = [each for each in counting if each.starts <= now]
        latest = max(begun or counting, key=lambda each: each.starts)
        # Of two lists that begin in one second nobody knows which is the later one.
        twins = (each for each in counting if each.starts == latest.starts)
        if any(certificate.serial_number in each.serials for each in twins):
            return _REVOKED
        if not begun:
            return Doubt(text=NOT_YET, is_accepted=self.accept_stale)
        if latest.ends is not None and latest.ends < now:
            return Doubt(text=STALE, is_accepted=self.accept_stale)
        return _GOOD


def crl_flaw(crl: x509.CertificateRevocationList) -> str:
    """Return why a revocation list cannot be used, whoever signed it, in a few words, or ""."""
    try:
        extensions = crl.extensions
        return weak_signature(crl) or _odd_extension(extensions) or _odd_entry(crl)
    except UNREADABLE:
        return "an extension cannot be read"


def is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """True if a list has the signature of a CA certificate's key."""
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # any kind
    except (TypeError, UnsupportedAlgorithm, InvalidSignature, ValueError):
        return False


def folded_name(name: x509.Name) -> _FoldedName:
    """Return a name for comparing: without regard to case, nor to how many spaces there are."""
    return tuple(
        frozenset(
            (part.oid.dotted_string, " ".join(str(part.value).casefold().split())) for part in rdn
        )
        for rdn in name.rdns
    )


MISSING: Final = "no revocation list that covers it"
STALE: Final = "revocation list out of date"
NOT_YET: Final = "revocation list not yet valid"
REVOKED: Final = "revoked"


_GOOD: Final = Doubt()
_REVOKED: Final = Doubt(text=REVOKED, is_revoked=True)


class _List:
    """One list, with the serial numbers looked up in no time, and its issuers' keys remembered."""

    __slots__ = ("_crl", "_flaw", "_key_identifier", "_signers", "ends", "is_ca", "serials",
                 "starts")  # fmt: skip

    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        self._crl = crl
        self._flaw = crl_flaw(crl)
        self._signers: dict[bytes, str] = {}
        self._key_identifier = None if self._flaw else _authority_key(crl.extensions)
        self.is_ca = None if self._flaw else _scope(crl.extensions)
        self.starts, self.ends = crl.last_update_utc, crl.next_update_utc
        self.serials = frozenset(entry.serial_number for entry in crl)

    def counts_for(self, issuer: x509.Certificate) -> bool:
        return not self.problem_for(issuer)

    def problem_for(self, issuer: x509.Certificate) -> str:
        """Return why the list says nothing of what this CA has issued, or ""."""
        key = issuer.fingerprint(_SHA256)
        text = self._signers.get(key)
        if text is None:
            text = self._problem_for(issuer)
            if len(self._signers) < _MAX_SIGNERS:
                self._signers[key] = text
        return text

    def _problem_for(self, issuer: x509.Certificate) -> str:
        if self._flaw:
            return f"its issuer's revocation list cannot be used: {self._flaw}"
        if folded_name(issuer.subject) != folded_name(self._crl.issuer):
            return MISSING
        try:
            extensions = issuer.extensions
        except UNREADABLE:
            return "the issuer of its revocation list cannot be read"
        own = _extension(extensions, x509.SubjectKeyIdentifier)
        if own is not None and self._key_identifier not in (None, own.key_identifier):
            return "its issuer's revocation list is that of another key"
        usage = _extension(extensions, x509.KeyUsage)
        if usage is not None and not usage.crl_sign:
            return "issuer not allowed to sign revocation lists"
        if not is_signed_by(self._crl, issuer):
            return "signature of the revocation list does not verify"
        return ""


def _odd_extension(extensions: x509.Extensions) -> str:
    if _extension(extensions, x509.DeltaCRLIndicator) is not None:
        return "it has changes only (a delta CRL), and the complete list is needed"
    for each in extensions:
        if each.critical and each.oid not in _KNOWN:
            return f"critical extension {each.oid.dotted_string} is not understood"
    scope = _extension(extensions, x509.IssuingDistributionPoint)
    if scope is None:
        return ""
    partial = {
        "one distribution point": scope.full_name or scope.relative_name,
        "attribute certificates": scope.only_contains_attribute_certs,
        "some reasons": scope.only_some_reasons,
        "other CAs too (an indirect CRL)": scope.indirect_crl,
    }
    named = [text for text, is_so in partial.items() if is_so]
    return f"it is for {named[0]}, and one for all certificates is needed" if named else ""


def _odd_entry(crl: x509.CertificateRevocationList) -> str:
    """Return what is wrong with an entry. Hardly a list has critical extensions in one."""
    if crl.tbs_certlist_bytes.count(_CRITICAL) == sum(each.critical for each in crl.extensions):
        return ""
    for entry in crl:
        for each in entry.extensions:
            if each.critical and each.oid not in _KNOWN_OF_ENTRIES:
                return f"critical extension {each.oid.dotted_string} of an entry is not understood"
    return ""


def _scope(extensions: x509.Extensions) -> bool | None:
    """Return whether a list is for CAs or for others alone; None if it is for all."""
    scope = _extension(extensions, x509.IssuingDistributionPoint)
    if scope is None or scope.only_contains_ca_certs == scope.only_contains_user_certs:
        return None
    return scope.only_contains_ca_certs


def _authority_key(extensions: x509.Extensions) -> bytes | None:
    found = _extension(extensions, x509.AuthorityKeyIdentifier)
    return None if found is None else found.key_identifier


def _is_ca(certificate: x509.Certificate) -> bool:
    found = _extension(certificate.extensions, x509.BasicConstraints)
    return found is not None and found.ca


def _extension(extensions: x509.Extensions, kind: type[_Value]) -> _Value | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
