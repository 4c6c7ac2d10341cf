"""The server's side of block-wise transfers by itself: bodies put together, answers kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

import pytest

from est_core import LocalProtocolError
from est_core.wires.coapmap import Code, RequestHead
from est_transports.coap.blocks import Refusal, Transfer
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Block, Kind, Message, Options
from est_transports.coap.server_blocks import Answer, KeptAnswers, LastBlock, Uploads, Whole
from tests.transports.raw_coap import CHANGED, CRTS, ENROLL, LIMITS, SEN

BODY: Final = hashlib.shake_128(b"body").digest(250)
TRANSFER: Final = Transfer(ENROLL)
LAST: Final = Block(3, False, 2)


def block(
    start: int,
    end: int,
    szx: int = 2,
    *,
    more: bool = True,
    body: bytes = BODY,
    block2: Block | None = None,
) -> Message:
    """Return the request with those bytes of the body."""
    return Message(
        kind=Kind.CON,
        code=Code.POST,
        message_id=1,
        options=Options(path=SEN, block1=Block.at(start, more=more, szx=szx), block2=block2),
        payload=body[start:end],
    )


def outcomes(uploads: Uploads, *messages: Message) -> list[bytes | int | None]:
    """Take blocks; return the body, the code of the refusal, or None for each."""
    taken = [uploads.take(TRANSFER, message, 0.0) for message in messages]
    return [
        each.body if isinstance(each, Whole) else each.code if isinstance(each, Refusal) else None
        for each in taken
    ]


FIRST: Final = block(0, 64)
SECOND: Final = block(64, 128)
THIRD: Final = block(128, 192)
OTHER: Final = BODY[:64] + bytes(186)
INCOMPLETE: Final = Code.REQUEST_ENTITY_INCOMPLETE


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([block(128, 128, more=False)], BODY[:128], id="an empty last block"),
        pytest.param([THIRD, block(128, 228, 3, more=False)], BODY[:228], id="a larger last block"),
        pytest.param([block(64, 100, more=False)], INCOMPLETE, id="cut short"),
        pytest.param([block(192, 250, more=False)], INCOMPLETE, id="gap"),
        pytest.param([SECOND, block(128, 150, more=False)], BODY[:150], id="the last block again"),
        pytest.param([FIRST, block(0, 64, more=False)], BODY[:64], id="begun anew in one block"),
        pytest.param([FIRST, block(64, 90, more=False)], BODY[:90], id="begun anew, and shorter"),
        pytest.param(
            [FIRST, block(64, 90, more=False, body=OTHER)],
            OTHER[:90],
            id="begun anew, and other bytes",
        ),
        pytest.param(
            [THIRD, SECOND, block(128, 192, body=OTHER)],
            INCOMPLETE,
            id="not begun anew, but other bytes",
        ),
    ],
)
def test_blocks_make_a_body_where_each_belongs_to_the_others(
    messages: list[Message], expected: bytes | int
) -> None:
    assert outcomes(Uploads(LIMITS), FIRST, SECOND, *messages)[-1] == expected


def test_a_transfer_is_there_until_its_body_is_whole() -> None:
    uploads = Uploads(LIMITS)
    assert (TRANSFER in uploads, uploads.next_timeout()) == (False, None)
    outcomes(uploads, FIRST)
    assert (TRANSFER in uploads, len(uploads), uploads.held_bytes) == (True, 1, 64)
    assert Transfer(ENROLL, (b"tag",)) not in uploads
    outcomes(uploads, block(64, 128, more=False))
    assert (TRANSFER in uploads, len(uploads), uploads.held_bytes) == (False, 0, 0)


def test_a_message_without_a_block_is_no_part_of_a_transfer() -> None:
    message = replace(FIRST, options=Options(path=SEN))
    with pytest.raises(LocalProtocolError):
        Uploads(LIMITS).take(TRANSFER, message, 0.0)


def test_a_block_that_comes_too_late_follows_nothing() -> None:
    for late_s, expected in ((-0.1, BODY[:128]), (0.0, INCOMPLETE)):
        uploads = Uploads(LIMITS)
        assert uploads.take(TRANSFER, FIRST, 5.0) is None
        assert uploads.next_timeout() == 5.0 + LIMITS.upload_s
        last = block(64, 128, more=False)
        taken = uploads.take(TRANSFER, last, 5.0 + LIMITS.upload_s + late_s)
        assert taken is not None
        assert (taken.body if isinstance(taken, Whole) else taken.code) == expected


def test_each_transfer_has_its_own_time() -> None:
    uploads = Uploads(LIMITS)
    second = Transfer(ENROLL, (b"2",))
    uploads.take(TRANSFER, FIRST, 0.0)
    uploads.take(second, FIRST, 1.0)
    uploads.expire(LIMITS.upload_s)
    assert (TRANSFER in uploads, second in uploads) == (False, True)
    assert uploads.next_timeout() == 1.0 + LIMITS.upload_s


def test_of_too_many_transfers_the_one_without_a_block_for_longest_is_forgotten() -> None:
    uploads = Uploads(replace(LIMITS, uploads=2))
    transfers = [Transfer(ENROLL, (tag,)) for tag in (b"1", b"2", b"3")]
    for transfer in (*transfers[:2], transfers[0], transfers[2]):
        uploads.take(transfer, FIRST, 0.0)
    assert [transfer in uploads for transfer in transfers] == [True, False, True]


@pytest.mark.parametrize("where", [0, 1, 2])
def test_the_size_of_the_answer_may_be_wanted_in_any_block(where: int) -> None:
    wanted = Block(0, False, 1)
    spans = [(0, 64, True), (64, 128, True), (128, 192, False)]
    uploads = Uploads(LIMITS)
    for number, (start, end, more) in enumerate(spans):
        block2 = wanted if number == where else None
        taken = uploads.take(TRANSFER, block(start, end, more=more, block2=block2), 0.0)
    assert taken == Whole(body=BODY[:192], block2=wanted)


@pytest.mark.parametrize(
    ("block1", "offset"),
    [
        (None, None),
        (Block(0, False, 2), None),
        (Block(1, True, 2), None),
        (Block(1, False, 2), 64),
        (Block(3, False, 0), 48),
    ],
)
def test_only_the_last_of_several_blocks_is_known_again(
    block1: Block | None, offset: int | None
) -> None:
    message = replace(FIRST, options=Options(block1=block1))
    last = LastBlock.of(message)
    assert (None if last is None else last.offset) == offset
    other = LastBlock.of(replace(message, payload=b"other"))
    assert (last == other) == (last is None)


LAST_BLOCK: Final = LastBlock(192, b"digest")


def answer(size: int = 100, *, blocks: bool = True) -> Answer:
    body = BODY[:size]
    return Answer.in_blocks(CHANGED, body) if blocks else Answer(head=CHANGED, body=body)


def test_an_answer_that_cannot_be_wanted_again_is_not_kept() -> None:
    kept = KeptAnswers(LIMITS)
    kept.keep(TRANSFER, answer(blocks=False), 0.0)
    assert (kept.held_bytes, kept.next_timeout()) == (0, None)
    kept.keep(TRANSFER, answer(blocks=False), 0.0, last=LAST_BLOCK)
    assert (kept.held_bytes, kept.next_timeout()) == (100, LIMITS.kept_s)


def test_an_answer_takes_the_place_of_the_earlier_one() -> None:
    kept = KeptAnswers(LIMITS)
    kept.keep(TRANSFER, answer(100), 0.0)
    kept.keep(TRANSFER, answer(70), 1.0)
    assert (kept.held_bytes, kept.next_timeout()) == (70, 1.0 + LIMITS.kept_s)
    assert kept.find(TRANSFER, 1.0) == answer(70)


@pytest.mark.parametrize(
    ("limits", "there"),
    [
        ({"kept": 2}, [False, True, True]),
        ({"kept": 3}, [True, True, True]),
        ({"kept_bytes": 300}, [True, True, True]),
        ({"kept_bytes": 299}, [False, True, True]),
        ({"kept_bytes": 100}, [False, False, True]),
    ],
)
def test_answers_are_kept_within_number_and_size(limits: dict[str, int], there: list[bool]) -> None:
    kept = KeptAnswers(replace(CoapLimits(response_bytes=100), **limits))
    transfers = [Transfer(replace(ENROLL, path=(name,))) for name in "123"]
    for transfer in transfers:
        kept.keep(transfer, answer(), 0.0)
    assert kept.held_bytes == 100 * sum(there)
    assert [kept.find(each, 0.0) is not None for each in transfers] == there


def test_an_answer_that_is_asked_for_is_kept_anew() -> None:
    kept = KeptAnswers(LIMITS)
    first, second = Transfer(ENROLL), Transfer(replace(ENROLL, path=CRTS))
    kept.keep(first, answer(), 0.0)
    kept.keep(second, answer(), 1.0)
    assert kept.find(first, 100.0) == answer()
    assert kept.next_timeout() == 1.0 + LIMITS.kept_s
    assert kept.find(second, 1.0 + LIMITS.kept_s) is None
    assert kept.next_timeout() == 100.0 + LIMITS.kept_s
    assert kept.find(first, 100.0 + LIMITS.kept_s) is None
    assert (kept.held_bytes, kept.next_timeout()) == (0, None)


HEAD: Final = RequestHead(
    code=Code.POST, path=SEN, query=("a",), accept=281, content_format=286, host="h", port=1
)
ASKED: Final = Transfer(HEAD, (b"tag",))


@pytest.mark.parametrize(
    ("later", "is_found"),
    [
        (ASKED, True),
        (Transfer(HEAD), True),
        (Transfer(HEAD, (b"other",)), False),
        (Transfer(replace(HEAD, accept=None), (b"tag",)), True),
        (Transfer(replace(HEAD, accept=287), (b"tag",)), False),
        (Transfer(replace(HEAD, content_format=None), (b"tag",)), True),
        (Transfer(replace(HEAD, code=Code.GET), (b"tag",)), False),
        (Transfer(replace(HEAD, path=CRTS), (b"tag",)), False),
        (Transfer(replace(HEAD, query=()), (b"tag",)), False),
        (Transfer(replace(HEAD, host=None), (b"tag",)), False),
        (Transfer(replace(HEAD, port=2), (b"tag",)), False),
    ],
)
def test_a_later_block_belongs_to_the_answer_of_its_request(
    later: Transfer, is_found: bool
) -> None:
    kept = KeptAnswers(LIMITS)
    kept.keep(ASKED, answer(), 0.0)
    assert (kept.find(later, 0.0) is not None) == is_found


def test_of_two_answers_the_one_asked_for_last_is_meant() -> None:
    kept = KeptAnswers(LIMITS)
    for tag, size in ((b"1", 90), (b"2", 80), (b"3", 70)):
        kept.keep(Transfer(HEAD, (tag,)), answer(size, blocks=tag != b"3"), 0.0, last=LAST_BLOCK)
    assert kept.find(Transfer(HEAD), 0.0) == answer(80)
    assert kept.find(Transfer(HEAD, (b"1",)), 0.0) == answer(90)
    assert kept.find(Transfer(HEAD), 0.0) == answer(90)


def test_the_answer_to_a_last_block_is_known_until_another_transfer_begins() -> None:
    for blocks in (True, False):
        kept = KeptAnswers(LIMITS)
        kept.keep(ASKED, answer(blocks=blocks), 0.0, block2=LAST, last=LAST_BLOCK)
        assert kept.again(ASKED, LAST_BLOCK, 0.0) == (answer(blocks=blocks), LAST)
        assert kept.again(ASKED, LastBlock(192, b"other"), 0.0) is None
        assert kept.again(Transfer(HEAD), LAST_BLOCK, 0.0) is None
        kept.begin_anew(Transfer(HEAD))
        assert kept.again(ASKED, LAST_BLOCK, 0.0) is not None
        kept.begin_anew(ASKED)
        assert kept.again(ASKED, LAST_BLOCK, 0.0) is None
        assert kept.find(ASKED, 0.0) == (answer() if blocks else None)
        assert kept.held_bytes == (100 if blocks else 0)


def test_the_answer_to_a_last_block_is_kept_for_its_time() -> None:
    kept = KeptAnswers(LIMITS)
    kept.keep(ASKED, answer(), 0.0, last=LAST_BLOCK)
    assert kept.again(ASKED, LAST_BLOCK, LIMITS.kept_s - 0.1) is not None
    assert kept.again(ASKED, LAST_BLOCK, LIMITS.kept_s) is None
    assert (kept.held_bytes, kept.next_timeout()) == (0, None)


@pytest.mark.parametrize("blocks", [True, False])
def test_a_block_of_an_answer_says_what_it_is_part_of(blocks: bool) -> None:
    options, payload = answer(100, blocks=blocks).block(64, 2)
    assert (options.block2, payload) == (Block(1, False, 2), BODY[64:100])
    assert options.content_format == CHANGED.content_format
    assert options.size2 == (100 if blocks else None)
    assert (options.etag is not None) == blocks
    assert options.etag is None or len(options.etag) == 8


def test_other_answers_have_other_etags() -> None:
    heads = [CHANGED, replace(CHANGED, content_format=287)]
    assert len({Answer.in_blocks(head, body).etag for head in heads for body in (b"", BODY)}) == 4
