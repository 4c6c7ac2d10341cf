"""Bodies in blocks, both directions and both sides: RFC 7959 without messages and timers."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap_limits import BLOCK_SIZES, CoapLimits
from est_transports.coap_messages import (
    SZX_RESERVED,
    Block,
    Message,
    Options,
    dotted,
    request_options,
    response_head,
    response_options,
)

_ETAG_BYTES: Final = 8
_SIZES_DIFFER: Final = "payload and block size differ"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a request with a body, or an answer with one, is told apart by.

    RFC 7959 2.4 and 2.5: two transfers of one client must differ in this to run side by side.
    RFC 9175 3 gives Request-Tag for that purpose.
    """

    head: RequestHead
    tags: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a block or a request is not taken, as the answer has it. RFC 7252 5.5.2.

    `code` is the answer's, `error` ours.
    """

    code: int
    error: str
    text: str
    size1_bytes: int | None = None
    max_age_s: int | None = None


def szx_of(block_bytes: int) -> int:
    """Return the SZX of a block size. Raises LocalProtocolError for a size that is none."""
    if block_bytes not in BLOCK_SIZES:
        raise LocalProtocolError("no block size")
    return BLOCK_SIZES.index(block_bytes)


def cut(body: bytes, offset: int, szx: int) -> tuple[Block, bytes]:
    """Return the block of the body that starts at `offset`, a multiple of its size."""
    end = offset + BLOCK_SIZES[szx]
    return Block.at(offset, more=end < len(body), szx=szx), body[offset:end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A request body that is complete, and the size in which its sender wants the answer."""

    body: bytes = field(repr=False)
    block2: Block | None = None


@dataclass(slots=True)
class _Upload:
    body: bytearray
    block2: Block | None = None
    expires: float = 0.0


class Uploads:
    """A server's requests that are not complete. Bounded in number, size and age."""

    def __init__(self, limits: CoapLimits) -> None:
        self._limits = limits
        self._uploads: OrderedDict[Transfer, _Upload] = OrderedDict()

    def __len__(self) -> int:
        return len(self._uploads)

    @property
    def held_bytes(self) -> int:
        """How much of them has arrived."""
        return sum(len(upload.body) for upload in self._uploads.values())

    def take(self, transfer: Transfer, message: Message, now: float) -> Whole | Refusal | None:
        """Take a block; return the body if it was the last, None if more are to come.

        A refusal ends the transfer: 4.00 for a block that is shorter or longer than it says, 4.08
        for one that does not follow the last, 4.13 for a body that is or will be over
        `request_bytes`. Blocks may change size under way, for what counts is where they start.
        RFC 7959 2.5, 2.9.
        """
        block = message.options.block1
        if block is None:
            raise LocalProtocolError("no block")
        self.expire(now)
        upload = self._uploads.pop(transfer, None)
        if block.number == 0:
            upload = _Upload(bytearray())
        refusal = self._judge(block, message, upload)
        if refusal is not None or upload is None:
            return refusal
        upload.body += message.payload
        upload.block2 = message.options.block2 or upload.block2  # in any of them, RFC 9148 B.2
        if not block.more:
            return Whole(body=bytes(upload.body), block2=upload.block2)
        upload.expires = now + self._limits.upload_s
        self._uploads[transfer] = upload
        while len(self._uploads) > self._limits.uploads:
            self._uploads.popitem(last=False)
        return None

    def expire(self, now: float) -> None:
        """Forget those that got no block for too long."""
        while self._uploads and next(iter(self._uploads.values())).expires <= now:
            self._uploads.popitem(last=False)

    def next_timeout(self) -> float | None:
        """Return when the next one is to be forgotten."""
        return next((upload.expires for upload in self._uploads.values()), None)

    def _judge(self, block: Block, message: Message, upload: _Upload | None) -> Refusal | None:
        size, limit = len(message.payload), self._limits.request_bytes
        if size > block.size or (block.more and size != block.size):
            return Refusal(code=Code.BAD_REQUEST, error="coap/block", text=_SIZES_DIFFER)
        if upload is None or block.offset != len(upload.body):
            text = "this block does not follow the last"
            return Refusal(code=Code.REQUEST_ENTITY_INCOMPLETE, error="coap/block", text=text)
        if max(block.offset + size, message.options.size1 or 0) > limit:
            return Refusal(
                code=Code.REQUEST_ENTITY_TOO_LARGE,
                error="coap/too-large",
                text="body too large",
                size1_bytes=limit,
            )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete response; `etag` is None where it fits into one message."""

    head: ResponseHead
    body: bytes = field(repr=False)
    etag: bytes | None = None

    @classmethod
    def in_blocks(cls, head: ResponseHead, body: bytes) -> Answer:
        """Return an answer with an ETag, so that a client can tell its blocks from others'."""
        etag = hashlib.sha256(repr(head).encode() + body).digest()[:_ETAG_BYTES]
        return cls(head=head, body=body, etag=etag)

    def block(self, offset: int, szx: int) -> tuple[Options, bytes]:
        """Return options and payload of one block. RFC 7959 2.4, 4."""
        block, payload = cut(self.body, offset, szx)
        size2 = len(self.body) if self.etag else None
        options = response_options(self.head)
        return replace(options, block2=block, etag=self.etag, size2=size2), payload


class KeptAnswers:
    """A server's answers that did not fit into one message. Bounded in number, size and age.

    What was asked for last is kept longest.
    """

    def __init__(self, limits: CoapLimits) -> None:
        self._limits = limits
        self._answers: OrderedDict[Transfer, tuple[Answer, float]] = OrderedDict()
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def held_bytes(self) -> int:
        """Size of all bodies."""
        return self._held_bytes

    def keep(self, transfer: Transfer, answer: Answer, now: float) -> None:
        """Keep an answer in place of an earlier one to the same request."""
        if transfer in self._answers:
            self._forget(transfer)
        self._answers[transfer] = answer, now + self._limits.kept_s
        self._held_bytes += len(answer.body)
        while len(self._answers) > self._limits.kept or self._held_bytes > self._limits.kept_bytes:
            self._forget(next(iter(self._answers)))

    def find(self, transfer: Transfer, now: float) -> Answer | None:
        """Return the answer that a request for a later block is about; None if there is none.

        Clients differ in what they repeat: Content-Format makes no difference, and where Accept
        or Request-Tag are left out the newest answer that was asked for at that path is meant.
        """
        self.expire(now)
        for kept in reversed(self._answers):
            if _continues(transfer, kept):
                answer, _ = self._answers[kept]
                self._answers[kept] = answer, now + self._limits.kept_s
                self._answers.move_to_end(kept)
                return answer
        return None

    def expire(self, now: float) -> None:
        """Forget those that were not asked for too long."""
        while self._answers and next(iter(self._answers.values()))[1] <= now:
            self._forget(next(iter(self._answers)))

    def next_timeout(self) -> float | None:
        """Return when the next one is to be forgotten."""
        return next((expires for _, expires in self._answers.values()), None)

    def _forget(self, transfer: Transfer) -> None:
        answer, _ = self._answers.pop(transfer)
        self._held_bytes -= len(answer.body)


def _continues(later: Transfer, kept: Transfer) -> bool:
    head, first = later.head, kept.head
    return (
        (head.code, head.path, head.query) == (first.code, first.path, first.query)
        and (head.host, head.port) == (first.host, first.port)
        and head.accept in (None, first.accept)
        and later.tags in ((), kept.tags)
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
        return not self._in_blocks or not self._block.more

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
        if not self._may_shrink or wanted is None or wanted.szx == SZX_RESERVED:
            return False
        if self._in_blocks and wanted.szx >= self._szx:
            return False
        if len(self._body) <= BLOCK_SIZES[wanted.szx]:
            return False
        self._may_shrink, self._in_blocks = False, True
        self._offset, self._szx = 0, min(self._szx, wanted.szx)
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
            raise _astray(_SIZES_DIFFER)


def _astray(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("coap/block", f"block-wise transfer gone astray: {what}")


def _too_large() -> RemoteProtocolError:
    return RemoteProtocolError("coap/too-large", "answer too large")
