"""Checks of TLS: versions, suites, and what EST needs of a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from est_transports.channel.errors import CLOSED, HANDSHAKE, PEER_REFUSED_CERTIFICATE
from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning
from est_transports.doctor.hello import (
    EXTENDED_MASTER_SECRET,
    GOOD_SUITES,
    RENEGOTIATION_INFO,
    SESSION_TICKET,
    TLS_1_2,
    Flight,
)
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import counted

_PROTOCOL_VERSION: Final = 70
_CA_NAMES_BYTES: Final = 16 * 1024


def _speaks_1_2(flight: Flight) -> bool:
    return flight.alert is None and flight.version == TLS_1_2


def _flight_1_2(probes: Probes) -> Flight:
    flight = probes.flight()
    if not _speaks_1_2(flight):
        raise NotJudged("the server does not speak TLS 1.2")
    return flight


def _version_1_2(probes: Probes) -> Verdict:
    flight = probes.flight()
    if _speaks_1_2(flight):
        return ok(f"TLS 1.2 with {flight.suite_name}")
    if flight.alert is None:
        return fault(f"offered TLS 1.2, it chose {flight.version_name}")
    return warning(f"TLS 1.2 is refused (alert {flight.alert})")


def _version_1_3(probes: Probes) -> Verdict:
    found = probes.handshake_1_3()
    if found.failure:
        if not _is_up(probes):
            raise NotJudged(f"no TLS handshake: {found.failure}")
        return note(f"no TLS 1.3: {found.failure}")
    return ok(f"TLS 1.3 with {found.cipher}")


def _is_up(probes: Probes) -> bool:
    """True where the server has shaken hands otherwise."""
    try:
        return probes.flight().alert is None or not probes.handshake_1_3().failure
    except NotJudged:
        return False


def _unwanted(
    probes: Probes, hello: Callable[[], Flight], refused: str, taken: Callable[[Flight], Verdict]
) -> Verdict:
    """Judge a hello that is better refused; a reset or a closed connection is a refusal too."""
    try:
        flight = hello()
    except NotJudged as exc:
        if _is_up(probes):
            return ok(f"refused: {exc}")
        raise
    return ok(refused) if flight.alert is not None else taken(flight)


def _old_versions(probes: Probes) -> Verdict:
    return _unwanted(
        probes,
        probes.old_flight,
        "TLS 1.1 and 1.0 are refused",
        lambda flight: fault(f"{flight.version_name} is taken, with {flight.suite_name}"),
    )


def _forbidden(probes: Probes) -> Verdict:
    return _unwanted(
        probes,
        probes.forbidden_flight,
        "no suite without encryption, without a certificate, with EXPORT, DES or RC4",
        lambda flight: fault(f"{flight.suite_name} is taken"),
    )


def _weak(probes: Probes) -> Verdict:
    return _unwanted(
        probes,
        probes.weak_flight,
        "no suite with 3DES or with RSA key transport",
        lambda flight: warning(f"{flight.suite_name} is taken where nothing better is offered"),
    )


def _chosen(probes: Probes) -> Verdict:
    flight = _flight_1_2(probes)
    if flight.suite in GOOD_SUITES:
        return ok(flight.suite_name)
    return warning(f"of all suites it chose {flight.suite_name}")


def _extended_master_secret(probes: Probes) -> Verdict:
    if EXTENDED_MASTER_SECRET in _flight_1_2(probes).extensions:
        return ok("extended master secret is used")
    return warning("TLS 1.2 without extended master secret")


def _secure_renegotiation(probes: Probes) -> Verdict:
    if RENEGOTIATION_INFO in _flight_1_2(probes).extensions:
        return ok("secure renegotiation is signalled")
    return fault("renegotiation_info is not answered")


def _resumption(probes: Probes) -> Verdict:
    flight = _flight_1_2(probes)
    ways = ["tickets"] if SESSION_TICKET in flight.extensions else []
    ways += ["session IDs"] if flight.session_id_bytes else []
    if not ways:
        return ok("no session of TLS 1.2 is resumed")
    return note(f"sessions can be resumed, by {' and '.join(ways)}")


def _binding(probes: Probes) -> Verdict:
    flight = probes.flight()
    linked = _speaks_1_2(flight) and EXTENDED_MASTER_SECRET in flight.extensions
    exports = not probes.handshake_1_3().failure  # every TLS 1.3 does
    ways = ["tls-unique (TLS 1.2)"] * linked + ["tls-exporter (TLS 1.3)"] * exports
    if linked:
        return ok(" and ".join(ways))
    if exports:
        return note(f"{ways[0]} only, where both ends are set to use it")
    return warning("nothing that a request could be linked to safely")


def _client_certificate(probes: Probes) -> Verdict:
    asks = _asked_in(probes)
    if not asks:
        raise NotJudged("there is no handshake of TLS 1.2 or 1.3")
    asked = [version for version, is_so in asks.items() if is_so]
    if len(asked) == len(asks):
        return ok(f"asked for in the first handshake of {' and '.join(asked)}")
    silent = " and ".join(version for version in asks if version not in asked)
    return warning(f"not asked for in the first handshake of {silent}")


def _anybody(probes: Probes) -> Verdict:
    try:
        probes.get("cacerts")
    except NotJudged as exc:
        if exc.code == PEER_REFUSED_CERTIFICATE:
            return fault("a client without a certificate is turned away")
        if exc.code in (HANDSHAKE, CLOSED) and _asks(probes):
            return fault(f"it asks for a certificate, and from a client without: {exc}")
        raise
    return ok("a client without a certificate is let in")


def _asks(probes: Probes) -> bool:
    return any(asked for asked in _asked_in(probes).values())


def _asked_in(probes: Probes) -> dict[str, bool]:
    """Return whether a certificate is asked for, by version."""
    found = {}
    if _speaks_1_2(probes.flight()):
        found["TLS 1.2"] = probes.flight().has_request
    if not probes.handshake_1_3().failure:
        found["TLS 1.3"] = probes.handshake_1_3().asks_certificate
    return found


def _ca_list(probes: Probes) -> Verdict:
    flight = probes.flight()
    if _speaks_1_2(flight) and flight.has_request:
        number, size = len(flight.ca_names), sum(map(len, flight.ca_names))
    elif probes.handshake_1_3().asks_certificate:
        number, size = probes.handshake_1_3().ca_names, 0
    else:
        raise NotJudged("the server asks for no certificate")
    if not number:
        return note("the request names no CA: any certificate may be shown")
    if size > _CA_NAMES_BYTES:
        return warning(f"the request names {number} CAs in {size} bytes")
    return ok(f"the request names {counted(number, 'CA')}")


CHECKS: Final = (
    Check(
        name="tls.1-2",
        title="TLS 1.2 is offered",
        means="EST needs TLS 1.1 or newer, and of those RFC 8996 left 1.2 (RFC 7030 3.3.1). Many "
        "devices speak nothing newer, and tls-unique is of TLS 1.2 (RFC 5929 3).",
        do="let the server take TLS 1.2 with ECDHE and AES-GCM beside TLS 1.3",
        judge=_version_1_2,
    ),
    Check(
        name="tls.1-3",
        title="TLS 1.3 is offered",
        means="TLS 1.3 hides certificates on the way and has no weak suites (RFC 8446, "
        "RFC 9325 3.1.1).",
        do="let the server take TLS 1.3, where its library can",
        judge=_version_1_3,
    ),
    Check(
        name="tls.old-versions",
        title="TLS 1.0 and 1.1 are refused",
        means="They MUST NOT be used (RFC 8996 4, 5).",
        do="set the server's least version to TLS 1.2",
        judge=_old_versions,
    ),
    Check(
        name="tls.forbidden-suites",
        title="Suites that nobody may use are refused",
        means="NULL and anonymous suites MUST NOT be used, nor EXPORT, DES and RC4 (RFC 7030 "
        "3.2.3 and 6, RFC 7465).",
        do="remove NULL, aNULL, EXPORT, DES and RC4 from the server's cipher list",
        judge=_forbidden,
    ),
    Check(
        name="tls.weak-suites",
        title="Suites that nobody should use are refused",
        means="3DES is broken for long connections, and RSA key transport has no forward secrecy "
        "(RFC 9325 4.1).",
        do="leave ECDHE suites alone in the server's cipher list",
        judge=_weak,
    ),
    Check(
        name="tls.suite",
        title="The suite chosen of TLS 1.2 is a good one",
        means="Ephemeral keys and authenticated encryption are what RFC 9325 4.2 recommends.",
        do="put ECDHE with AES-GCM first in the server's cipher list, and let the server choose",
        judge=_chosen,
    ),
    Check(
        name="tls.extended-master-secret",
        title="Extended master secret is used in TLS 1.2",
        means="Without it tls-unique can be made equal on two connections, so that linking a "
        "request proves nothing (RFC 7627 1, RFC 7030 3.5).",
        do="update the server's TLS library; where that cannot be, clients need require_ems=False",
        judge=_extended_master_secret,
    ),
    Check(
        name="tls.secure-renegotiation",
        title="Secure renegotiation is signalled in TLS 1.2",
        means="Renegotiation, if there is any, MUST be that of RFC 5746 (RFC 7030 3.5), and newer "
        "clients end the handshake where it is not signalled.",
        do="update the server's TLS library",
        judge=_secure_renegotiation,
    ),
    Check(
        name="tls.resumption",
        title="Sessions of TLS 1.2 are not resumed",
        means="In a resumed session the server speaks first, so that tls-unique is another "
        "message, and the client's certificate may be lost (RFC 5929 3.1).",
        do="see that the server handles both, or turn tickets and the session cache off",
        judge=_resumption,
    ),
    Check(
        name="tls.channel-binding",
        title="A request can be linked to the connection",
        means="challengePassword holds tls-unique, which TLS 1.2 has with extended master secret; "
        "tls-exporter of TLS 1.3 needs both ends to agree (RFC 7030 3.5, RFC 9266 2).",
        do="offer TLS 1.2 with extended master secret",
        judge=_binding,
    ),
    Check(
        name="tls.client-certificate",
        title="A client certificate is asked for in the first handshake",
        means="A client authenticates by certificate only where it is asked to, and clients do "
        "not renegotiate (RFC 7030 3.3.2, 4.2.2).",
        do="let the server ask for a certificate and require none (SSL_VERIFY_PEER, in nginx "
        "ssl_verify_client optional)",
        judge=_client_certificate,
    ),
    Check(
        name="tls.anybody",
        title="A client without a certificate is let in",
        means="A new device has no certificate: it fetches the CA certificates first, and may log "
        "in otherwise (RFC 7030 3.2.3, 4.1.2).",
        do="let the server ask for a certificate and require none; whether one is needed is for "
        "each operation to say",
        judge=_anybody,
    ),
    Check(
        name="tls.ca-names",
        title="The request for a certificate names CAs",
        means="Clients in Java choose their certificate by these names; too many of them do not "
        "fit a handshake of small devices (RFC 5246 7.4.4, RFC 8446 4.2.4).",
        do="name the CAs that certify devices, and no others",
        judge=_ca_list,
    ),
)
