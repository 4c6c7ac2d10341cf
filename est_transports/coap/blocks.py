"""What both sides of a block-wise transfer have in common: RFC 7959."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from est_core.values import unchecked_value_class
from est_core.wires.coapmap import RequestHead
from est_transports.coap.limits import BLOCK_SIZES
from est_transports.coap.messages import Block

SIZES_DIFFER: Final = "payload and block size differ"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a request with a body, or an answer with one, is told apart by.

    RFC 7959 2.4 and 2.5: two transfers of one client must differ in this to run side by side.
    RFC 9175 3 gives Request-Tag for that purpose.
    """

    head: RequestHead
    tags: tuple[bytes, ...] = ()


@unchecked_value_class
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
    """Return the SZX of a block size, one of BLOCK_SIZES."""
    return BLOCK_SIZES.index(block_bytes)


def cut(body: bytes, offset: int, szx: int) -> tuple[Block, bytes]:
    """Return the block of the body that starts at `offset`, a multiple of its size."""
    end = offset + BLOCK_SIZES[szx]
    return Block.at(offset, more=end < len(body), szx=szx), body[offset:end]
