"""Heads of HTTP/1.1 messages out of bytes: transfer codings, and nothing yet."""

from __future__ import annotations

import pytest

from est_core import Fault, RemoteProtocolError
from est_transports.http.messages import HeadReader, Inbox, parse_request_head


@pytest.mark.parametrize("codings", [b"gzip, deflate", b"gzip"])
def test_codings_that_do_not_end_with_chunked_are_malformed(codings: bytes) -> None:
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + codings + b"\r\n\r\n"
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request_head(head)
    assert (caught.value.code, caught.value.fault) == (
        "http/transfer-coding",
        Fault.MALFORMED,
    )


@pytest.mark.parametrize("codings", [b"x" * 3000, b"x" * 3000 + b", chunked"])
def test_of_a_long_transfer_coding_little_is_shown(codings: bytes) -> None:
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + codings + b"\r\n\r\n"
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request_head(head)
    assert len(str(caught.value)) < 300


def test_nothing_at_all_is_no_head_yet() -> None:
    for request in (True, False):
        assert HeadReader().read(Inbox(), max_bytes=10, request=request) is None
