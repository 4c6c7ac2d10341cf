"""A server offers what its application has methods for, and says so of what it does not offer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import trio

from est_core import (
    OPERATIONS,
    Authentication,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    EnrollRequested,
    LocalProtocolError,
    ServerPolicy,
    ServerQuestion,
    default_policy,
)
from est_core.testing import ScriptedApplication
from est_core.wires.coapmap import Code
from est_transports import on_asyncio, on_sockets, on_trio
from est_transports.drive.application import offered
from tests.application import FakeApplication
from tests.core.echo import ECHO, HELLO, EchoRequested, Provide
from tests.transports.coap_site import ATT, CORE, CRTS, SEN, Site, csr_of
from tests.transports.http.test_server import BASIC, CSR, Driver
from tests.transports.https_site import (
    CACERTS,
    CACERTS_CLOSE,
    enroll_request,
    service,
    statuses,
    tls_context,
)
from tests.transports.on_sockets.test_client_and_server import running
from tests.transports.on_trio.test_client_and_server import client_engine
from tests.transports.on_trio.test_client_and_server import on_trio as run_on_trio

EVERYTHING = default_policy(operations=(*OPERATIONS, ECHO, HELLO))
CSRATTRS = b"GET /.well-known/est/csrattrs HTTP/1.1\r\nHost: x\r\n\r\n"
POST_ECHO = enroll_request(b"MAA=").replace(b"simpleenroll", b"echo").replace(b"pkcs10", b"echo")
GET_HELLO = replace(CRTS, path=(*CRTS.path[:-1], "hi"))


def only(*kinds: type[ServerQuestion]) -> ScriptedApplication:
    """Return an application that answers these questions, and has no method for others."""
    return ScriptedApplication({kind: FakeApplication().answers[kind] for kind in kinds})


DISTRIBUTION = (CACertsRequested,)
BY_CERTIFICATE = (CACertsRequested, CSRAttrsRequested, EnrollRequested)


def echo(question: EchoRequested) -> Decision:
    """Return what came, or something."""
    return Provide(der=question.der or b"\x30\x00")


class HalfEchoing(FakeApplication):
    """Is asked, but for one operation, which it wants to be awaited for."""

    async def echo(self, question: EchoRequested) -> Decision:
        """Return what came."""
        return Provide(der=question.der)


def driver(application: Any, policy: ServerPolicy | None = None) -> Driver:
    config = replace(service(), policy=policy or default_policy())
    return Driver(config=config.offering(application), application=application)


def test_over_http_an_operation_without_its_method_is_not_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = driver(only(*DISTRIBUTION))
    served.run(CACERTS, CSRATTRS, enroll_request(CSR, BASIC))
    assert served.statuses == [200, 404, 404]
    assert [code for _, code in served.log.codes] == ["", *["path/not-offered"] * 2]
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING] == [
        "csrattrs is not offered: the application has no csr_attrs",
        "simpleenroll is not offered: the application has no enroll",
        "simplereenroll is not offered: the application has no reenroll",
    ]


def test_over_coap_an_operation_without_its_method_is_not_found_and_not_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    application: Any = only(*DISTRIBUTION)
    site = Site(application)
    device = site.connect()
    answers = [site.ask(device, head) for head in (CRTS, ATT, CORE)]
    assert [each.head.code for each in answers] == [Code.CONTENT, Code.NOT_FOUND, Code.CONTENT]
    assert site.ask(device, SEN, csr_of()).head.code == Code.NOT_FOUND
    assert b"ace.est.crts" in answers[2].payload
    assert b"ace.est.sen" not in answers[2].payload
    assert caplog.text.count("is not offered: the application has no ") == 3


def test_an_operation_of_ones_own_is_offered_with_its_method_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    echoing = FakeApplication({EchoRequested: echo})
    for application, found in ((FakeApplication(), False), (echoing, True)):
        served = driver(application, EVERYTHING)
        served.run(POST_ECHO)
        assert served.statuses == [200 if found else 404]
        site = Site(application, policy=EVERYTHING)
        code = site.ask(site.connect(), GET_HELLO).head.code
        assert code == (Code.CONTENT if found else Code.NOT_FOUND)
        assert ("echo is not offered: the application has no echo" in caplog.text) != found
        caplog.clear()


def test_a_method_that_is_taken_away_is_none() -> None:
    class Reading(FakeApplication):
        """Issues to nobody."""

        enroll = reenroll = None  # type: ignore[assignment]

    application: Any = Reading({EchoRequested: echo})
    left = offered(EVERYTHING, application)
    assert [each.name for each in left.operations] == ["cacerts", "csrattrs", "echo", "hello"]


def test_a_method_for_an_operation_of_ones_own_is_awaited_as_all_are_or_as_none() -> None:
    with pytest.raises(LocalProtocolError, match="coroutine functions only, or none"):
        offered(EVERYTHING, HalfEchoing())
    assert offered(default_policy(), HalfEchoing()) == default_policy()


def test_without_users_nobody_is_asked_for_a_password() -> None:
    for application, status in ((FakeApplication(), 401), (only(*BY_CERTIFICATE), 403)):
        served = driver(application)
        served.run(enroll_request(CSR))
        assert served.statuses == [status]
        assert (b"WWW-Authenticate" in served.sent) == (status == 401)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"authentication": Authentication.HTTP}, "simpleenroll needs HTTP authentication"),
        ({"authentication": Authentication.CERT_AND_HTTP}, "simpleenroll needs HTTP"),
        ({"enforce_csrattrs": True}, "enforce_csrattrs needs an application with csr_attrs"),
    ],
)
def test_a_rule_that_the_application_cannot_keep_fails_at_the_start(
    changes: dict[str, Any], says: str
) -> None:
    policy = default_policy()
    rows = tuple(
        replace(row, **changes) if row.operation.name == "simpleenroll" else row
        for row in policy.rows
    )
    application: Any = only(*BY_CERTIFICATE)
    if "enforce_csrattrs" in changes:
        application = only(CACertsRequested, EnrollRequested)
    with pytest.raises(LocalProtocolError, match=says):
        offered(replace(policy, rows=rows), application)
    assert offered(replace(policy, rows=rows), FakeApplication()).rows == rows


def test_a_rule_for_what_is_not_offered_does_not_count() -> None:
    policy = default_policy()
    rows = tuple(replace(row, enforce_csrattrs=row.operation.is_enrollment) for row in policy.rows)
    application: Any = only(*DISTRIBUTION)
    left = offered(replace(policy, rows=rows), application)
    assert [operation.name for operation in left.operations] == ["cacerts"]
    assert left.challenges == ()


def test_a_policy_of_which_all_is_offered_stays_the_same() -> None:
    policy = default_policy()
    assert offered(policy, FakeApplication()) is policy


@pytest.mark.parametrize("server", [on_sockets.Server, on_trio.Server, on_asyncio.Server])
def test_every_server_says_at_its_start_what_it_does_not_offer(
    server: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    context = tls_context()
    server(context_source=lambda: context, application=only(*DISTRIBUTION), config=service())
    assert caplog.text.count("simpleenroll is not offered: the application has no enroll") == 1


def test_a_connection_served_alone_does_not_offer_it_and_logs_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running() as est:
        est.application = cast(FakeApplication, only(*DISTRIBUTION))
        answers = [est.ask(enroll_request(CSR, BASIC), CACERTS_CLOSE) for _ in range(2)]
    assert [statuses(answer) for answer in answers] == [[404, 200], [404, 200]]
    assert "is not offered" not in caplog.text


@run_on_trio
async def test_a_server_on_trio_does_not_offer_it_either() -> None:
    context, application = tls_context(), only(*DISTRIBUTION)
    asked: Any = application
    server = on_trio.Server(context_source=lambda: context, application=asked, config=service())
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.serve, [listener]))
        transport = await trio.open_tcp_stream(*listener.socket.getsockname())
        async with on_trio.tls.TlsStream(transport, client_engine()) as stream:
            await stream.send_all(enroll_request(CSR, BASIC))
            assert statuses(await stream.receive_some()) == [404]
        server.stop()
