"""What the README shows is run here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    EstUri,
    Instant,
    Request,
    ServerSession,
    default_policy,
    httpmap,
)
from tests.application import GOOD, FakeApplication
from tests.core.cast import channel, csr_der

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
URI = EstUri(host="est.example", port=443)


def library_example() -> str:
    """The fenced block after its marker."""
    found = re.search(r"<!-- test: library example -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_library_example_is_short() -> None:
    assert len([line for line in library_example().splitlines() if line.strip()]) <= 15


def test_the_library_example_answers_requests(now: Instant) -> None:
    names: dict[str, Any] = {}
    exec(library_example(), names)  # our own README
    application = FakeApplication()
    session = ServerSession(policy=default_policy(), channel=channel())
    statuses = []
    for request in (
        Request(operation=CACERTS),
        Request(operation=SIMPLEENROLL, payload=csr_der()),
        Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD),
        Request(operation=SIMPLEENROLL, payload=b"garbage", credentials=GOOD),
    ):
        head, body = httpmap.write_request(request, URI)
        answer, _ = names["reply"](head, body, session, application.decide, now)
        statuses.append(answer.status)
    lost = httpmap.RequestHead(method=b"GET", target=b"/nowhere")
    statuses.append(names["reply"](lost, b"", session, application.decide, now)[0].status)
    assert statuses == [200, 401, 200, 400, 404]
    assert len(application.issued) == 1
