"""The error codes of HTTP and CoAP messages as transports read and send them."""

from __future__ import annotations

from typing import Final

from est_core.error_codes import Audience, ErrorCode, Section

MESSAGES: Final = (
    Section(
        title="The HTTP message",
        codes=(
            ErrorCode(
                code="http/malformed-head",
                statuses=("400",),
                cause="a request line, status line or header field that HTTP/1.1 does not have",
                remedy=(
                    "write the head as RFC 9112 2 to 5 says, with one `Host`; check that the "
                    "port speaks HTTP"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/ambiguous-length",
                statuses=("400",),
                cause="a head that does not say clearly where the body ends",
                remedy="send `Content-Length` or `Transfer-Encoding: chunked`, not both",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/transfer-coding",
                statuses=("501", "400"),
                cause="a transfer coding other than `chunked`, or `chunked` twice or not last",
                remedy="send the body with `Content-Length`, or chunked and not compressed",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/malformed-chunk",
                statuses=("400",),
                cause="a chunked body that is none, or one with an endless size or line",
                remedy=(
                    "write chunks as RFC 9112 7.1 says: size in hexadecimal, line end, bytes, "
                    "line end"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/trailers",
                statuses=("431",),
                cause="more than 16 fields after a chunked body, or more than 4096 bytes of them",
                remedy="leave out the trailer fields: nothing reads them",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="http/truncated",
                cause="the connection ended inside a message",
                remedy="try again; if it happens each time, look for a proxy that cuts off answers",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="http/timeout",
                statuses=("408",),
                cause="the peer was too slow",
                remedy="wait longer: with `--timeout` in a client, with `[timeouts]` in a server",
                audience=Audience.USER,
            ),
        ),
    ),
    Section(
        title="The CoAP message",
        codes=(
            ErrorCode(
                code="coap/malformed",
                cause="a datagram that is no CoAP message; never shown: it is rejected or ignored",
                remedy="write messages as RFC 7252 3 says",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="coap/timeout",
                cause="the peer did not acknowledge a message, or did not answer in time",
                remedy="check host and port; on a slow link, wait longer with `--timeout`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="coap/reset",
                cause="the peer rejected a message",
                remedy="try again: the peer may have restarted and forgotten the exchange",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="coap/block",
                statuses=("4.00", "4.08"),
                cause=(
                    "a block that does not belong where it came, or of an answer that is not "
                    "kept any more"
                ),
                remedy=(
                    "send blocks in order from 0, each of the size that it names, and begin "
                    "anew after 4.08 (RFC 7959)"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="coap/too-large",
                statuses=("4.13",),
                cause=(
                    "a request over `CoapLimits.request_bytes`, an answer over "
                    "`response_bytes`, or a message over `datagram_bytes`"
                ),
                remedy=(
                    "send a smaller request, in blocks (RFC 7959), or raise the limit of the "
                    "receiver"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="coap/bad-option",
                statuses=("4.02",),
                cause="a critical option that is not understood",
                remedy="leave the option out",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="coap/precondition",
                statuses=("4.12",),
                cause="If-Match, or If-None-Match where something is",
                remedy="leave If-Match and If-None-Match out",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="coap/proxy",
                statuses=("5.05",),
                cause="a request that is meant for a proxy",
                remedy="leave Proxy-Uri and Proxy-Scheme out, and send it to the server itself",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="server/stopping",
                statuses=("5.03",),
                cause="the server is about to stop; `Max-Age` says when to try again",
                remedy="try again after `Max-Age`",
                audience=Audience.USER,
            ),
        ),
    ),
)
