"""Targets: the codecs of the core, each of which reads one kind of text or bytes."""

from __future__ import annotations

import binascii
import re
from contextlib import suppress
from datetime import datetime, timedelta
from email.message import Message as EmailMessage
from typing import Final

import cbor2

from est_core import (
    AuthChallenge,
    BasicCredentials,
    BearerCredentials,
    CodeCredentials,
    DigestCredentials,
    DigestScheme,
    LocalProtocolError,
    MalformedCredentials,
    RemoteProtocolError,
    digest_proves,
)
from est_core.asn1.kinds import Kind
from est_core.codec.authheader import (
    parse_authorization,
    parse_challenges,
    write_authorization,
    write_challenge,
)
from est_core.codec.media import MAX_PARAMETERS, parse_media_type
from est_core.codec.multipart import read_multipart, write_multipart
from est_core.codec.multipart_core import MAX_PARTS, parse_multipart_core, write_multipart_core
from est_core.codec.retry import MAX_DELAY_S, format_http_date, parse_retry_after, retry_at
from est_core.codec.textual import one_of, read_textual
from est_core.codec.timestamps import format_timestamp, parse_timestamp
from est_core.codec.transfer import decode, encode
from est_core.testing import FIXED_INSTANT
from fuzz import corpus
from fuzz.cast import LIMITS
from fuzz.target import Result, Shape, Target, accepted, furthest, passed, refused, stopped

_BODY_BYTES: Final = 8192
_BASE64_LINES: Final = re.compile(rb"[A-Za-z0-9+/=]*+(?:\n[A-Za-z0-9+/=]++)*+")
_BLOCKS: Final = 8
_MESSAGE_CHARS: Final = 1024
_NO_SCHEME: Final = ("auth/malformed", "auth/unknown-scheme")
_NO_ARRAY: Final = (
    "multipart-core/too-large",
    "multipart-core/malformed it is not an array",
    "multipart-core/malformed an array",
    "multipart-core/malformed a part lacks",
    "multipart-core/too-many-parts",
)


def transfer(data: bytes) -> Result:
    """A body is refused, or stands for octets that its encoding, wrapped or not, stands for too.

    The forms switched off are never accepted.
    """
    results = []
    for pem, der in ((True, True), (True, False), (False, True), (False, False)):
        try:
            octets = decode(data, max_bytes=_BODY_BYTES, accept_pem=pem, accept_der=der)
        except RemoteProtocolError as error:
            results.append(refused(error, "body/base64", "body/empty", "body/too-large"))
            continue
        assert 0 < len(octets) <= len(data)
        for columns in (None, 64, 76):
            text = encode(octets, columns=columns)
            assert decode(text, max_bytes=len(text), accept_pem=False, accept_der=False) == octets
        assert pem or not data.lstrip().startswith(b"-----")
        assert der or octets != data
        if not pem and not der:
            assert binascii.a2b_base64(data) == octets
        results.append(accepted(f"ok {pem} {der}"))
    return furthest(results)


def textual(data: bytes) -> Result:
    """A file is refused, or has a bounded number of blocks, each of which can be asked for.

    Messages are short.
    """
    try:
        found = read_textual(data, max_bytes=_BODY_BYTES, max_blocks=_BLOCKS)
    except RemoteProtocolError as error:
        return refused(error, "body/base64", "body/empty", "body/too-large")
    assert 0 < len(found.blocks) <= _BLOCKS
    assert found.form.value != "DER" or b"".join(block.der for block in found.blocks) in data
    for number, block in enumerate(found.blocks, 1):
        assert block.position == number
        assert len(block.der) <= len(data)
        assert bool(block.problem) == bool(block.code)
    outcomes = [found.form.value]
    for wanted in (None, *Kind):
        try:
            chosen = one_of(found, wanted)
        except RemoteProtocolError as error:
            assert len(error.message) < _MESSAGE_CHARS
            continue
        assert chosen in found.blocks
        outcomes.append(chosen.kind.name)
    return (accepted if len(outcomes) > 1 else passed)(" ".join(dict.fromkeys(outcomes)))


def media(data: bytes) -> Result:
    """A Content-Type is refused, or read as a reader of mail does, and again as it is written."""
    text = data.decode("latin-1")
    try:
        media_type = parse_media_type(text)
    except RemoteProtocolError as error:
        return (stopped if "no type and" in error.message else passed)(error.message)
    assert len(media_type.parameters) <= MAX_PARAMETERS
    assert parse_media_type(str(media_type)) == media_type
    assert media_type.matches(media_type)
    assert media_type.essence == media_type.essence.lower()
    assert media_type.matches(media_type.essence)
    header = EmailMessage()
    header["Content-Type"] = text
    if not set("\\*") & set(text):  # mail has other rules for these
        (essence, _), *theirs = header.get_params([("", "")])
        assert essence.lower() == media_type.essence
        assert [each for each in theirs if each != ("", "")] == list(media_type.parameters)
    return accepted(f"ok {len(media_type.parameters)}")


def retry(data: bytes) -> Result:
    """Any Retry-After is a bounded delay, a UTC date that is written as it is read, or nothing."""
    value = parse_retry_after(data.decode("latin-1"), FIXED_INSTANT)
    at = retry_at(value, FIXED_INSTANT, LIMITS)
    waits_s = at.mono - FIXED_INSTANT.mono
    assert LIMITS.retry_after_min_s <= waits_s <= LIMITS.retry_after_max_s
    if isinstance(value, datetime):
        assert parse_retry_after(format_http_date(value), FIXED_INSTANT) == value
    elif value is not None:
        assert value == min(int(data), MAX_DELAY_S)
    return (stopped if value is None else accepted)(type(value).__name__)


_SCHEME: Final = DigestScheme(realm="est", key=b"a key that is only here" * 2, entropy=bytes)


def timestamps(data: bytes) -> Result:
    """A timestamp is refused, or a moment in UTC that is written and read again as it is.

    Without a leap second it is what the standard library makes of it too.
    """
    text = data.decode("latin-1")
    try:
        moment = parse_timestamp(text)
    except RemoteProtocolError as error:
        return refused(error, "timestamp/unreadable")
    assert moment.utcoffset() == timedelta(0)
    assert parse_timestamp(format_timestamp(moment)) == moment.replace(microsecond=0)
    if ":60" in text[:20]:
        assert moment.second == 59
        return accepted("leap second")
    assert datetime.fromisoformat(text.upper()) == moment
    return accepted("moment")


def authorization(data: bytes) -> Result:
    """An Authorization header never raises; Basic and Bearer are written as they were read."""
    credentials = parse_authorization(data.decode("latin-1"), LIMITS)
    match credentials:
        case CodeCredentials():
            raise AssertionError("no header holds a code of a CSR")
        case MalformedCredentials(code=code):
            result = stopped if code in _NO_SCHEME else passed
            return result(f"{code} {credentials.message}")
        case BasicCredentials() | BearerCredentials():
            if isinstance(credentials, BasicCredentials):
                said = binascii.a2b_base64(data.split(maxsplit=1)[1])
                assert said == f"{credentials.user}:{credentials.password}".encode()
            assert parse_authorization(write_authorization(credentials), LIMITS) == credentials
        case DigestCredentials():
            # RFC 7616 3.4 does not let everything be written that servers have to read.
            with suppress(LocalProtocolError):
                again = parse_authorization(write_authorization(credentials), LIMITS)
                assert isinstance(again, DigestCredentials)
                assert (again.user, again.get("nonce")) == (
                    credentials.user,
                    credentials.get("nonce"),
                )
            assert _SCHEME.flaw(credentials, FIXED_INSTANT) is not None, "nobody has our key"
            assert not digest_proves(credentials, "0" * 32)
    user = "" if isinstance(credentials, BearerCredentials) else credentials.user
    assert "secret" in user or "secret" not in repr(credentials)
    return accepted(type(credentials).__name__)


def challenges(data: bytes) -> Result:
    """The challenges of a 401 are bounded, and read again as they are written, or all refused."""
    values = data.decode("latin-1").split("\n")
    try:
        found = parse_challenges(values, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "auth/too-large")
    assert 0 < len(found) <= LIMITS.challenges
    each = [challenge for value in values for challenge in _alone(value)]
    if len(values) <= LIMITS.challenges:  # more are not looked at
        assert list(found) == each[: LIMITS.challenges]
    for challenge in found:
        assert len(challenge.parameters) <= LIMITS.auth_params
        text = write_challenge(challenge)
        if len(text) <= LIMITS.auth_header_bytes:  # quotes make it longer
            assert parse_challenges([text], LIMITS) == (challenge,)
    return accepted(f"{len(found)} {len(found[0].parameters)}")


def _alone(value: str) -> tuple[AuthChallenge, ...]:
    try:
        return parse_challenges([value], LIMITS)
    except RemoteProtocolError:
        return ()


def multipart(data: bytes) -> Result:
    """An answer is refused, or has the parts asked for: those that its lines have, written or not.

    The first line of the input is the Content-Type.
    """
    first, _, body = data.partition(b"\n")
    content_type = first.decode("latin-1")
    results = []
    for number in (1, 2):
        try:
            parts = read_multipart(content_type, body, parts=number)
        except RemoteProtocolError as error:
            results.append(refused(error, "response/media-type"))
            continue
        mark = b"--" + (parse_media_type(content_type).get("boundary") or "").encode("latin-1")
        assert len(parts) == number
        assert [octets for _, octets in parts] == _bodies_by_lines(body, mark)
        assert sum(len(octets) for _, octets in parts) < len(body)
        if all(_BASE64_LINES.fullmatch(octets) for _, octets in parts):
            named = [("a/b", octets) for _, octets in parts]
            assert read_multipart(*write_multipart(named), parts=number) == tuple(named)
        results.append(accepted(f"ok {[name is None for name, _ in parts]}"))
    return furthest(results)


def _bodies_by_lines(body: bytes, mark: bytes) -> list[bytes]:
    """Return what is below the fields of each part, by a reader of lines. RFC 2046 5.1.1."""
    parts: list[list[bytes]] = []
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(mark + b"--"):
            break
        if line.startswith(mark):
            parts.append([])
        elif parts:
            parts[-1].append(line)
    ends = [lines.index(b"") for lines in parts]
    return [b"\n".join(lines[end + 1 :]) for lines, end in zip(parts, ends, strict=True)]


def multipart_core(data: bytes) -> Result:
    """A multipart-core body is refused, or has exactly one writing: the one that was read."""
    try:
        parts = parse_multipart_core(data, max_bytes=_BODY_BYTES)
    except RemoteProtocolError as error:
        return refused(error, *_NO_ARRAY)
    assert len(parts) <= MAX_PARTS
    assert write_multipart_core(parts) == data
    assert [[part.content_format, part.body] for part in parts] == _read_by_cbor2(data)
    return accepted(f"ok {len(parts)}")


def _read_by_cbor2(data: bytes) -> list[list[object]]:
    flat = cbor2.loads(data)
    return [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]


_MEDIA_TYPES: Final = (
    *(b"application/pkcs7-mime", b"application/csrattrs", b"text/plain;charset=UTF-8"),
    *(b"application/pkcs8", b'multipart/mixed; boundary="estServerKeyGen"', b"a/b;c=d;e=f"),
    b"application/pkcs7-mime; smime-type=certs-only",
    b'multipart/mixed; boundary="a \\" b"; x=y;;',
    b"application/pkcs10",
    b'text/plain; charset="utf-8" ; a="" \t; B=c',
    b"text/plain; charset=UTF-8; Charset=latin-1",
    b'a/b; c="d;e" ;f=G',
)
_RETRY_AFTER: Final = (
    *(b"120", b"0", b"99999999999999999999", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    *(b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"),
    *(b"Fri, 31 Dec 9999 23:59:60 GMT", b"Tue, 29 Feb 2028 00:00:00 GMT"),
)
_AUTHORIZATION: Final = (
    *(
        b"Basic\tw4k6w4w=",
        b"basic ZGV2aWNlOg==",
        b"Basic  dTpwOnE=",
        b"Basic w6k6w7w=",
        b"bearer abc.def-123_~+/=",
    ),
    b"Digest username=u, realm=r, uri=/x, nonce=n, response=0f, nc=00000001, cnonce=c, qop=auth",
    b"Basic dXNlcjpzZWNyZXQ=",
    b"Bearer secret-token~+/==",
    b'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
    b'algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    b'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
    b'response="secret753927fa0e85d155564e2e272a28d1802ca10daf449", opaque="FQhe/qaU925kf"',
    b'Digest username*=UTF-8\'\'J%C3%A4s%C3%B8n, realm="a", nonce="b", uri="/", '
    b'response="secret", userhash=false',
    b"Digest",
)
_TIMESTAMPS: Final = (
    b"2026-11-27T12:00:00Z",
    b"1999-02-28t23:59:60.5-08:00",
    b"0001-01-01 00:00:00+00:00",
    b"9999-12-31T23:59:59.999999999-00:01",
)
_CHALLENGES: Final = (
    b'Basic realm="est", charset="UTF-8"',
    b'Digest realm="est", qop="auth", nonce="a\\"b", algorithm=MD5, Basic realm="x"\n'
    b'Digest realm="est", qop="auth,auth-int", algorithm="SHA-256", nonce="n", stale=true',
    b'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
    b"Negotiate a87421000492aa874209af8bc028==, Bearer, Basic",
)
_HTTP_WORDS: Final = (
    *(b";", b",", b"=", b'"', b"\\", b'\\"', b" ", b"\t", b"realm", b"nonce", b"*", b"%00"),
    *(b"username*=UTF-8''", b"charset", b"GMT", b"\r\n", b"\0", b"\xff", b"Basic ", b"Digest "),
)
_MIXED: Final = (
    b"multipart/mixed; boundary=b\n--b\r\nContent-Type: application/pkcs8\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nMAA=\r\n--b\r\ncontent-type:a/b\r\n\r\nMAA=\r\n"
    b"--b--\r\nepilogue\r\n",
    b'Multipart/Mixed; boundary="a b"\npreamble\n--a b \n\nMAA=\nMAA=\n--a b--',
    b"multipart/mixed; boundary=b\n--b\n\nMAA=\n--b--\n\nMAA=\n--b--",
    b"multipart/mixed; boundary=b\n--b\nX: y\n--b--",
    b"multipart/mixed\n--\n\nMAA=\n----",
    b"application/pkcs7-mime\nMAA=",
    b"mixed\nMAA=",
)
_MIXED_WORDS: Final = (
    *(b"--b", b"--b\n", b"--b--", b"\n\n", b"\r\n", b"\r", b"\n", b"--", b"Content-Type: a/b\n"),
    *(b"MAA=", b"; boundary=", b'"', b" ", b"\xff", b"multipart/mixed"),
)
_CBOR_WORDS: Final = (b"\x80", b"\x9f", b"\xff", b"\xf6", b"\x58\x20", b"\x5f", b"\x19\x01\x1c")

_PEM_WORDS: Final = (
    *(b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----", b"-----BEGIN ", b"-----", b"\0"),
    *(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", b"\xef\xbb\xbf"),
    *(b"\xff\xfe", b"Proc-Type: 4,ENCRYPTED\n\n", b"EC PARAMETERS", b"TRUSTED CERTIFICATE"),
    *(b"PRIVATE KEY", b"ssh-rsa ", b"\xfe\xed\xfe\xed", b"0", b"M", b"=", b"\r\n"),
)

TARGETS: Final = (
    Target(
        run=transfer,
        gate="holds base64, PEM or DER",
        goal="stands for octets in one of the forms that are on",
        modules=("est_core.codec.transfer",),
        shape=Shape.LINES,
        seeds=corpus.bodies,
        words=(b"-----BEGIN X-----", b"-----END X-----", b"\0", b"=", b"\r\n", b"M", b"0"),
        max_bytes=_BODY_BYTES,
    ),
    Target(
        run=textual,
        gate="holds blocks of base64, PEM or DER",
        goal="has a block that is of the kind asked for",
        modules=("est_core.codec.textual", "est_core.asn1.kinds"),
        shape=Shape.LINES,
        seeds=lambda: (*corpus.bodies(), *corpus.files(), corpus.files()[0] * (_BLOCKS + 1)),
        words=_PEM_WORDS,
        max_bytes=_BODY_BYTES,
    ),
    Target(
        run=media,
        gate="has a type and a subtype",
        goal="is a media type",
        modules=("est_core.codec.media",),
        seeds=lambda: _MEDIA_TYPES,
        words=_HTTP_WORDS,
        max_bytes=2048,
    ),
    Target(
        run=retry,
        gate="is a delay or a date",
        goal="is a delay or a date",
        modules=("est_core.codec.retry",),
        seeds=lambda: _RETRY_AFTER,
        words=_HTTP_WORDS,
        max_bytes=256,
    ),
    Target(
        run=timestamps,
        gate="is a date and time of RFC 3339",
        goal="is a date and time of RFC 3339",
        modules=("est_core.codec.timestamps",),
        seeds=lambda: _TIMESTAMPS,
        words=(b"Z", b"T", b"+", b"-", b":60", b".", b"0000", b"9999", b" ", b"\n"),
        max_bytes=64,
    ),
    Target(
        run=authorization,
        gate="has a scheme that is known",
        goal="is credentials",
        modules=(
            "est_core.codec.authheader",
            "est_core.codec._grammar",
            "est_core.auth.digest",
            "est_core.auth.nonces",
            "est_core.auth.scheme",
        ),
        seeds=lambda: _AUTHORIZATION,
        words=_HTTP_WORDS,
        max_bytes=16384,
    ),
    Target(
        run=challenges,
        gate="is not too long",
        goal="has a challenge that can be read",
        modules=("est_core.codec.authheader",),
        seeds=lambda: _CHALLENGES,
        words=_HTTP_WORDS,
        max_bytes=16384,
    ),
    Target(
        run=multipart,
        gate="has the media type, and a boundary",
        goal="is the parts asked for",
        modules=("est_core.codec.multipart",),
        shape=Shape.LINES,
        seeds=lambda: _MIXED,
        words=_MIXED_WORDS,
        max_bytes=_BODY_BYTES,
    ),
    Target(
        run=multipart_core,
        gate="begins with an array of a number of pairs that is allowed",
        goal="is parts",
        modules=("est_core.codec.multipart_core",),
        seeds=lambda: corpus.vectors("rfc8710/*.bin", "rfc9148/*multipart*", "rfc9148/fig2*"),
        words=_CBOR_WORDS,
    ),
)
