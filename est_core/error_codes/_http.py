"""The error codes of HTTP messages, paths, media types and bodies."""

from __future__ import annotations

from typing import Final

from est_core.error_codes._entry import Audience, ErrorCode, Section

HTTP: Final = (
    Section(
        title="The HTTP message",
        codes=(
            ErrorCode(
                code="http/version",
                statuses=("505",),
                cause="HTTP version other than 1.0 and 1.1",
                remedy="send HTTP/1.1; where the client prefers HTTP/2, turn that off",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/target",
                statuses=("414",),
                cause="request target longer than `Limits.target_bytes`",
                remedy="send the path of the operation and nothing behind it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/head",
                statuses=("431", "400"),
                cause="more or longer header fields than the limits allow",
                remedy="send fewer and shorter header fields; what a proxy adds counts too",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/method",
                statuses=("405",),
                cause="method that the resource does not have; `Allow` lists those it has",
                remedy=(
                    "use the method that the operation has: GET for `/cacerts` and "
                    "`/csrattrs`, POST for enrollment"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/host",
                statuses=("400",),
                cause="`Host` missing, there twice, or no host with a port or none",
                remedy="send one `Host` field: the host of the URL and its port, without a user",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/target-form",
                statuses=("400",),
                cause="an absolute request target of another scheme than `https` and `http`",
                remedy="send the path of the operation as the request target, or a URL of https",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/content-length",
                statuses=("400",),
                cause="a `Content-Length` that is no number",
                remedy="send the length of the body in decimal digits, or send it chunked",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/expect",
                statuses=("417",),
                cause="an `Expect` other than `100-continue`",
                remedy="leave `Expect` out, or send `100-continue`",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="path/unknown",
                statuses=("404",),
                cause="path outside `/.well-known/est`, or with too many, empty or dot segments",
                remedy=(
                    "check the URL: `/.well-known/est`, at most one label, the operation, and "
                    "no slash after it"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="path/operation",
                statuses=("404",),
                cause="no EST operation of that name",
                remedy="check the last part of the URL: it is the operation, spelt as in RFC 7030",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="path/label",
                statuses=("404",),
                cause=(
                    "label that cannot be one: an operation's name, too long, or with other "
                    "characters than letters, digits and `-._~`"
                ),
                remedy="ask the server's operator for the label, which is one segment of the path",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="path/item",
                statuses=("404",),
                cause=(
                    "the segment behind an operation that says what it is about is missing, too "
                    "long, or has characters that need an escape"
                ),
                remedy="write the path as the operation has it: `/renewal-info/KEYID.SERIAL`",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="path/not-offered",
                statuses=("404",),
                cause=(
                    "operation that this server or this wire does not offer, or label that "
                    "does not exist"
                ),
                remedy="ask the server's operator which labels and operations there are",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="media/type",
                statuses=("415",),
                cause="missing or wrong `Content-Type`, or Content-Format",
                remedy=(
                    "send the media type that the operation has: `application/pkcs10` for "
                    "enrollment"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="media/coding",
                statuses=("415",),
                cause="a `Content-Encoding`",
                remedy="send the body uncompressed",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="media/malformed",
                statuses=("415",),
                cause="`Content-Type` that cannot be read",
                remedy="write the media type as RFC 9110 8.3.1 does, parameters after a semicolon",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="body/empty",
                statuses=("400",),
                cause="no body where one is needed",
                remedy=(
                    "send the body that the operation has: for enrollment, the request in base64"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="body/too-large",
                statuses=("413",),
                cause="body longer than the limits allow",
                remedy=(
                    "send the one message that the operation has; for a larger one, raise the "
                    "limit of the receiver"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="body/multipart",
                statuses=(),
                cause="an answer of several parts that is not one: parts or a boundary are missing",
                remedy=(
                    "ask the operator of the server; with --verbose the client shows what came"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="body/base64",
                statuses=("400",),
                cause="neither PEM, nor DER, nor base64 of RFC 4648 section 4",
                remedy="encode the DER with the alphabet of `A-Za-z0-9+/` and `=` at the end",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="body/pem",
                statuses=("400",),
                cause="PEM that is broken, lacks what is wanted, or has it twice; or a private key",
                remedy="send one whole PEM block of what is wanted, or its base64 alone",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="body/not-accepted",
                statuses=("400",),
                cause="PEM or raw DER where the configuration refuses it; PEM over CoAP",
                remedy="send base64 of the DER without PEM lines; over CoAP, the DER itself",
                audience=Audience.AUTHOR,
            ),
        ),
    ),
)
