"""The server's side of block-wise transfers: requests that come in blocks, and answers that go so.

RFC 7959 without messages and timers.

A request comes with Block1. Each block but the last is answered 2.31 (Continue), the last one with
the answer to the whole::

    absent --block 0--> growing --next block--> growing --last block--> Whole, and forgotten
                          |-- a block that does not follow, or contradicts: 4.08, and forgotten
                          |-- a block longer or shorter than it says: 4.00, and forgotten
                          |-- a body that is or will be too large: 4.13, and forgotten
                          |-- no block for `upload_s`, or `uploads` younger ones: forgotten

An answer goes with Block2. Its first block answers the request, the client asks for each later one
with a request that has no body, and the answer is kept to be cut from::

    kept --a later block is asked for--> kept, the youngest now
         --not asked for `kept_s`, or too many younger ones--> gone: 4.08, ask anew

The message layer has sorted out duplicates by Message ID. What is left is said again in new
messages: a client that got no answer in time begins anew or repeats a block, and libraries and
proxies between do so by themselves. So:

* A transfer is known by what is the same in all its blocks: method, options, Request-Tag. A client
  must not run two that are the same in that (RFC 7959 2.5), so the newer one takes the place.
* A block that is there already is taken again and changes nothing. One that says something else is
  taken only where it continues a repetition that began with block 0: then the client has begun
  anew with another body. Anything else is 4.08, and nothing of the two is ever put together.
* The last block again, known by its place and its bytes, is not a new request: the answer that was
  given is given again, or, where the application still thinks, goes to the newer message. Else a
  lost answer would make a CA issue twice. Block 0 of the same transfer ends that: the client means
  a new request (a poll, say).
* Answers in blocks carry an ETag made of their bytes, so that a client never joins blocks of two
  answers (RFC 7959 2.4).

Nothing depends on block sizes staying the same: a block stands where its number times its size
says. Memory is bounded by number, bytes and age, the oldest going first; a client that lost its
place begins anew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from est_core import LocalProtocolError
from est_core.values import unchecked_value_class
from est_core.wires.coapmap import Code, ResponseHead
from est_transports.coap.blocks import SIZES_DIFFER, Refusal, Transfer, cut
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Block, Message, Options, response_options

_ETAG_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class LastBlock:
    """What the last of several blocks is known again by, whatever message brings it."""

    offset: int
    digest: bytes

    @classmethod
    def of(cls, message: Message) -> LastBlock | None:
        """Return it; None where the message is not the last block of several.

        A body in a single block is none: sent again, as a client does that polls, it is a new
        request.
        """
        block = message.options.block1
        if block is None or block.more or block.number == 0:
            return None
        return cls(block.offset, hashlib.sha256(message.payload).digest())


@unchecked_value_class
class Whole:
    """A request body that is complete, and the size in which its sender wants the answer."""

    body: bytes = field(repr=False)
    block2: Block | None = None


@dataclass(slots=True)
class _Upload:
    """What has arrived of a body; `again_bytes` of it came once more, from the beginning on."""

    body: bytearray
    block2: Block | None = None
    expires: float = 0.0
    again_bytes: int = 0

    def place(self, block: Block, payload: bytes) -> bool:
        """Put a block where it belongs; return False where it does not belong to the others.

        It follows the last one, or says again what is there: the answer to it was lost, and the
        client, or whatever is between, uses a new Message ID. A client that began again may say
        something else from the place on that it has come to.
        """
        start, end, length = block.offset, block.offset + len(payload), len(self.body)
        if start > length:
            return False
        is_cut_short = not block.more and start < length and end <= length
        if is_cut_short or not payload.startswith(self.body[start:end]):
            if start != self.again_bytes:
                return False
            del self.body[start:]
        if length and start == self.again_bytes:
            self.again_bytes = end
        self.body[start:end] = payload
        return True


class Uploads:
    """A server's requests that are not complete. Bounded in number, size and age."""

    def __init__(self, limits: CoapLimits) -> None:
        self._limits = limits
        self._uploads: OrderedDict[Transfer, _Upload] = OrderedDict()

    def __len__(self) -> int:
        return len(self._uploads)

    def __contains__(self, transfer: Transfer) -> bool:
        return transfer in self._uploads

    @property
    def held_bytes(self) -> int:
        """How much of them has arrived."""
        return sum(len(upload.body) for upload in self._uploads.values())

    def take(self, transfer: Transfer, message: Message, now: float) -> Whole | Refusal | None:
        """Take a block; return the body if it was the last, None if more are to come.

        A block that is there already is taken again, and changes nothing. A first block with
        other bytes begins a new transfer. A refusal ends the transfer: 4.00 for a block that is
        shorter or longer than it says, 4.08 for one that does not follow the last or contradicts
        what is there, 4.13 for a body that is or will be over `request_bytes`. Blocks may change
        size under way, for what counts is where they start. RFC 7959 2.5, 2.9.
        """
        block, payload = message.options.block1, message.payload
        if block is None:
            raise LocalProtocolError("no block")
        self.expire(now)
        upload = self._uploads.pop(transfer, None)
        if len(payload) > block.size or (block.more and len(payload) != block.size):
            return Refusal(code=Code.BAD_REQUEST, error="coap/block", text=SIZES_DIFFER)
        if block.number == 0 and (upload is None or not (block.more and _begins(upload, payload))):
            upload = _Upload(bytearray())
        if upload is None or not upload.place(block, payload):
            return _OUT_OF_PLACE
        if max(len(upload.body), message.options.size1 or 0) > self._limits.request_bytes:
            return _too_large(self._limits.request_bytes)
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


_OUT_OF_PLACE: Final = Refusal(
    code=Code.REQUEST_ENTITY_INCOMPLETE,
    error="coap/block",
    text="this block does not follow the last",
)


def _begins(upload: _Upload, payload: bytes) -> bool:
    return upload.body.startswith(payload)


def _too_large(limit_bytes: int) -> Refusal:
    return Refusal(
        code=Code.REQUEST_ENTITY_TOO_LARGE,
        error="coap/too-large",
        text="body too large",
        size1_bytes=limit_bytes,
    )


@unchecked_value_class
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


@unchecked_value_class
class _Kept:
    """`block2` is the size in which the client wanted it, `last` what it answers if it is known."""

    answer: Answer
    expires: float
    block2: Block | None
    last: LastBlock | None


class KeptAnswers:
    """A server's answers that are asked for more than once. Bounded in number, size and age.

    So are those that did not fit into one message, and those to the last block of a request. What
    was asked for last is kept longest.
    """

    def __init__(self, limits: CoapLimits) -> None:
        self._limits = limits
        self._answers: OrderedDict[Transfer, _Kept] = OrderedDict()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Size of all bodies."""
        return self._held_bytes

    def keep(
        self,
        transfer: Transfer,
        answer: Answer,
        now: float,
        *,
        block2: Block | None = None,
        last: LastBlock | None = None,
    ) -> None:
        """Keep an answer in place of an earlier one to the same request, if it may be wanted."""
        if answer.etag is None and last is None:
            return
        self._forget(transfer)
        expires = now + self._limits.kept_s
        self._answers[transfer] = _Kept(answer=answer, expires=expires, block2=block2, last=last)
        self._held_bytes += len(answer.body)
        while len(self._answers) > self._limits.kept or self._held_bytes > self._limits.kept_bytes:
            self._forget(next(iter(self._answers)))

    def find(self, transfer: Transfer, now: float) -> Answer | None:
        """Return the answer that a request for a later block is about; None if there is none.

        Clients differ in what they repeat: Content-Format makes no difference, and where Accept
        or Request-Tag are left out the newest answer that was asked for at that path is meant.
        """
        self.expire(now)
        for place in reversed(self._answers):
            kept = self._answers[place]
            if kept.answer.etag is not None and _continues(transfer, place):
                self._answers[place] = replace(kept, expires=now + self._limits.kept_s)
                self._answers.move_to_end(place)
                return kept.answer
        return None

    def again(
        self, transfer: Transfer, last: LastBlock, now: float
    ) -> tuple[Answer, Block | None] | None:
        """Return the answer that this last block had, and the size in which it was wanted."""
        self.expire(now)
        kept = self._answers.get(transfer)
        return (kept.answer, kept.block2) if kept is not None and kept.last == last else None

    def begin_anew(self, transfer: Transfer) -> None:
        """Know the last block of this transfer no more, for another one has begun."""
        kept = self._answers.get(transfer)
        if kept is not None and kept.answer.etag is not None:
            self._answers[transfer] = replace(kept, last=None)
        else:
            self._forget(transfer)

    def expire(self, now: float) -> None:
        """Forget those that were not asked for too long."""
        while self._answers and next(iter(self._answers.values())).expires <= now:
            self._forget(next(iter(self._answers)))

    def next_timeout(self) -> float | None:
        """Return when the next one is to be forgotten."""
        return next((kept.expires for kept in self._answers.values()), None)

    def _forget(self, transfer: Transfer) -> None:
        kept = self._answers.pop(transfer, None)
        if kept is not None:
            self._held_bytes -= len(kept.answer.body)


def _continues(later: Transfer, kept: Transfer) -> bool:
    head, first = later.head, kept.head
    return (
        (head.code, head.path, head.query) == (first.code, first.path, first.query)
        and (head.host, head.port) == (first.host, first.port)
        and head.accept in (None, first.accept)
        and later.tags in ((), kept.tags)
    )
