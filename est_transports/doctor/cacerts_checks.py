"""Checks of the CA certificates: /cacerts. RFC 7030 4.1."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from est_core import RemoteProtocolError
from est_core.codec.media import parse_media_type
from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import (
    NoAnswer,
    NotJudged,
    Verdict,
    fault,
    note,
    ok,
    warning,
    worst,
)
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import counted, listed, quoted, shown
from est_transports.doctor.transfer_shape import body_verdict, coding_verdict
from est_transports.pki.chains import chain_problem, is_ca, is_self_signed
from est_transports.pki.names import subject_text

_WANTED: Final = "application/pkcs7-mime"


def _status(probes: Probes) -> Verdict:
    try:
        answer = probes.get("cacerts")
    except NoAnswer as exc:
        return fault(str(exc))
    if answer.failure:
        return fault(f"the answer cannot be read: {answer.failure}")
    if answer.status == 200:
        return ok("200")
    if answer.status in (401, 403):
        return warning(
            f"{answer.status}: the CA certificates are behind authentication",
            "let anybody fetch the CA certificates: a new device has nothing to log in with",
        )
    return fault(f"the status is {answer.status}: {_reason(answer)}")


def _reason(answer: Answer) -> str:
    return shown(answer.body, 100) or shown(answer.head.phrase) or "without a reason"


def _media_type(probes: Probes) -> Verdict:
    text = probes.cacerts().content_type
    if not text:
        return fault("there is no Content-Type")
    try:
        media = parse_media_type(text)
    except RemoteProtocolError:
        return fault(f"Content-Type is {quoted(text)}, which is no media type")
    if media.essence != _WANTED:
        return fault(f"Content-Type is {quoted(text)}, and not {_WANTED}")
    kind = media.get("smime-type")
    if kind is not None and kind.lower() != "certs-only":
        return warning(f"smime-type is {quoted(kind)}, and not certs-only")
    if not text.startswith(_WANTED):
        return note(f"{quoted(text)}: Bouncy Castle compares it with case")
    return ok(shown(text, 100))


def _coding(probes: Probes) -> Verdict:
    return coding_verdict(probes.cacerts())


def _transfer(probes: Probes) -> Verdict:
    return body_verdict(probes.cacerts().body)


def _bag(probes: Probes) -> Verdict:
    probes.cacerts()
    try:
        bag = probes.bag()
    except NotJudged as exc:
        return fault(str(exc))
    found = [warning(f"{shown(each.text)}: cannot be read") for each in bag.left_out]
    if len(bag.certificates) == 0:
        return fault("there is no certificate")
    return worst(found, ok(f"certs-only, with {counted(len(bag.certificates), 'certificate')}"))


def _root(probes: Probes) -> Verdict:
    roots = [each for each in probes.bag().certificates if is_self_signed(each)]
    if not roots:
        return fault("no certificate is self-signed: the root is missing")
    return ok(listed(_name(each) for each in roots))


def _name(certificate: x509.Certificate) -> str:
    return shown(subject_text(certificate), 64) or "a root without a name"


def _path(probes: Probes) -> Verdict:
    certificates, now = probes.bag().certificates, probes.clock().wall
    roots = [each for each in certificates if is_self_signed(each)]
    if not roots:
        raise NotJudged("there is no root to lead to")
    found = []
    for each in certificates:
        problem = chain_problem(each, anchors=roots, others=certificates, now=now)
        if problem:
            found.append(warning(f"{_name(each)}: {shown(problem)}"))
        elif not is_ca(each):
            found.append(warning(f"{_name(each)}: is not the certificate of a CA"))
    return worst(found, ok(f"{counted(len(certificates), 'certificate')}, all below a root"))


def _verifies_server(probes: Probes) -> Verdict:
    bag, now = probes.bag(), probes.clock().wall
    roots = [each for each in bag.certificates if is_self_signed(each)]
    if not roots:
        raise NotJudged("there is no root to lead to")
    chain = probes.chain()
    others = (*chain[1:], *bag.certificates)
    problem = chain_problem(chain[0], anchors=roots, others=others, now=now)
    if problem:
        return warning(f"they do not verify the server's own certificate: {shown(problem)}")
    return ok("they verify the server's own certificate")


CHECKS: Final = (
    Check(
        name="cacerts.status",
        title="/cacerts is answered with 200, to anybody",
        means="Every EST server distributes its CA certificates, and SHOULD NOT ask who wants "
        "them (RFC 7030 4.1.2, 4.1.3).",
        do="let the server answer GET /.well-known/est/cacerts",
        judge=_status,
    ),
    Check(
        name="cacerts.media-type",
        title="The media type is application/pkcs7-mime",
        means="Clients look at the media type before the body, some letter by letter (RFC 7030 "
        "4.1.3).",
        do="send Content-Type: application/pkcs7-mime",
        judge=_media_type,
    ),
    Check(
        name="cacerts.transfer-encoding",
        title="Content-Transfer-Encoding is base64",
        means="RFC 8951 3 has clients ignore it, and yet Bouncy Castle 1.72 takes the body for DER "
        "where it is absent (RFC 7030 4.1.3).",
        do="send Content-Transfer-Encoding: base64, in these letters, once",
        judge=_coding,
    ),
    Check(
        name="cacerts.base64",
        title="The body is base64 that clients read",
        means="The body is base64 of DER, without armour (RFC 8951 3, RFC 4648 4). No lines suit "
        "every client: one line with LF suits most.",
        do="send base64 in one line that ends in LF, and lines of 64 to libEST's clients",
        judge=_transfer,
    ),
    Check(
        name="cacerts.certs-only",
        title="The body is a certs-only message",
        means="It is a Simple PKI Response: SignedData without content and without signers (RFC "
        "7030 4.1.3, RFC 5272 4.1).",
        do="make the body with `openssl crl2pkcs7 -nocrl -certfile cas.pem -outform DER`",
        judge=_bag,
    ),
    Check(
        name="cacerts.root",
        title="The root is included",
        means="The answer MUST have the root: it becomes the trust anchor of a new device (RFC "
        "7030 4.1.3).",
        do="add the self-signed certificate of the root to the answer",
        judge=_root,
    ),
    Check(
        name="cacerts.path",
        title="Every certificate leads to a root",
        means="The answer has the path from the issuing CA to the root, and link certificates of "
        "a rollover (RFC 7030 4.1.3, RFC 4210 4.4).",
        do="add what is missing between, and remove what has expired or is no CA's",
        judge=_path,
    ),
    Check(
        name="cacerts.server",
        title="They verify the server itself",
        means="A device has only these anchors once it was bootstrapped, and verifies the server "
        "by them from then on (RFC 7030 4.1.1, 4.1.3).",
        do="certify the server below the same root, or give devices the other root as well",
        judge=_verifies_server,
    ),
)
