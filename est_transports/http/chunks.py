"""The chunked coding out of a buffer of bytes, refused as soon as it cannot be right any more.

h11 could read it, but says nothing of a chunk size or of trailer fields before all of them are
there: who promises a chunk of 2^72 bytes would be waited for.
"""

from __future__ import annotations

import re
from enum import Enum, unique
from typing import Final

from est_core import Fault, RemoteProtocolError

LINE_BYTES: Final = 256
"""Of a chunk's line, extensions included. Go 4096; the longest seen is a signature of 85 bytes."""
TRAILER_BYTES: Final = 4096
TRAILER_FIELDS: Final = 16
"""Nobody here needs the fields after a body; RFC 9110 6.5.1 lets us ignore them."""

# 16 digits are 2^64 - 1. RFC 9112 7.1: "Recipients MUST anticipate potentially large hexadecimal
# numerals and prevent parsing errors due to integer conversion overflows".
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_START_OF_CHUNK_LINE: Final = re.compile(
    rb"(?:[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\0-\x08\n-\x1f]*)?\r?)?"
)
_TRAILER_LINE: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_LINE_END: Final = b"\r\n"


@unique
class _Part(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data-end"
    TRAILER = "trailer"
    OVER = "over"


class ChunkDecoder:
    """Takes one chunked body off the front of a buffer. RFC 9112 7.1.

    `max_bytes` bounds the body, `max_raw_bytes` its chunks with their lines: a peer may wrap each
    byte in a chunk of its own. Line ends are CRLF and nothing else, since two readers who
    disagree on them disagree on where the body ends. Trailer fields are read and forgotten.
    """

    __slots__ = ("_fields", "_left", "_max_bytes", "_max_raw_bytes", "_part", "_raw", "_read",
                 "_trailer_bytes")  # fmt: skip

    def __init__(self, *, max_bytes: int, max_raw_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_raw_bytes = max_raw_bytes
        self._part = _Part.SIZE
        self._left = 0  # of the chunk
        self._read = 0
        self._raw = 0
        self._fields = 0
        self._trailer_bytes = 0

    @property
    def is_complete(self) -> bool:
        """True once the body and its trailers were read."""
        return self._part is _Part.OVER

    def read(self, unread: bytearray) -> bytes:
        """Take what belongs to the body off the front of `unread`; return the data of it.

        Raises RemoteProtocolError, each as soon as it is certain: "body/too-large",
        "http/malformed-chunk", "http/trailers" for more of them than the bounds of this module.
        """
        data = bytearray()
        while self._part is not _Part.OVER and self._step(unread, data):
            if self._raw > self._max_raw_bytes:
                raise RemoteProtocolError(
                    "body/too-large",
                    f"more than {self._max_raw_bytes} bytes with the lines of its chunks",
                    Fault.BODY_TOO_LARGE,
                )
        return bytes(data)

    def _step(self, unread: bytearray, data: bytearray) -> bool:
        """Read one piece; False where more bytes are needed."""
        match self._part:
            case _Part.SIZE:
                return self._read_size(unread)
            case _Part.DATA:
                return self._read_data(unread, data)
            case _Part.DATA_END:
                return self._read_data_end(unread)
            case _:
                return self._read_trailer(unread)

    def _read_size(self, unread: bytearray) -> bool:
        end = unread.find(_LINE_END, 0, LINE_BYTES)
        if end < 0:
            if _START_OF_CHUNK_LINE.fullmatch(unread, 0, LINE_BYTES) is None:
                raise _no_size()
            if len(unread) >= LINE_BYTES:
                raise _malformed(f"the line of a chunk is longer than {LINE_BYTES} bytes")
            return False
        line = _CHUNK_LINE.fullmatch(unread, 0, end)
        if line is None:
            raise _no_size()
        self._left = int(line[1], 16)
        self._forget(unread, end + 2)
        if self._left > self._max_bytes - self._read:
            raise RemoteProtocolError(
                "body/too-large", f"more than {self._max_bytes} bytes", Fault.BODY_TOO_LARGE
            )
        self._part = _Part.DATA if self._left else _Part.TRAILER
        return True

    def _read_data(self, unread: bytearray, data: bytearray) -> bool:
        piece = unread[: self._left]
        data += piece
        self._forget(unread, len(piece))
        self._left -= len(piece)
        self._read += len(piece)
        if self._left == 0:
            self._part = _Part.DATA_END
        return bool(piece)

    def _read_data_end(self, unread: bytearray) -> bool:
        found = unread[:2]
        if not _LINE_END.startswith(found):
            raise _malformed("a chunk is longer than its size says")
        if len(found) < 2:
            return False
        self._forget(unread, 2)
        self._part = _Part.SIZE
        return True

    def _read_trailer(self, unread: bytearray) -> bool:
        room = TRAILER_BYTES - self._trailer_bytes
        end = unread.find(_LINE_END, 0, room)
        if end < 0:
            if len(unread) >= room:
                raise _too_many_trailers()
            return False
        line = _TRAILER_LINE.fullmatch(unread, 0, end)
        del unread[: end + 2]
        self._trailer_bytes += end + 2
        if end == 0:
            self._part = _Part.OVER
            return True
        if line is None:
            raise _malformed("what follows the last chunk is no trailer field")
        self._fields += 1
        if self._fields > TRAILER_FIELDS:
            raise _too_many_trailers()
        return True

    def _forget(self, unread: bytearray, size: int) -> None:
        del unread[:size]
        self._raw += size


def _malformed(why: str) -> RemoteProtocolError:
    return RemoteProtocolError("http/malformed-chunk", why)


def _no_size() -> RemoteProtocolError:
    return _malformed("a chunk does not begin with its size: 1 to 16 hexadecimal digits, then CRLF")


def _too_many_trailers() -> RemoteProtocolError:
    return RemoteProtocolError(
        "http/trailers",
        f"more than {TRAILER_FIELDS} trailer fields or {TRAILER_BYTES} bytes of them",
        Fault.HEAD_TOO_LARGE,
    )
