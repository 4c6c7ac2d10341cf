"""What a peer's certificate proved in a handshake, as facts for a Channel.

OpenSSL builds and verifies the chain while the handshake runs. Five things are left to us, over the
chain that it verified:

* which kind of anchor it ends in (RFC 7030 3.3.1, 3.3.2), by name and key;
* what each certificate may be used for. OpenSSL's purpose check would refuse an EST server whose
  only purpose is id-kp-cmcRA, so its word on the peer's own certificate is replaced by ours;
* the strength of keys and signatures, for OpenSSL's opinion goes with its security level, which
  DTLS has to lower for its mandatory cipher suite;
* names that pass below name constraints, and are used as if they were excluded ones; policies
  that a CA requires;
* revocation lists (`pki.revocation`), by one rule for handshakes and for sessions resumed.

What happens, in which order. While the handshake runs OpenSSL calls `_on_certificate` for each
certificate of the path, and for each problem; a problem is noted in the record of that connection,
for one callback serves all connections of a context. A client that is not provisional ends the
handshake with it. Then OpenSSL has the peer prove that it holds the key, whatever was noted, and
ends the handshake where it cannot. When the handshake is over `facts` is asked, once: a path
without a problem is judged by the five points above, and only what passes them is trusted. A
resumed handshake calls nothing, so the chain that its session kept is verified again.

That is enough: a problem can be noted at any time before `facts`, and nothing takes one away. That
the peer's own certificate has expired is noted apart, for a policy may forgive it: the path is then
judged to its end as any other, so that nothing hides behind the expiry, and fails all the same. On
a server a certificate that fails is a fact and not the end of the handshake: the client may still
have a password.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from est_core import Instant, LocalProtocolError
from est_core.channel import CertificateFailure, TrustClass
from est_core.values import unchecked_value_class
from est_transports import _clock
from est_transports.channel.peer_certificates import sent_certificates
from est_transports.pki.certificate_checks import UNREADABLE, Purpose, flaw
from est_transports.pki.certificates import anchor_key, der_of, read_certificate, shown_der
from est_transports.pki.clock_floor import ended_before, raised
from est_transports.pki.library_warnings import ignore_library_warnings
from est_transports.pki.openssl_store import MAX_CHAIN_DEPTH, fill_store, usable_anchors
from est_transports.pki.path_problems import NO_ANCHOR, at_depth, problem_of, problem_text
from est_transports.pki.path_rules import path_flaw
from est_transports.pki.revocation import Doubt
from est_transports.pki.trust import TrustAnchors

CA_NAMES_BYTES: Final = 8 * 1024  # of a CertificateRequest; the web's CAs need 14 KiB
_MAX_PROBLEMS: Final = 8
_KNOWN_MAX: Final = 256  # anchors and intermediates, which are the same few in every handshake

_log: Final = logging.getLogger("est_transports")
_Codes: Final = SSL.X509VerificationCodes
_OF_DATES: Final = ("expired", "not yet valid", "out of date")
"""Words of the problems for which a clock may be to blame."""


class VerificationRecord:
    """What the verify callback saw on one connection; a Connection's app data."""

    __slots__ = ("expiry", "others")

    def __init__(self) -> None:
        self.expiry: str = ""  # that the peer's own certificate has expired
        self.others: list[str] = []

    @property
    def problems(self) -> list[str]:
        """All that is wrong, in a few words each."""
        return [self.expiry, *self.others] if self.expiry else list(self.others)

    def note(self, problem: str) -> None:
        """Keep a problem, once, up to a handful."""
        if problem not in self.others and len(self.others) < _MAX_PROBLEMS:
            self.others.append(problem)


@unchecked_value_class
class PeerFacts:
    """What the peer showed and what it proved, as Channel takes it.

    `unread` has a few words for each certificate that it sent and that cannot be read. `expired`
    is the trust class that it would have, had its own certificate not expired.
    """

    chain: tuple[x509.Certificate, ...] = ()
    trust_class: TrustClass = TrustClass.NONE
    failure: str = ""
    failure_kind: CertificateFailure = CertificateFailure.UNVERIFIED
    unread: tuple[str, ...] = ()
    manufacturer: str = ""
    expired: TrustClass | None = None


class PeerVerifier:
    """Verifies the peers of one context's connections.

    `tolerant` lets a handshake go on after a failure and leaves it in the facts. Each
    connection's app data must be a VerificationRecord of its own. Dates are held against `at`, or
    where there is none against the clock; and where that shows less than `floor`, against this, as
    pki.clock_floor says.
    """

    __slots__ = (
        "_anchors",
        "_at",
        "_classes",
        "_floor",
        "_manufacturers",
        "_now",
        "_purpose",
        "_store",
        "_tolerant",
    )

    def __init__(
        self,
        anchors: TrustAnchors,
        purpose: Purpose,
        *,
        tolerant: bool,
        now: Callable[[], Instant] = _clock.instant,
        at: datetime | None = None,
        floor: datetime | None = None,
    ) -> None:
        ignore_library_warnings()  # peers' certificates are read in handshakes, at any time
        self._anchors = anchors = usable_anchors(anchors)
        self._purpose = purpose
        self._tolerant = tolerant
        self._now = now
        self._at = at
        self._floor = floor if floor is not None and (at or now().wall) < floor else None
        self._manufacturers = {
            anchor_key(anchor): maker.name
            for maker in anchors.manufacturers
            for anchor in maker.anchors
        }
        implicit = frozenset(map(anchor_key, anchors.implicit)) | self._manufacturers.keys()
        self._classes = (
            (frozenset(map(anchor_key, anchors.explicit)), TrustClass.EXPLICIT),
            (implicit, TrustClass.IMPLICIT),
        )
        self._store: crypto.X509Store | None = None  # made for the first resumed session

    def install(self, context: SSL.Context, *, required: bool = False) -> None:
        """Make the context ask its peers for a certificate and verify it.

        A client certificate is asked for in the first handshake, and there is no handshake
        without one where it is `required`. RFC 7030 3.3.2, RFC 9148 3.
        """
        store = context.get_cert_store()
        if store is None:
            raise LocalProtocolError("the context has no certificate store")
        fill_store(store, self._anchors)
        if (fixed := self._floor or self._at) is not None:
            store.set_time(fixed)
        context.set_verify_depth(MAX_CHAIN_DEPTH)
        mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
        context.set_verify(mode, self._on_certificate)

    def facts(self, connection: SSL.Connection, *, resumed: bool) -> PeerFacts:
        """Return what the peer of a finished handshake showed and proved.

        Its own certificate fails where it cannot be read, and so does one of the path; others are
        left out. A resumed session is verified again: OpenSSL would not, and a certificate may
        have been revoked since, or have failed the first time. Raises
        TlsError("tls/bad-certificate") for more than MAX_PEER_CERTIFICATES.
        """
        sent = sent_certificates(connection)
        if not sent.is_shown:
            return PeerFacts()
        if not sent.chain:
            failure = f"{sent.unread[0]}: cannot be read"
            return PeerFacts(trust_class=TrustClass.FAILED, failure=failure, unread=sent.unread)
        record = _record_of(connection)
        problems = list(record.others)
        verified: tuple[x509.Certificate, ...] = ()
        if resumed:
            verified = self._verify_again(sent.chain, problems)
        elif not problems:
            verified = _verified_chain(connection, sent.chain[0], problems)
        doubts: tuple[Doubt, ...] = ()
        trust_class = TrustClass.FAILED
        if not problems:
            problems += self._flaws(verified)
        if not problems and self._floor is not None:
            problems += _ended(self._floor, verified)
        if not problems:
            wall = self._at or self._now().wall
            if self._floor is not None:
                wall = raised(self._floor, verified)
            doubts = self._anchors.revocation.problems(verified, wall, _say_accepted)
            problems += [doubt.text for doubt in doubts]
        if not problems:
            trust_class = self._classify(verified, problems)
        if any(NO_ANCHOR in problem for problem in problems):
            problems += sent.flaws()  # one of them may be the link that is missing
        has_expired = bool(record.expiry)
        return PeerFacts(
            chain=sent.chain,
            trust_class=TrustClass.FAILED if has_expired else trust_class,
            failure="; ".join(filter(None, (record.expiry, *problems))),
            failure_kind=_kind_of(doubts),
            unread=sent.unread,
            manufacturer=self._manufacturer(trust_class, verified),
            expired=trust_class if has_expired and not problems else None,
        )

    def dated(self, failure: str) -> str:
        """Return a failure, and where dates are its reason what they were held against."""
        if not any(words in failure for words in _OF_DATES):
            return failure
        shown = f"{self._at or self._now().wall:%Y-%m-%d %H:%M}"
        if self._floor is None:
            return f"{failure} (the clock here shows {shown} UTC)"
        return (
            f"{failure} (the clock here shows {shown} UTC, which is behind: the time is at least "
            f"{self._floor:%Y-%m-%d %H:%M})"
        )

    def _on_certificate(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        # An exception here would end up in a list that all connections of the context share, and
        # be raised in one of them: nothing below may raise.
        record = connection.get_app_data()
        if not isinstance(record, VerificationRecord):
            return False
        ok = ok or (self._floor is not None and error == _Codes.ERR_CERT_NOT_YET_VALID)
        problem = "" if ok else self._problem_at(certificate, error, depth)
        if problem and error == _Codes.ERR_CERT_HAS_EXPIRED and depth == 0:
            record.expiry = problem  # OpenSSL goes on from here, with all that is left to verify
        elif problem:
            record.note(problem)
        return self._tolerant or not problem

    def _problem_at(self, certificate: crypto.X509, error: int, depth: int) -> str:
        readable = read_certificate(certificate)
        if readable is None:
            return _unread_at(certificate, depth, problem_text(error))
        if error == _Codes.ERR_INVALID_PURPOSE and depth == 0:
            return flaw(readable, self._purpose)
        try:
            return problem_of(readable, error, depth=depth, anchors=self._anchors.certificates)
        except UNREADABLE:
            return problem_text(error)

    def _verify_again(
        self, chain: tuple[x509.Certificate, ...], problems: list[str]
    ) -> tuple[x509.Certificate, ...]:
        store = self._store
        if store is None:  # two threads may both make one; either will do
            store = crypto.X509Store()
            fill_store(store, self._anchors)
            self._store = store
        leaf, *others = (crypto.X509.from_cryptography(certificate) for certificate in chain)
        try:
            verified = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
        except crypto.X509StoreContextError as exc:
            number, depth, *_ = exc.errors
            text = self._problem_at(exc.certificate, number, depth)
            problems.append(text or problem_text(number))
            return ()
        return _readable_path(verified, problems)

    def _flaws(self, verified: tuple[x509.Certificate, ...]) -> list[str]:
        if not verified:
            return [NO_ANCHOR]
        if len(verified) > MAX_CHAIN_DEPTH + 2:
            return [problem_text(_Codes.ERR_CERT_CHAIN_TOO_LONG)]
        last = len(verified) - 1  # the anchor: nobody relies on the signature it bears
        found = [flaw(verified[0], self._purpose, signed=last > 0)]
        for place, each in enumerate(verified[1:], start=1):
            text = _known_flaw(each, self._purpose, leaf=False, signed=place != last)
            found.append(at_depth(text, each, place) if text else "")
        if not any(found):
            found.append(path_flaw(verified))
        return [text for text in found if text]

    def _classify(self, verified: tuple[x509.Certificate, ...], problems: list[str]) -> TrustClass:
        for anchors, trust_class in self._classes:
            if any(_known_key(each) in anchors for each in reversed(verified)):
                return trust_class
        problems.append(NO_ANCHOR)
        return TrustClass.FAILED

    def _manufacturer(self, trust_class: TrustClass, verified: Sequence[x509.Certificate]) -> str:
        """Return whose device it is: that of the anchor which is nearest to it. "" is nobody's."""
        if trust_class is not TrustClass.IMPLICIT or not self._manufacturers:
            return ""
        anchors, _ = self._classes[-1]
        nearest = next(key for key in map(_known_key, verified) if key in anchors)
        return self._manufacturers.get(nearest, "")


def ca_names(anchors: TrustAnchors) -> tuple[x509.Certificate, ...]:
    """Return the anchors whose names go into a CertificateRequest: all of them, or none.

    Java's clients choose their certificate by these names and send none that is not led to by
    one of them, so a part of the list would be worse than an empty one, which means "any".
    """
    usable = usable_anchors(anchors).certificates
    by_name = {anchor.subject.public_bytes(): anchor for anchor in usable}
    size_bytes = sum(2 + len(name) for name in by_name)
    return tuple(by_name.values()) if size_bytes <= CA_NAMES_BYTES else ()


def _record_of(connection: SSL.Connection) -> VerificationRecord:
    record = connection.get_app_data()
    if not isinstance(record, VerificationRecord):
        raise LocalProtocolError("the connection's app data must be a VerificationRecord")
    return record


def _verified_chain(
    connection: SSL.Connection, leaf: x509.Certificate, problems: list[str]
) -> tuple[x509.Certificate, ...]:
    found = connection.get_verified_chain() or []
    # It begins with the leaf, which was converted once already.
    return (leaf, *_readable_path(found[1:], problems, above=1)) if found else ()


def _readable_path(
    path: Sequence[crypto.X509], problems: list[str], *, above: int = 0
) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a path; what cannot be read of it is a problem."""
    found = []
    for depth, certificate in enumerate(path, start=above):
        readable = read_certificate(certificate)
        if readable is None:
            problems.append(_unread_at(certificate, depth))
        else:
            found.append(readable)
    return tuple(found)


def _unread_at(certificate: crypto.X509, depth: int, what: str = "") -> str:
    whose = "certificate" if depth == 0 else f"CA certificate {depth + 1} of the path"
    # Where OpenSSL says what cannot be read, that is enough.
    text = what if "cannot be read" in what else f"cannot be read; {what}".removesuffix("; ")
    der = der_of(certificate)
    return f"{whose}, {shown_der(der)}: {text}" if der else f"{whose}: {text}"


# For certificates that were verified: of those, an unauthenticated peer cannot make any number.
_known_flaw: Final = lru_cache(maxsize=_KNOWN_MAX)(flaw)
_known_key: Final = lru_cache(maxsize=_KNOWN_MAX)(anchor_key)


def _kind_of(doubts: tuple[Doubt, ...]) -> CertificateFailure:
    if not doubts:
        return CertificateFailure.UNVERIFIED
    if any(doubt.is_revoked for doubt in doubts):
        return CertificateFailure.REVOKED
    return CertificateFailure.REVOCATION_UNKNOWN


def _ended(floor: datetime, verified: Sequence[x509.Certificate]) -> list[str]:
    """Return which certificates of a path had expired when the newest of them was issued."""
    text = problem_text(_Codes.ERR_CERT_HAS_EXPIRED)
    return [at_depth(text, each, place) for place, each in ended_before(floor, verified)]


def _say_accepted(text: str) -> None:
    _log.warning("accepted though its revocation is in doubt: %s", text)
