"""Checks of EST over CoAP and DTLS: RFC 9148."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from est_core import Channel, RemoteProtocolError
from est_core.asn1.cms import read_bag, read_certificate
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.channel import TrustClass
from est_core.wires.coapmap import Code, ContentFormat, read_discovery
from est_transports.channel.errors import TlsError
from est_transports.doctor.coap_answers import CoapAnswer
from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning
from est_transports.doctor.probes import UNKNOWN_NAME, Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import counted, listed, shown
from est_transports.pki.chains import is_self_signed

_COAPS: Final = ("coaps",)
_CLIENT_ERRORS: Final = range(0x80, 0xA0)
_SMALL_BLOCK_BYTES: Final = 64
EMPTY_SEQUENCE: Final = b"\x30\x00"
"""What every POST holds: see `probes.HARMLESS`."""


def _handshake(probes: Probes) -> Verdict:
    try:
        channel = probes.coap_channel()
    except TlsError as exc:
        return fault(f"{shown(exc.message)} [{exc.code}]")
    kind = "an explicit" if channel.trust_class is TrustClass.EXPLICIT else "an implicit"
    return ok(f"{channel.version.value}, verified by {kind} trust anchor")


def _channel(probes: Probes) -> Channel:
    try:
        return probes.coap_channel()
    except TlsError as exc:
        raise NotJudged(f"no handshake: {exc.message}") from exc


def _extended_master_secret(probes: Probes) -> Verdict:
    if _channel(probes).extended_master_secret:
        return ok("extended master secret is used")
    return warning("DTLS 1.2 without extended master secret")


def _validity(probes: Probes) -> Verdict:
    end = _channel(probes).peer_chain[0].not_valid_after_utc
    left = end - probes.clock().wall
    seen = f"valid until {end:%Y-%m-%d}, {left.days} days left"
    return warning(seen) if left.days < 30 else ok(seen)


def _discovery(probes: Probes) -> Verdict:
    answer = probes.coap_ask(Code.GET, (".well-known", "core"), accept=ContentFormat.LINK_FORMAT)
    uri = probes.config.uri
    try:
        paths = read_discovery(answer.head, answer.payload, uri, uri.label)
    except RemoteProtocolError as exc:
        return note(f"{answer.code_text}: {shown(exc.message)}")
    return ok(f"EST is at /{'/'.join(paths.root)}")


def _cacerts(probes: Probes) -> Verdict:
    certificates = _bag(probes)
    roots = [each for each in certificates if is_self_signed(each)]
    kind = ContentFormat(_of_cacerts(probes).head.content_format or 0).media_type
    seen = f"{counted(len(certificates), 'certificate')} in {kind}"
    return ok(seen) if roots else fault(f"{seen}; none is self-signed: the root is missing")


def _of_cacerts(probes: Probes) -> CoapAnswer:
    return probes.coap_ask(Code.GET, probes.coap_path("crts"))


def _bag(probes: Probes) -> tuple[x509.Certificate, ...]:
    answer, limits = _of_cacerts(probes), probes.config.limits
    if answer.head.code != Code.CONTENT:
        raise NotJudged(f"/crts is answered {answer.code_text}: {shown(answer.payload, 80)}")
    try:
        if answer.head.content_format == ContentFormat.PKIX_CERT:
            return (read_certificate(answer.payload, limits),)
        return read_bag(answer.payload, limits).certificates
    except RemoteProtocolError as exc:
        raise NotJudged(f"/crts cannot be read: {shown(exc.message)}") from exc


def _status(probes: Probes) -> Verdict:
    answer = _of_cacerts(probes)
    found = answer.head.content_format
    if answer.head.code != Code.CONTENT:
        return fault(f"/crts is answered {answer.code_text}: {shown(answer.payload, 80)}")
    if found not in (ContentFormat.CERTS_ONLY, ContentFormat.PKIX_CERT):
        return fault(f"2.05 in content format {found}, and not 281 or 287")
    return ok(f"2.05 in content format {found}")


def _blocks(probes: Probes) -> Verdict:
    whole = _of_cacerts(probes)
    if whole.head.code != Code.CONTENT:
        raise NotJudged(f"/crts is answered {whole.code_text}")
    small = probes.coap_in_blocks(_SMALL_BLOCK_BYTES, probes.coap_path("crts"))
    if small.payload == whole.payload and small.head.code == whole.head.code:
        return ok(f"{len(whole.payload)} bytes come in blocks of {_SMALL_BLOCK_BYTES} too")
    return fault(f"in blocks of {_SMALL_BLOCK_BYTES} the answer is another: {small.code_text}")


def _csrattrs(probes: Probes) -> Verdict:
    answer = probes.coap_ask(Code.GET, probes.coap_path("att"))
    if answer.head.code == Code.NOT_FOUND:
        return ok("4.04: the server has no CSR attributes")
    if answer.head.code != Code.CONTENT:
        return warning(f"/att is answered {answer.code_text}: {shown(answer.payload, 80)}")
    if answer.head.content_format != ContentFormat.CSRATTRS:
        return fault(f"2.05 in content format {answer.head.content_format}, and not 285")
    if not answer.payload:
        return ok("2.05 without attributes")
    try:
        found = parse_csrattrs(answer.payload, probes.config.limits)
    except RemoteProtocolError as exc:
        return fault(f"{shown(exc.message)} [{exc.code}]")
    return ok(f"2.05 with {counted(len(found.items), 'item')}")


def _nothing_issued(probes: Probes) -> Verdict:
    answer = _post(probes, ContentFormat.PKCS10)
    if answer.head.code in _CLIENT_ERRORS:
        return ok(f"an empty request is refused ({answer.code_text})")
    if answer.head.code < _CLIENT_ERRORS.start:
        return fault(f"an empty request is answered {answer.code_text}")
    return fault(f"an empty request breaks the server: {answer.code_text}")


def _post(probes: Probes, content_format: ContentFormat) -> CoapAnswer:
    path = probes.coap_path("sen")
    return probes.coap_ask(Code.POST, path, EMPTY_SEQUENCE, content_format=content_format)


def _refusals(probes: Probes) -> Verdict:
    wanted = {
        "an unknown path": (
            probes.coap_ask(Code.GET, probes.coap_path(UNKNOWN_NAME)), Code.NOT_FOUND,
        ),
        "DELETE": (
            probes.coap_ask(Code.DELETE, probes.coap_path("crts")), Code.METHOD_NOT_ALLOWED,
        ),
        "a request in text/plain": (
            _post(probes, ContentFormat.TEXT_PLAIN), Code.UNSUPPORTED_CONTENT_FORMAT,
        ),
    }  # fmt: skip
    other = [
        f"{what} is answered {answer.code_text}, and not {code >> 5}.{code & 31:02}"
        for what, (answer, code) in wanted.items()
        if answer.head.code != code
    ]
    if not other:
        return ok("what is not there, or not so, is refused by 4.04, 4.05 and 4.15")
    return note(listed(other))


CHECKS: Final = (
    Check(
        name="coaps.handshake",
        title="A handshake of DTLS comes about, and the server verifies",
        means="EST-coaps is DTLS 1.2 or newer with certificates on both sides (RFC 9148 3). "
        "Without a certificate of one's own, and anchors, there is no handshake.",
        do="check the certificates of both sides: the server's for this host, and the client's "
        "by a CA that the server knows",
        judge=_handshake,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.extended-master-secret",
        title="Extended master secret is used",
        means="tls-unique links a request only with it (RFC 7627, RFC 9148 3).",
        do="update the server's DTLS library",
        judge=_extended_master_secret,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.validity",
        title="The server's certificate is valid for a while yet",
        means="An expired certificate ends every enrollment (RFC 5280 4.1.2.5).",
        do="renew the server's certificate",
        judge=_validity,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.discovery",
        title="The list of resources has those of EST",
        means="A client finds by /.well-known/core where EST is, if it is not below "
        "/.well-known/est (RFC 9148 4.1).",
        do="list the resources with rt=ace.est.crts and so on",
        judge=_discovery,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.cacerts",
        title="/crts is answered 2.05, in a format of certificates",
        means="281 is certs-only, 287 one certificate by itself (RFC 9148 4.3).",
        do="answer GET /.well-known/est/crts in content format 281",
        judge=_status,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.root",
        title="The root is included",
        means="The answer has the root, as over HTTPS (RFC 7030 4.1.3).",
        do="add the self-signed certificate of the root to the answer",
        judge=_cacerts,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.blocks",
        title="An answer comes in small blocks too",
        means="A constrained client asks for blocks that fit its memory and its network (RFC 7959 "
        "2.3, RFC 9148 4.6).",
        do="let the server take the size of blocks from the client",
        judge=_blocks,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.csrattrs",
        title="/att is answered in its format, or 4.04",
        means="CSR attributes are content format 285 (RFC 9148 4.3).",
        do="answer GET /.well-known/est/att in content format 285, or 4.04",
        judge=_csrattrs,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.empty-request",
        title="A request without a name and a key is refused",
        means="What is sent here is an empty SEQUENCE, of which no certificate can be made: a bad "
        "request is 4.00 (RFC 9148 4.5).",
        do="let the server look at a request before it answers",
        judge=_nothing_issued,
        schemes=_COAPS,
    ),
    Check(
        name="coaps.refusals",
        title="What is not there, or not so, is refused by its code",
        means="4.04 for a path, 4.05 for a method, 4.15 for a format (RFC 7252 5.9.2).",
        do="let the server answer these codes",
        judge=_refusals,
        schemes=_COAPS,
    ),
)
