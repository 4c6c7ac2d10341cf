"""The error codes of CoAP messages and multipart-core bodies."""

from __future__ import annotations

from typing import Final

from est_core.error_codes._entry import Audience, ErrorCode, Section

COAP: Final = (
    Section(
        title="The CoAP message",
        note=(
            "Codes of paths, media types and bodies above mean the same on CoAP, with "
            "4.04 for 404 and so on."
        ),
        codes=(
            ErrorCode(
                code="coap/method",
                statuses=("4.05",),
                cause="method that the resource does not have",
                remedy=(
                    "use the method that the operation has: GET for what is read, POST for "
                    "enrollment"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="coap/target",
                statuses=("4.00",),
                cause="Uri-Path and Uri-Query longer than `Limits.target_bytes`",
                remedy="send the path of the operation and nothing behind it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="media/not-acceptable",
                statuses=("4.06",),
                cause="`Accept` of a Content-Format in which there is no answer",
                remedy=(
                    "leave `Accept` out, or ask for the Content-Format that RFC 9148 gives the "
                    "operation"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="coap/no-est",
                cause="client: the server's `/.well-known/core` is not there, or lists no EST",
                remedy="take the root of its EST resources from its operator: `--root /est`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="coap/link-format",
                cause="client: the server's `/.well-known/core` cannot be read (RFC 6690)",
                remedy="name the root of its EST resources instead: `--root /est`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="multipart-core/too-large",
                cause="multipart-core body longer than the limit for this place",
                remedy="send the parts that the operation has, or raise the limit of the receiver",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="multipart-core/too-many-parts",
                cause="more parts than the limit for this place",
                remedy="send only the parts that the operation has",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="multipart-core/truncated",
                cause="ends inside a part",
                remedy="send the whole body; a block that was lost on the way is the usual cause",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="multipart-core/not-shortest",
                cause="a number or length not in its shortest form",
                remedy="encode numbers and lengths in the shortest form (RFC 8949 4.2.1)",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="multipart-core/malformed",
                cause="any other CBOR than an array of Content-Formats and byte strings",
                remedy=(
                    "send one array of definite length: Content-Format, byte string, and so on "
                    "(RFC 8710)"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="multipart-core/trailing-bytes",
                cause="bytes after the end",
                remedy="send the one array and nothing after it",
                audience=Audience.AUTHOR,
            ),
        ),
    ),
)
