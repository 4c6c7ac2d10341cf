"""The cases of x509-limbo: our ends say what is expected of them, or there is a reason."""

from __future__ import annotations

from typing import Final

import pytest

from est_transports.pki.certificate_checks import Purpose
from tests.limbo import End, cases, said, said_by_a_server_of_est
from tests.limbo_differences import DIFFERENCES, difference

SHOWN: Final = [(name, end) for name, case in cases().items() for end in case.ends]
"""Every case with each end that can be shown it."""
FOR_CLIENTS_TOO: Final = frozenset(
    {
        "rfc5280::eku::ee-wrong-eku",  # wrong for a server: it has clientAuth
        "rfc5280::eku::ee-without-eku",
        "webpki::eku::ee-without-eku",
        "webpki::eku::ee-anyeku",
        "webpki::v1-cert",
    }
)
"""Cases about servers whose certificates are valid and may be those of clients."""


@pytest.mark.parametrize(("name", "end"), SHOWN, ids=[f"{n}-{e.value}" for n, e in SHOWN])
@pytest.mark.req("EST-061")
def test_a_path_is_judged_as_expected_or_there_is_a_reason(name: str, end: End) -> None:
    refusal = said(name, end)
    if (refusal == "") == cases()[name].is_accepted:
        assert difference(name, end) is None, "there is no difference any more"
    else:
        assert difference(name, end) is not None, refusal or "accepted"


@pytest.mark.req("EST-061")
def test_a_server_takes_no_certificate_of_a_server_for_that_of_a_client() -> None:
    for_servers = [name for name, case in cases().items() if case.purpose is Purpose.TLS_SERVER]
    taken = {
        name for name in for_servers if cases()[name].key and not said_by_a_server_of_est(name)
    }
    assert taken == FOR_CLIENTS_TOO


def test_all_cases_are_there_and_each_reason_explains_some_once() -> None:
    assert len(cases()) == 208
    assert sum(end is End.SERVER for _, end in SHOWN) == 208
    explained = [(name, end) for each in DIFFERENCES for name in each.cases for end in each.ends]
    assert len(explained) == len(set(explained))
    assert set(explained) <= set(SHOWN)


def test_what_cannot_be_shown_in_a_handshake_is_what_comes_without_its_key() -> None:
    """They are certificates of the web, and others that nobody could make anew for the cases."""
    without = [case for case in cases().values() if not case.key]
    assert len(without) == 19
    assert all(case.time is not None for case in without)
