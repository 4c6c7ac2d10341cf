"""A plain HTTP connection to what is published, without sockets: answers, refusals, bounds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Limits, LocalProtocolError
from est_core.testing import FIXED_INSTANT
from est_transports.http import Close, Receive, Send
from est_transports.publication import (
    Publication,
    PublicationConversation,
    PublicationLimits,
    Published,
    Resource,
)
from est_transports.publication.conversation import Produce
from tests.reached import reached, reaches

MODIFIED = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LIMITS = PublicationLimits(http=Limits(head_bytes=400, body_bytes=64), requests_max=20)
NOW = FIXED_INSTANT


def echo(method: str, tail: str, body: bytes, now: datetime) -> Published:
    assert now == NOW.wall
    return Published(content_type="text/x", body=f"{method} {tail} ".encode() + body)


def fixed(*_: object) -> Published:
    return Published(body=b"0123", max_age_s=60, modified=MODIFIED, expires=MODIFIED)


def broken(*_: object) -> Published:
    raise ValueError("broken")


PUBLISHED = Publication(
    resources=(
        Resource(path="/a/fixed", answer=fixed, waits=False),
        Resource(
            path="/ask",
            answer=echo,
            methods=frozenset({"GET", "POST"}),
            post_type="text/q",
            has_tail=True,
        ),
        Resource(path="/broken", answer=broken),
    )
)


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    lines = (f"{method} {target} HTTP/1.1", "Host: x", *fields)
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def post(body: bytes, content_type: str = "text/q", target: str = "/ask") -> bytes:
    fields = (f"Content-Type: {content_type}", f"Content-Length: {len(body)}")
    return get(target, *fields, method="POST") + body


def talk(*pieces: bytes, source: Publication = PUBLISHED) -> list[bytes]:
    """Return the answers to what a client sends, and b"closed" where the server closes."""
    conversation = PublicationConversation(lambda: source, limits=LIMITS, now=NOW)
    left, answers = [*pieces, b""], []
    while True:
        match conversation.next_step(NOW):
            case Send(data=data):
                answers.append(data)
            case Produce(answer=answer):
                try:
                    conversation.produced(answer(), NOW)
                except ValueError:
                    conversation.produced(None, NOW)
            case Receive():
                conversation.receive(left.pop(0))
            case Close(gently=gently):
                return answers + ([b"closed"] if left or gently else [])


def fields_of(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


def test_a_resource_is_answered_with_what_caches_are_to_know() -> None:
    (answer,) = talk(get("/a/fixed"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n0123")
    found = fields_of(answer)
    assert found["Cache-Control"] == "max-age=60, public, no-transform, must-revalidate"
    assert found["Last-Modified"] == found["Expires"] == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert found["Content-Length"] == "4"


def test_head_is_get_without_the_body() -> None:
    (got,) = talk(get("/a/fixed"))
    (head,) = talk(get("/a/fixed", method="HEAD"))
    assert head == got.removesuffix(b"0123")


def test_what_may_not_be_kept_says_so() -> None:
    (answer,) = talk(get("/ask/x"))
    assert fields_of(answer)["Cache-Control"] == "no-store"
    assert "ETag" not in fields_of(answer)


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("If-None-Match: {etag}", 304),
        ('If-None-Match: "other", W/{etag}', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "other"', 200),
        ("If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT", 304),
        ("If-Modified-Since: Fri, 02 Jan 2026 03:04:04 GMT", 200),
        ("If-Modified-Since: 99999", 200),
        ("If-Modified-Since: yesterday", 200),
    ],
)
def test_who_has_it_already_gets_it_not_again(field: str, status: int) -> None:
    etag = fields_of(talk(get("/a/fixed"))[0])["ETag"]
    (answer,) = talk(get("/a/fixed", field.format(etag=etag)))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert fields_of(answer)["ETag"] == etag
    assert answer.endswith(b"0123") == (status == 200)


def test_a_condition_counts_for_nothing_where_nothing_is_kept() -> None:
    (answer,) = talk(get("/ask/x", "If-None-Match: *"))
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_what_follows_a_path_is_given_as_it_was_sent() -> None:
    answers = talk(get("/ask/a%2Fb//c+=?q"), get("/ask"), get("http://y:80/ask/z"), post(b"body"))
    assert [each.partition(b"\r\n\r\n")[2] for each in answers] == [
        b"GET a%2Fb//c+= ",
        b"GET  ",
        b"GET z ",
        b"POST  body",
    ]


@pytest.mark.parametrize(
    ("request_bytes", "status", "allow"),
    [
        (get("/"), 404, None),
        (get("/a"), 404, None),
        (get("/a/fixed/"), 404, None),
        (get("/asks"), 404, None),
        (get("*", method="OPTIONS"), 404, None),
        (get("/../a/fixed"), 404, None),
        (get("/a/fixed", method="PUT"), 405, "GET, HEAD"),
        (get("/ask", method="DELETE"), 405, "GET, HEAD, POST"),
        (post(b"x", target="/a/fixed"), 405, "GET, HEAD"),
        (post(b"x", "text/plain"), 415, None),
        (post(b"x", ""), 415, None),
        (post(b"x", "TEXT/Q; charset=x"), 200, None),
        (get("/broken"), 500, None),
    ],
)
def test_nothing_else_is_answered(request_bytes: bytes, status: int, allow: str | None) -> None:
    answers = talk(request_bytes, get("/a/fixed"))
    assert answers[0].startswith(b"HTTP/1.1 %d " % status)
    assert fields_of(answers[0]).get("Allow") == allow
    assert answers[1].startswith(b"HTTP/1.1 200 ")  # the connection goes on


@pytest.mark.parametrize("target", ["/nothing", "/broken"])
def test_a_refused_head_has_no_body(target: str) -> None:
    (answer,) = talk(get(target, method="HEAD"))
    assert answer.endswith(b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 500 "))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET /ask HTTP/2.0\r\n\r\n", 505),
        (get("/" + "a" * 500), 414),
        (get("/ask", "X: " + "a" * 500), 431),
        (post(b"x" * 65), 413),
        (get("/ask", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST"), 400),
        (b"GET /ask HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_breaks_http_or_a_bound_is_refused_and_ends_it(
    request_bytes: bytes, status: int
) -> None:
    answer, closed = talk(request_bytes, get("/a/fixed"))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert fields_of(answer)["Connection"] == "close"
    assert closed == b"closed"


def test_who_waits_to_be_told_to_go_on_is_told() -> None:
    request = get(
        "/ask", "Content-Type: text/q", "Content-Length: 4", "Expect: 100-continue", method="POST"
    )
    interim, answer = talk(request, b"body")
    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.endswith(b"POST  body")


def test_a_connection_has_so_many_requests() -> None:
    answers = talk(*(get("/a/fixed") for _ in range(30)))
    assert len(answers) == LIMITS.requests_max + 1
    assert answers[-1] == b"closed"


def test_what_is_published_is_looked_up_at_each_request() -> None:
    found = [PUBLISHED, Publication()]
    conversation = PublicationConversation(lambda: found.pop(0), limits=LIMITS, now=NOW)
    conversation.receive(get("/a/fixed") * 2)
    statuses = []
    while not isinstance(step := conversation.next_step(NOW), Receive):
        if isinstance(step, Produce):
            conversation.produced(step.answer(), NOW)
        elif isinstance(step, Send):
            statuses.append(step.data[9:12])
    assert statuses == [b"200", b"404"]


def waiting_with(data: bytes) -> tuple[PublicationConversation, Receive]:
    conversation = PublicationConversation(lambda: PUBLISHED, limits=LIMITS, now=NOW)
    if data:
        conversation.receive(data)
    step = conversation.next_step(NOW)
    assert isinstance(step, Receive)
    return conversation, step


TIMES = LIMITS.timeouts


@pytest.mark.parametrize(
    ("data", "seconds", "status"),
    [
        (b"", TIMES.head_s, None),
        (b"GET /", TIMES.head_s, b"408"),
        (post(b"body")[:-1], TIMES.body_s, b"408"),
        (post(b"body", "text/plain")[:-1], TIMES.drain_s, b"415"),
    ],
)
def test_who_is_slow_is_waited_for_only_so_long(
    data: bytes, seconds: float, status: bytes | None
) -> None:
    conversation, step = waiting_with(data)
    assert step.deadline == NOW.mono + seconds
    assert conversation.next_step(NOW.after(1)) == step  # it does not begin again
    conversation.handle_timeout(NOW.after(seconds))
    answer = conversation.next_step(NOW)
    if status is None:
        assert answer == Close(gently=False)
    else:
        assert isinstance(answer, Send)
        assert answer.data[9:12] == status


def test_between_requests_it_is_waited_for_so_long() -> None:
    conversation, _ = waiting_with(b"")
    conversation.receive(get("/nothing"))
    assert isinstance(conversation.next_step(NOW), Send)
    step = conversation.next_step(NOW)
    assert step == Receive(deadline=NOW.mono + TIMES.idle_s)


def test_stopped_it_answers_what_is_under_way_and_closes() -> None:
    conversation, _ = waiting_with(b"")
    conversation.receive(get("/a/fixed"))
    produce = conversation.next_step(NOW)
    assert isinstance(produce, Produce)
    assert not conversation.is_idle
    conversation.stop()
    conversation.handle_timeout(NOW)  # nothing is waited for
    conversation.produced(produce.answer(), NOW)
    answer = conversation.next_step(NOW)
    assert isinstance(answer, Send)
    assert b"\r\nConnection: close\r\n" in answer.data
    assert isinstance(conversation.next_step(NOW), Close)


def test_stopped_while_idle_it_closes_at_once() -> None:
    conversation, _ = waiting_with(b"")
    assert conversation.is_idle
    conversation.stop()
    assert conversation.next_step(NOW) == Close(gently=False)


def test_calls_out_of_turn_are_refused() -> None:
    conversation, _ = waiting_with(b"")
    with pytest.raises(LocalProtocolError, match="nothing was asked for"):
        conversation.produced(None, NOW)
    conversation.receive(get("/a/fixed"))
    conversation.next_step(NOW)
    with pytest.raises(LocalProtocolError, match="the answer is missing"):
        conversation.next_step(NOW)


def test_bounds_are_at_least_one() -> None:
    with pytest.raises(LocalProtocolError, match="at least 1"):
        PublicationLimits(threads=0)


REQUESTS = (get("/a/fixed"), post(b"body"), get("/nope"), post(b"x" * 65), b"\r\n", b"junk")


@reaches(answered=1)
@given(st.lists(st.sampled_from(REQUESTS), max_size=4), st.integers(1, 30))
def test_the_answers_are_the_same_in_whatever_pieces_it_comes(
    requests: list[bytes], size: int
) -> None:
    data = b"".join(requests)
    whole = talk(data) if data else talk()
    pieces = talk(*(data[start : start + size] for start in range(0, len(data), size)))
    assert [each for each in pieces if each != b"closed"] == [
        each for each in whole if each != b"closed"
    ]
    for each in whole:
        reached("answered" if b" 200 " in each[:13] else "refused")


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "a"},
        {"path": "/a/"},
        {"path": "/"},
        {"path": "/a b"},
        {"path": "/a", "methods": {"PUT"}},
        {"path": "/a", "methods": set()},
    ],
)
def test_what_is_no_resource_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(LocalProtocolError):
        Resource(answer=fixed, **arguments)  # type: ignore[arg-type]


def test_a_path_is_there_once() -> None:
    resource = Resource(path="/a", answer=fixed)
    with pytest.raises(LocalProtocolError, match="one path"):
        Publication(resources=(resource, resource))
    assert Resource(path="/a", answer=fixed, methods=frozenset({"POST"})).allowed == "POST"
