"""est renewal-info against a real server on loopback, which says what it is told to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from est_core import (
    OPERATIONS,
    RENEWAL_INFO,
    ProvideRenewalInfo,
    RenewalInfoRequested,
    RenewalWindow,
)
from tests.application import FakeApplication
from tests.cli.canned import CannedServer, canned_server
from tests.cli.test_client_commands import Terminal, one_error_line
from tests.pki import Subject, pki

NEXT_YEAR = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
ENDS = {"start": "2027-01-01T00:00:00Z", "end": "2027-01-03T00:00:00Z"}
WINDOW = RenewalWindow(start=datetime(2027, 1, 1, tzinfo=UTC), end=datetime(2027, 1, 3, tzinfo=UTC))


@pytest.fixture
def est(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    return Terminal(capsys, tmp_path)


@pytest.fixture
def server() -> Iterator[CannedServer]:
    said = ProvideRenewalInfo(
        window=WINDOW, retry_after_s=3600, explanation_url="https://example.com/why"
    )
    application = FakeApplication({RenewalInfoRequested: said})
    with canned_server(application=application, operations=(*OPERATIONS, RENEWAL_INFO)) as running:
        yield running


def say(server: CannedServer, window: RenewalWindow | None) -> None:
    server.application.answers[RenewalInfoRequested] = ProvideRenewalInfo(window=window)


def test_it_prints_the_window_of_the_certificate_that_is_shown(
    est: Terminal, server: CannedServer
) -> None:
    code, out, err = est.ask("renewal-info", server, *est.identity(pki().client), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "window": ENDS,
        "retry_after_s": 3600,
        "explanation_url": "https://example.com/why",
    }
    (question,) = server.application.asked
    assert isinstance(question, RenewalInfoRequested)
    assert question.serial == pki().client.certificate.serial_number
    assert question.identity.certificate == pki().client.certificate


def test_another_certificate_may_be_asked_about(est: Terminal, server: CannedServer) -> None:
    certificate, _ = pki().server.write(est.directory, "other")
    code, out, _ = est.ask("renewal-info", server, "--of", certificate)
    assert code == 0
    assert "2027-01-01T00:00:00Z" in out
    assert "https://example.com/why" in out
    (question,) = server.application.asked
    assert isinstance(question, RenewalInfoRequested)
    assert question.serial == pki().server.certificate.serial_number


@pytest.mark.parametrize(
    "window, said",
    [
        (
            RenewalWindow(start=NEXT_YEAR, end=NEXT_YEAR + timedelta(days=1)),
            "",
        ),
        (RenewalWindow(start=datetime(1970, 1, 1, tzinfo=UTC), end=NEXT_YEAR), "now"),
        (
            RenewalWindow(
                start=datetime(1970, 1, 1, tzinfo=UTC), end=datetime(1970, 1, 2, tzinfo=UTC)
            ),
            "over: renew now",
        ),
    ],
)
def test_it_says_where_in_the_window_it_is(
    est: Terminal, server: CannedServer, window: RenewalWindow, said: str
) -> None:
    say(server, window)
    _, out, _ = est.ask("renewal-info", server, *est.identity(pki().client))
    rows = dict(line.split("\t", 1) for line in out.splitlines())
    assert rows.get("that is", "") == said
    assert rows["ask again"] == "in 21600 seconds"


def test_a_server_that_does_not_say_is_no_failure(est: Terminal, server: CannedServer) -> None:
    say(server, None)
    shown = est.identity(pki().client)
    code, out, err = est.ask("renewal-info", server, *shown)
    assert (code, out, err) == (0, "the server does not say when to renew it\n", "")
    _, out, _ = est.ask("renewal-info", server, *shown, "--json")
    assert json.loads(out)["window"] is None


@pytest.mark.req("EST-305")
def test_nobody_asks_about_what_has_expired_or_cannot_be_named(
    est: Terminal, server: CannedServer
) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    old = pki().ca.issue(Subject(name="old", not_before=past, not_after=past + timedelta(days=1)))
    certificate, _ = old.write(est.directory, "old")
    code, _, err = est.ask("renewal-info", server, "--of", certificate)
    assert code == 5
    assert "has expired" in err
    assert one_error_line(err)
    code, _, err = est.ask("renewal-info", server)
    assert code == 2
    assert "--of" in err
    assert server.connections == 0
