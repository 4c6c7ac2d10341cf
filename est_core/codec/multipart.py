"""multipart/mixed, in which EST answers with several parts. RFC 2046 5.1, RFC 7030 4.4.2.

Parts are base64, which no boundary with an underscore can be found in: so none has to be chosen by
chance. The reader takes what peers send: any boundary, quoted or not, a preamble, an epilogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from est_core._errors import RemoteProtocolError
from est_core.codec.media import parse_media_type

BOUNDARY: Final = "est_boundary"
MAX_PART_HEAD_BYTES: Final = 4096


def write_multipart(parts: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return Content-Type and body of parts: each its media type, and its base64 with an LF."""
    pieces = [
        b"--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n"
        % (BOUNDARY.encode("ascii"), content_type.encode("ascii"), body.rstrip(b"\n"))
        for content_type, body in parts
    ]
    pieces.append(b"--%s--\r\n" % BOUNDARY.encode("ascii"))
    return f"multipart/mixed; boundary={BOUNDARY}", b"".join(pieces)


def read_multipart(
    content_type: str, body: bytes, *, parts: int
) -> tuple[tuple[str | None, bytes], ...]:
    """Return the media type, None where there is none, and the body of each of so many parts.

    Lines of a part end in LF, as in base64 nothing else is meant by CRLF. Raises
    RemoteProtocolError: "response/media-type" for another type, or one without boundary,
    "body/multipart" for another number of parts, or a body that does not end behind them.
    """
    mark = b"\n--" + _boundary(content_type)
    # RFC 2046 5.1.1: a delimiter is told by how its line begins, and nothing counts behind the end.
    _, *found = (b"\n" + body.replace(b"\r\n", b"\n")).split(mark, parts + 1)
    is_end = [piece.startswith(b"--") for piece in found]
    if is_end != [False] * parts + [True]:
        message = f"the answer should have {parts} parts, and then its end"
        raise RemoteProtocolError("body/multipart", message)
    return tuple(_read_part(piece) for piece in found[:-1])


def _boundary(content_type: str) -> bytes:
    wanted = "the answer should be multipart/mixed, with a boundary"
    try:
        media = parse_media_type(content_type)
    except RemoteProtocolError as exc:
        raise RemoteProtocolError("response/media-type", wanted) from exc
    boundary = media.get("boundary")
    if not media.matches("multipart/mixed") or not boundary:
        raise RemoteProtocolError("response/media-type", wanted)
    return boundary.encode("latin-1")


def _read_part(piece: bytes) -> tuple[str | None, bytes]:
    head, separator, body = piece.partition(b"\n\n")
    if not separator or len(head) > MAX_PART_HEAD_BYTES:
        raise RemoteProtocolError("body/multipart", "a part has no end of its header fields")
    for line in head.split(b"\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-type":
            return value.decode("latin-1").strip(), body
    return None, body
