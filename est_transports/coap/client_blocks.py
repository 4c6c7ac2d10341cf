"""The client's side of block-wise transfers: a request that goes in blocks, and its answer.

RFC 7959 without messages and timers. One message is under way at a time, so that every response
belongs to the block that was sent last, and anything else is an error::

    Upload:    block n --2.31 for n------------------------> block n + 1, or smaller ones
               block n --4.13 with a smaller size, once----> block 0 in that size
               last    --2.31------------------------------> error: there is no next one
               last    --any other response----------------> Download
               block n --another success-------------------> error: nobody knows what it is for
               block n --an error response-----------------> Download: it is the answer
    Download:  block n --Block2 with more------------------> ask for the block that follows
               block n --no Block2, or without more--------> complete

A server may make blocks smaller at any time and never larger (RFC 7959 2.3, 2.5); offsets are
counted in bytes, so a change of size loses nothing. It may refuse block 0 with 4.13 and the size
it can take (2.9.3): that is followed once and only downwards, so a server cannot keep a client
sending. The blocks of an answer have one code, one ETag and one Content-Format, else they are
parts of different answers (2.4) and the exchange fails. It is not begun anew from here: the
request may have had an effect, and whether it may be repeated is for others to say.
"""

from __future__ import annotations

from dataclasses import replace

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap.blocks import SIZES_DIFFER, cut, szx_of
from est_transports.coap.limits import BLOCK_SIZES, CoapLimits
from est_transports.coap.messages import (
    SZX_RESERVED,
    Block,
    Message,
    Options,
    dotted,
    request_options,
    response_head,
)


class Upload:
    """A client's request body on its way, block by block."""

    def __init__(self, head: RequestHead, body: bytes, *, limits: CoapLimits) -> None:
        self._options = request_options(head)
        self._body = body
        self._szx = szx_of(limits.block_bytes)
        self._offset = 0
        self._may_shrink = True
        # RFC 7959 2.4: a client asks for the size it wants in its first request already.
        self._block2 = Block(0, False, self._szx) if self._szx < szx_of(BLOCK_SIZES[-1]) else None
        self._in_blocks = len(body) > limits.block_bytes

    @property
    def is_last(self) -> bool:
        """True if the present block is the last one."""
        return not self._block.more

    @property
    def _block(self) -> Block:
        return cut(self._body, self._offset, self._szx)[0]

    def message(self) -> tuple[Options, bytes]:
        """Return options and payload of the present block."""
        options = replace(self._options, block2=self._block2)
        if not self._in_blocks:
            return options, self._body
        block, payload = cut(self._body, self._offset, self._szx)
        size1 = len(self._body) if self._offset == 0 else None
        return replace(options, block1=block, size1=size1), payload

    def advance(self, response: Message) -> bool:
        """Take the answer to the present block; return True if another block is to be sent.

        A smaller size that the server wants is followed, and for 4.13 with one the body is sent
        again, once. Raises RemoteProtocolError("coap/block") for an answer that does not
        belong to the block. RFC 7959 2.5, 2.9.3.
        """
        block1 = response.options.block1
        if response.code == Code.CONTINUE:
            if self.is_last or block1 is None or block1.number != self._block.number:
                raise _astray("2.31 for another block")
            self._offset += self._block.size
            self._szx = min(self._szx, block1.szx)
            return True
        if response.code == Code.REQUEST_ENTITY_TOO_LARGE:
            return self._shrink(block1)
        if not self.is_last and response.code >> 5 == 2:
            raise _astray(f"{dotted(response.code)} before the last block")
        return False

    def _shrink(self, wanted: Block | None) -> bool:
        if not self._may_shrink or wanted is None or wanted.szx >= self._szx:
            return False
        if len(self._body) <= BLOCK_SIZES[wanted.szx]:
            return False
        self._may_shrink, self._in_blocks = False, True
        self._offset, self._szx = 0, wanted.szx
        return True


class Download:
    """A client's answer on its way, block by block."""

    def __init__(self, limits: CoapLimits) -> None:
        self._limits = limits
        self._szx = szx_of(limits.block_bytes)
        self._body = bytearray()
        self._first: Message | None = None

    @property
    def body(self) -> bytes:
        """What has arrived."""
        return bytes(self._body)

    @property
    def held_bytes(self) -> int:
        """How much has arrived."""
        return len(self._body)

    @property
    def head(self) -> ResponseHead:
        """The head of the answer, which all its blocks have in common."""
        if self._first is None:
            raise LocalProtocolError("nothing has arrived")
        return response_head(self._first)

    def take(self, response: Message) -> Block | None:
        """Take a response; return the block to ask for next, None if the answer is complete.

        Raises RemoteProtocolError: coap/block for a block that is not the next one, has not the
        size it says, or is one of another answer (RFC 7959 2.4); coap/too-large for an answer
        that is or will be over `response_bytes`, or a datagram that was over `datagram_bytes`.
        """
        block = response.options.block2
        if response.is_oversized:
            raise _too_large()
        if self._first is not None:
            self._check_same(self._first, response)
        self._check_place(block, response.payload)
        if max(len(self._body) + len(response.payload), response.options.size2 or 0) > (
            self._limits.response_bytes
        ):
            raise _too_large()
        self._first = self._first or response
        self._body += response.payload
        if block is None or not block.more:
            return None
        return Block.at(len(self._body), more=False, szx=min(self._szx, block.szx))

    def _check_same(self, first: Message, response: Message) -> None:
        if response.code != first.code:
            raise _astray(f"{dotted(response.code)} for a later block")
        before, after = first.options, response.options
        if (before.etag, before.content_format) != (after.etag, after.content_format):
            raise _astray("a block of another answer")

    def _check_place(self, block: Block | None, payload: bytes) -> None:
        if block is None:
            if self._first is not None:
                raise _astray("an answer without the block that was asked for")
            return
        if block.szx == SZX_RESERVED:
            raise _astray("reserved block size")
        if block.offset != len(self._body):
            raise _astray("not the block that was asked for")
        if len(payload) > block.size or (block.more and len(payload) != block.size):
            raise _astray(SIZES_DIFFER)


def _astray(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("coap/block", f"block-wise transfer gone astray: {what}")


def _too_large() -> RemoteProtocolError:
    return RemoteProtocolError("coap/too-large", "answer too large")
