"""From a key to a certificate that may be used: the steps of a candidate, each durable.

The order is what makes an end at any point harmless. The key and its request are on disk before
anything is sent; "sent" is noted before the request leaves; the certificate is on disk before it
is looked at. Whoever goes on finds the candidate where it was: it sends the same request for the
same key again, or looks at the certificate that came. The running pair is not touched here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Final

from cryptography import x509

from est_core import (
    CACertsReceived,
    ClientExchange,
    CSRAttrsReceived,
    Enrolled,
    Failed,
    Instant,
    LocalProtocolError,
    Refused,
    RetryLater,
)
from est_core.asn1.csrattrs import CsrAttrs
from est_core.values import unchecked_value_class
from est_transports.agent.actions import Action, Answer, Ask
from est_transports.agent.errors import AgentError
from est_transports.agent.keys import HeldKey, Keys, give_up_candidate
from est_transports.agent.requests import (
    algorithm_for,
    info_of,
    request_for,
)
from est_transports.agent.sessions import (
    Access,
    anchors_in,
    bootstrap_access,
    enrolling_access,
    renewing_access,
)
from est_transports.agent.settings import CertificateSettings
from est_transports.agent.slots import Slots
from est_transports.agent.verification import OTHER_KEY, public_spki, refusal_of
from est_transports.channel.errors import PEER_REFUSED_CERTIFICATE
from est_transports.pairs.values import Candidate, KeyReference, Pair
from est_transports.pki.chains import leading_to
from est_transports.pki.credential_files import key_pem
from est_transports.pki.issuers import issuers_of
from est_transports.pki.signers import Signer
from est_transports.pki.trust import TlsIdentity

NO_REQUEST: Final = "agent/request"
SAME: Final = "response/same-certificate"
REKEY_REQUIRED: Final = "renewal/rekey-required"
"""What a server says that renews no more for a key, at the end of its text."""
_NETWORK: Final = frozenset({"connect", "connection", "http", "proxy", "server", "tls"})
_JUDGED: Final = ("response/status-4", "pop/")
_NOT_JUDGED: Final = ("response/status-401", "response/status-429")
_Steps = Generator[Action, Answer, "Obtained | PutOff | NotObtained"]


@unchecked_value_class
class Obtained:
    """The candidate has a certificate that may be used, and by whom its server is certified."""

    anchors: tuple[x509.Certificate, ...]


@unchecked_value_class
class PutOff:
    """The server answered 202: ask again after so many seconds."""

    wait_s: float


@unchecked_value_class
class NotObtained:
    """It failed. `retry_after_s` is what the server asked for, 0 where it did not.

    `new_key`: it renews no more for the key of the request.
    """

    code: str
    message: str
    retry_after_s: float = 0.0
    new_key: bool = False


@unchecked_value_class
class Wanted:
    """What is to be obtained: by renewal of the running pair, or by a first enrollment."""

    settings: CertificateSettings
    slots: Slots
    keys: Keys
    clock: Callable[[], Instant]
    judged_at: Callable[[x509.Certificate], Instant]
    rekey: bool
    renew: bool


def obtain(wanted: Wanted) -> _Steps:
    """Get a certificate into the candidate, and look whether it may be used."""
    try:
        return (yield from _obtain(wanted))
    except AgentError as exc:
        return NotObtained(code=exc.code, message=exc.message)


def _obtain(wanted: Wanted) -> _Steps:
    candidate = wanted.slots.candidate
    if candidate is not None and candidate.certificate is not None:
        anchors, _ = yield from _anchors(wanted)
        return (yield from _verify(wanted, candidate, candidate.certificate, anchors))
    anchors, bag = yield from _anchors(wanted)
    access = _access(wanted, anchors)
    if not bag:
        bag = yield from _ca_certificates(access)
    csrattrs = yield from _csrattrs(access)
    key, exchange = _prepared(wanted, access, csrattrs)
    access.signer.signer = key.signer
    wanted.slots.mark_sent()
    answer = yield Ask(exchange=exchange, config=access.config)
    match answer:
        case Enrolled():
            return (yield from _received(wanted, key, answer, anchors, bag))
        case RetryLater(at=at):
            return PutOff(wait_s=max(at.mono - wanted.clock().mono, 0.0))
        case Failed():
            if is_judged(answer):
                _give_up(wanted)
            return _failure(answer, wanted.clock())
        case _:
            raise TypeError(f"an enrollment ended in {type(answer).__name__}")


def _received(
    wanted: Wanted,
    key: HeldKey,
    answer: Enrolled,
    anchors: tuple[x509.Certificate, ...],
    bag: tuple[x509.Certificate, ...],
) -> _Steps:
    if key.signer.public_key_spki != public_spki(answer.certificate):
        return NotObtained(code=OTHER_KEY, message="the certificate is for another key")
    trusted = frozenset(anchors)
    issuers = issuers_of(answer.certificate, (*anchors, *bag, *answer.others), trusted)
    chain = tuple(each for each in issuers if each.issuer != each.subject)
    wanted.slots.receive(answer.certificate, chain)
    candidate = wanted.slots.candidate
    if candidate is None:
        raise TypeError("a candidate that received is there")
    return (yield from _verify(wanted, candidate, answer.certificate, anchors))


def _verify(
    wanted: Wanted,
    candidate: Candidate,
    certificate: x509.Certificate,
    anchors: tuple[x509.Certificate, ...],
) -> _Steps:
    running = wanted.slots.running
    if running is not None and certificate == running.certificate:
        _give_up(wanted)
        return NotObtained(code=SAME, message="the server gave the certificate that is in use")
    key = wanted.keys.open(candidate.key)
    refusal = refusal_of(
        certificate,
        candidate.chain,
        spki=key.signer.public_key_spki,
        request=candidate.request,
        anchors=anchors,
        now=wanted.judged_at(certificate).wall,
    )
    if refusal is not None:
        if not refusal.keep or _comes_too_late(certificate, running):
            _give_up(wanted)
        return NotObtained(code=refusal.code, message=refusal.message)
    if wanted.settings.verify_live and not isinstance(key.key, KeyReference):
        identity = TlsIdentity(chain=(certificate, *candidate.chain), key=key.key)
        access = renewing_access(wanted.settings, anchors, identity)
        answer = yield Ask(exchange=access.session.cacerts(), config=access.config)
        if isinstance(answer, Failed):
            if answer.code == PEER_REFUSED_CERTIFICATE:
                _give_up(wanted)
            return _failure(answer, wanted.clock(), "with the new certificate: ")
    return Obtained(anchors=anchors)


def _comes_too_late(certificate: x509.Certificate, running: Pair | None) -> bool:
    """True if the pair in use has expired before this begins: by then there has to be another.

    Without a pair it is waited for: the clock may be unset, and nothing is lost meanwhile.
    """
    if running is None:
        return False
    return certificate.not_valid_before_utc >= running.certificate.not_valid_after_utc


# What is asked of the server before


def _anchors(
    wanted: Wanted,
) -> Generator[Action, Answer, tuple[tuple[x509.Certificate, ...], tuple[x509.Certificate, ...]]]:
    """Return by whom the server is certified, and the CA certificates if they came with that."""
    running, settings = wanted.slots.running, wanted.settings
    if running is not None and running.anchors:
        return running.anchors, ()
    if settings.trust_file is not None:
        return anchors_in(settings.trust_file), ()
    access = bootstrap_access(settings)
    answer = yield Ask(exchange=access.session.cacerts(bootstrap=True), config=access.config)
    if isinstance(answer, CACertsReceived) and answer.trusted:
        now = wanted.clock().wall
        return answer.trusted, leading_to(answer.trusted, answer.certificates, now=now)
    if isinstance(answer, Failed):
        raise AgentError(answer.code, answer.message)
    # A bootstrap of a server that some other anchor verified is none.
    raise AgentError("trust/refused", "no root of the server has the fingerprint given")


def _access(wanted: Wanted, anchors: tuple[x509.Certificate, ...]) -> Access:
    running = wanted.slots.running
    if running is not None and _shows_certificate(wanted):
        settings = wanted.settings
        logs_in = settings.login_when_renewing
        return renewing_access(settings, anchors, running.identity(), logs_in=logs_in)
    return enrolling_access(wanted.settings, anchors)


def _shows_certificate(wanted: Wanted) -> bool:
    """True if the running certificate is shown to be renewed: TLS cannot, with a key in a token.

    Then the device logs in as it did the first time, and enrolls again under the same names.
    """
    running = wanted.slots.running
    return wanted.renew and running is not None and not isinstance(running.key, KeyReference)


def _ca_certificates(access: Access) -> Generator[Action, Answer, tuple[x509.Certificate, ...]]:
    """Return the CA certificates, to build chains of; none where the server gives none."""
    answer = yield Ask(exchange=access.session.cacerts(), config=access.config)
    if isinstance(answer, CACertsReceived):
        return answer.certificates
    _raise_if_unreachable(answer)
    return ()


def _csrattrs(access: Access) -> Generator[Action, Answer, CsrAttrs | None]:
    """Return the CSR attributes. RFC 8951 4: errors need not block enrollment."""
    answer = yield Ask(exchange=access.session.csrattrs(), config=access.config)
    if isinstance(answer, CSRAttrsReceived):
        return answer.csrattrs
    _raise_if_unreachable(answer)
    return None


def _raise_if_unreachable(answer: Answer) -> None:
    if isinstance(answer, Failed) and answer.code.partition("/")[0] in _NETWORK:
        raise AgentError(answer.code, answer.message)


# The candidate


def _candidate(wanted: Wanted, csrattrs: CsrAttrs | None) -> Candidate:
    """Return the candidate that is there, else a new one, durable."""
    if wanted.slots.candidate is not None:
        return wanted.slots.candidate
    running = wanted.slots.running
    current = running if wanted.renew else None
    reused = None if current is None or wanted.rekey else current.key
    held = wanted.keys.make(csrattrs) if reused is None else wanted.keys.open(reused)
    request = request_for(
        wanted.settings,
        held.signer,
        csrattrs,
        current=None if current is None else current.certificate,
    )
    key = held.key if isinstance(held.key, KeyReference) else key_pem(held.key)
    return wanted.slots.begin(key, request)


def _give_up(wanted: Wanted) -> None:
    with suppress(AgentError):  # its key stays in the token, in nobody's way
        give_up_candidate(wanted.slots, wanted.keys)


def _prepared(
    wanted: Wanted, access: Access, csrattrs: CsrAttrs | None
) -> tuple[HeldKey, ClientExchange]:
    """Return the candidate's key and the exchange of its request.

    A candidate that was there, and is for another certificate than this is about, is given up.
    """
    was_there = wanted.slots.candidate is not None
    candidate = _candidate(wanted, csrattrs)
    key = wanted.keys.open(candidate.key)
    try:
        return key, _exchange(wanted, access, candidate.request, key.signer, csrattrs)
    except LocalProtocolError as exc:
        _give_up(wanted)
        if was_there:
            return _prepared(wanted, access, csrattrs)
        raise AgentError(NO_REQUEST, exc.message) from exc


def _exchange(
    wanted: Wanted,
    access: Access,
    request: bytes | None,
    key: Signer,
    csrattrs: CsrAttrs | None,
) -> ClientExchange:
    info, algorithm = info_of(request or b""), algorithm_for(key, csrattrs)
    if _shows_certificate(wanted):
        return access.session.reenroll(info, csrattrs=csrattrs, algorithm=algorithm)
    return access.session.enroll(info, csrattrs=csrattrs, algorithm=algorithm, code=access.code)


def is_judged(failed: Failed) -> bool:
    """True if the request itself was refused: another one is to be made the next time.

    Where the server did not come so far the same request is sent again. It may have been put off,
    or answered by a certificate that never arrived.
    """
    return failed.code.startswith(_JUDGED) and not failed.code.startswith(_NOT_JUDGED)


def _failure(failed: Failed, now: Instant, before: str = "") -> NotObtained:
    return NotObtained(
        code=failed.code,
        message=f"{before}{failed.message}",
        retry_after_s=_retry_after_s(failed, now),
        new_key=_wants_new_key(failed),
    )


def _wants_new_key(failed: Failed) -> bool:
    tag = failed.response.tag if failed.response is not None else None
    return tag is not None and tag.code == REKEY_REQUIRED


def _retry_after_s(failed: Failed, now: Instant) -> float:
    """Return for how long the server asked to be left alone. RFC 9110 10.2.3."""
    when = failed.response.retry_after if isinstance(failed.response, Refused) else None
    if when is None:
        return 0.0
    if isinstance(when, int):
        return float(when)
    return max(0.0, (when - now.wall).total_seconds())
