"""What the core and its maps take for an exchange, next to what `cryptography` alone takes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from benchmarks.https import contender
from benchmarks.load import USUAL
from benchmarks.measure import Contender, Measured, Plan, compete, repeated
from benchmarks.processes import apart, servers
from benchmarks.site import Site
from benchmarks.table import Row, Target, cpu_row
from est_core import (
    Channel,
    Decision,
    Issue,
    Limits,
    ProvideCACerts,
    ProvideCSRAttrs,
    Refused,
    Request,
    Response,
    ResponseReady,
    ServerSession,
    TlsVersion,
    TrustClass,
    coapmap,
    default_policy,
    httpmap,
)
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import Code, ContentFormat

OVERHEAD_US: Final = Target(bound=60.0, of_ratio=False)
SHARE: Final = Target(bound=10.0, of_ratio=False)
_LIMITS: Final = Limits()
_POLICY: Final = default_policy()
_ALONE: Final = "cryptography alone: read and verify a CSR, write a bag"
_FLOOR: Final = "the floor's whole enrollment"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A request on one of the wires, and what the application answers."""

    decision: Decision
    body: bytes
    over_http: httpmap.RequestHead
    over_coap: coapmap.RequestHead
    coap_payload: bytes


def _answered(session: ServerSession, request: Request, decision: Decision) -> Response:
    exchange = session.receive_request(request, FIXED_INSTANT)
    exchange.next_event()
    exchange.decide(decision)
    event = exchange.next_event()
    if not isinstance(event, ResponseReady):
        raise TypeError("an exchange without a response")
    return event.response


def _over_http(message: _Message, session: ServerSession) -> None:
    head = message.over_http
    judged = httpmap.check_head(head, policy=_POLICY, limits=_LIMITS)
    if isinstance(judged, Refused):
        raise TypeError("the head was refused")
    request = httpmap.read(judged, message.body, limits=_LIMITS)
    response = _answered(session, request, message.decision)
    httpmap.write(response, judged.shape)


def _over_coap(message: _Message, session: ServerSession) -> None:
    head = message.over_coap
    judged = coapmap.check_head(head, policy=_POLICY, limits=_LIMITS)
    if isinstance(judged, Refused):
        raise TypeError("the head was refused")
    request = coapmap.read(judged, message.coap_payload, limits=_LIMITS)
    response = _answered(session, request, message.decision)
    coapmap.write(response, judged.shape, now=FIXED_INSTANT)


def _alone(site: Site, certificate: x509.Certificate) -> None:
    request = x509.load_der_x509_csr(site.request_der)
    # Loading decodes neither of them; who is to certify a request needs both.
    _ = request.subject, request.public_key()
    if not request.is_signature_valid:
        raise ValueError("the request is not signed by its key")
    pkcs7.serialize_certificates([certificate], Encoding.DER)


def _message(path: str, short: str, decision: Decision, der: bytes = b"") -> _Message:
    body = base64.b64encode(der)
    fields: tuple[tuple[bytes, bytes], ...] = (
        (b"Host", b"localhost"),
        (b"User-Agent", b"benchmarks"),
    )
    if body:
        fields += (
            (b"Content-Type", b"application/pkcs10"),
            (b"Content-Transfer-Encoding", b"base64"),
            (b"Content-Length", b"%d" % len(body)),
        )
    return _Message(
        decision=decision,
        body=body,
        over_http=httpmap.RequestHead(
            method=b"POST" if der else b"GET",
            target=f"/.well-known/est/{path}".encode(),
            headers=fields,
        ),
        over_coap=coapmap.RequestHead(
            code=Code.POST if der else Code.GET,
            path=(".well-known", "est", short),
            content_format=ContentFormat.PKCS10 if der else None,
        ),
        coap_payload=der,
    )


def contenders(site: Site) -> Iterator[Contender]:
    """Yield what `cryptography` alone does for an enrollment, and each exchange on each wire."""
    csr = x509.load_der_x509_csr(site.request_der)
    issued = site.certify(csr.subject, csr.public_key())
    yield Contender(name=_ALONE, run=repeated(partial(_alone, site, issued)))
    messages = {
        "csrattrs": _message("csrattrs", "att", ProvideCSRAttrs(csrattrs=None)),
        "cacerts": _message("cacerts", "crts", ProvideCACerts(certificates=(site.ca.certificate,))),
        "simpleenroll": _message(
            "simpleenroll", "sen", Issue(certificate=issued), site.request_der
        ),
        "simplereenroll": _message(
            "simplereenroll", "sren", Issue(certificate=issued), site.request_der
        ),
    }
    for wire, over in (("HTTP", _over_http), ("CoAP", _over_coap)):
        session = ServerSession(policy=_POLICY, channel=_channel(site, wire), limits=_LIMITS)
        for operation, message in messages.items():
            work = partial(over, message, session)
            yield Contender(name=f"{operation} over {wire}", run=repeated(work))


def _channel(site: Site, wire: str) -> Channel:
    return Channel(
        version=TlsVersion.TLS_1_3 if wire == "HTTP" else TlsVersion.DTLS_1_2,
        trust_class=TrustClass.EXPLICIT,
        peer_chain=(site.device.certificate,),
        binding=None,
        can_challenge=wire == "HTTP",
    )


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure exchanges without any I/O, and show them beside one whole enrollment."""
    with ExitStack() as stack:
        running = stack.enter_context(servers(("floor",), site))
        stack.enter_context(apart(running.values()))
        compared = [*contenders(site), contender(_FLOOR, running["floor"], site, USUAL, stack)]
        results = dict(zip((each.name for each in compared), compete(compared, plan), strict=True))
    alone, whole = results[_ALONE], results[_FLOOR]
    for name, measured in results.items():
        yield _row(name, measured)
    for wire in ("HTTP", "CoAP"):
        added = results[f"simpleenroll over {wire}"].cpu_us - alone.cpu_us
        name = f"simpleenroll over {wire}, beyond cryptography"
        yield Row(subject="core", name=name, value=added, unit="us", target=OVERHEAD_US)
        share = 100 * added / whole.cpu_us
        name = f"{name}, of {_FLOOR}"
        yield Row(subject="core", name=name, value=share, unit="%", target=SHARE)


def _row(name: str, measured: Measured) -> Row:
    is_exchange = name.startswith(("csrattrs", "cacerts"))
    return cpu_row(
        measured,
        subject="core",
        name=name,
        yardstick="cryptography alone",
        target=OVERHEAD_US if is_exchange else None,
    )
