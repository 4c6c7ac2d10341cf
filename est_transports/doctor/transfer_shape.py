"""How a body of DER stands there: base64 in which lines, PEM, DER, or something else."""

from __future__ import annotations

import re
from typing import Final

from est_transports.doctor.answers import Answer
from est_transports.doctor.findings import Verdict, fault, note, ok, warning, worst
from est_transports.doctor.texts import counted, quoted

_OPENSSL_LINE_CHARS: Final = 1000
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=\r\n]")


def body_verdict(body: bytes) -> Verdict:
    """Return what is to be said of the base64 of a body. RFC 8951 3, RFC 4648 4."""
    if not body.strip(b"\0\r\n \t"):
        return fault("the body is empty")
    if body.startswith(b"\x30") and body[1:2] and not body[1:2].isalnum():
        return fault("the body is DER, and not base64")
    if b"-----BEGIN" in body:
        return fault("the body is PEM, and not base64 alone")
    found = []
    if body.endswith(b"\0"):
        found.append(warning("the body ends in a NUL"))
        body = body.rstrip(b"\0")
    strange = _NOT_BASE64.search(body)
    if strange is not None:
        place = f"{strange[0]!r} at {strange.start()}"
        return fault(f"the body is no base64: {place} in {quoted(body[:40])}")
    if _BASE64.fullmatch(body.replace(b"\r", b"").replace(b"\n", b"")) is None:
        return fault("the body is no base64: a = in the middle")
    found.append(_lines(body))
    return worst(found, ok(""))


def _lines(body: bytes) -> Verdict:
    lines = body.rstrip(b"\r\n").split(b"\n")
    longest = max(len(line.rstrip(b"\r")) for line in lines)
    ends = "CRLF" if b"\r\n" in body else "LF"
    if len(lines) > 1:
        seen = f"base64 in {len(lines)} lines of up to {longest} characters, with {ends}"
        return note(f"{seen}: strongSwan's pki reads one line only")
    seen = f"base64 in one line of {longest} characters"
    if not body.endswith(b"\n"):
        return note(f"{seen} without a line end: libEST cannot read that")
    if longest > _OPENSSL_LINE_CHARS:
        return note(f"{seen}: libEST reads lines of up to about 1000")
    return ok(f"{seen} that ends in {ends}")


def coding_verdict(answer: Answer) -> Verdict:
    """Return what is to be said of Content-Transfer-Encoding. RFC 7030 4.1.3, RFC 8951 3."""
    if codings := answer.first(b"content-encoding"):
        return fault(f"the body comes with the content coding {quoted(codings)}, unasked")
    values = answer.head.values(b"content-transfer-encoding")
    if not values:
        return note("Content-Transfer-Encoding is absent")
    value = values[0].decode("latin-1").strip()
    if len(values) > 1:
        return warning(f"Content-Transfer-Encoding stands there {counted(len(values), 'time')}")
    if value == "base64":
        return ok("Content-Transfer-Encoding: base64")
    if value.lower() == "base64":
        return note(f"Content-Transfer-Encoding is written {quoted(value)}")
    return warning(f"Content-Transfer-Encoding is {quoted(value)}, and not base64")
