"""The pair of client and server in memory tells what it was not given, and carries any answer."""

from __future__ import annotations

from typing import Any

import pytest

from est_core import (
    CACERTS,
    BasicCredentials,
    ClientSession,
    Credentials,
    CredentialsRequested,
    Limits,
    LocalProtocolError,
    Request,
    TrustClass,
    default_policy,
    httpmap,
)
from est_core.testing import CountingEntropy, ExchangePair, joined
from tests.application import FakeApplication
from tests.core.cast import server_channel
from tests.core.client_cast import URI, Network, enrollment, failed, pair, session


def plain(network: Network, **changes: Any) -> ExchangePair:
    """A pair that is given what it has to be given, and these."""
    values: dict[str, Any] = {"policy": default_policy(), "decide": FakeApplication().decide}
    return ExchangePair(connect=network, **values | changes)


def test_without_a_way_to_sign_an_enrollment_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="no way to sign"):
        plain(Network()).run(enrollment())


def test_without_credentials_a_server_that_asks_for_some_gets_none() -> None:
    stranger = Network(client_trust=TrustClass.NONE)
    alone = plain(stranger, sign=pair(stranger).sign)
    assert failed(alone.run(enrollment())).code == failed(pair(stranger).run(enrollment())).code
    assert [message.response.status for message in alone.messages] == [401]


def test_without_anybody_to_ask_a_bootstrap_trusts_nobody() -> None:
    stranger = joined(CountingEntropy(), client_sees=server_channel(trust=TrustClass.FAILED))
    alone = ExchangePair(
        policy=default_policy(), decide=FakeApplication().decide, connect=lambda _event: stranger
    )
    result = alone.run(ClientSession(URI).cacerts(bootstrap=True))
    assert failed(result).code == "trust/refused"


def test_an_exchange_that_waits_for_something_else_is_not_waited_for() -> None:
    begun = enrollment()
    begun.next_event()
    with pytest.raises(LocalProtocolError, match="waits for something else"):
        pair(Network()).run(begun)


def test_guessing_passwords_comes_to_an_end() -> None:
    guesses: list[Credentials] = []

    def guess(_question: CredentialsRequested) -> Credentials:
        guesses.append(BasicCredentials(user="estuser", password=f"guess {len(guesses)}"))
        return guesses[-1]

    stranger = Network(client_trust=TrustClass.NONE)
    result = plain(stranger, sign=pair(stranger).sign, credentials=guess).run(enrollment())
    assert failed(result).code.startswith("auth/")
    assert 1 <= len(guesses) < 10


def test_an_answer_that_the_client_cannot_read_is_its_failure() -> None:
    kept = pair(Network())
    kept.limits = Limits(response_body_bytes=200)  # the certificates of the CA are larger
    assert failed(kept.run(session().cacerts())).code == "body/too-large"


def test_a_request_can_be_put_by_hand_and_is_kept_with_its_answer() -> None:
    kept = pair(Network())
    kept.run(session().cacerts())
    head, _ = kept.serve(
        httpmap.RequestHead(method=b"PUT", target=b"/.well-known/est/cacerts"), b""
    )
    assert head.status == 405
    assert [each.response.status for each in kept.messages] == [200, 405]
    assert len(kept.exchanges) == 1  # a request that is refused by its head makes none


def test_a_request_before_there_is_a_connection_is_the_callers_mistake() -> None:
    head, body = httpmap.write_request(Request(operation=CACERTS), URI)
    with pytest.raises(LocalProtocolError, match="connect first"):
        pair(Network()).serve(head, body)


def test_counting_entropy_is_as_long_as_asked_for_and_never_the_same() -> None:
    entropy = CountingEntropy()
    assert entropy(0) == b""
    assert [entropy(4), entropy(4)] == [bytes([0, 0, 0, 2]), bytes([0, 0, 0, 3])]
    assert entropy(8) == bytes([0] * 7 + [4])
    assert entropy(32) == bytes([0] * 31 + [5])
    assert CountingEntropy()(1) == b"\x01"
