"""A directory that hangs holds up no device that shows a certificate, over CoAP either."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from est_core import AuthenticateRequested, Decision, Verified, default_policy
from est_core.asn1.attributes import challenge_attribute
from est_core.wires.coapmap import Code
from est_transports import on_sockets
from est_transports.coap.questions import (
    AUTHENTICATIONS_MAX,
    AUTHENTICATIONS_PER_HOST,
    QUESTIONS_MAX,
)
from tests.application import FakeApplication
from tests.core.cast import info, sign
from tests.pki import new_key
from tests.transports.coap.test_runtimes import Est, bound, serve_on_trio
from tests.transports.coap_site import SEN, Site, a_coap_service, csr_of
from tests.transports.coap_udp import UdpDevice

WAIT_S: Final = 60.0
THREADS: Final = 8
OTP: Final = "1.2.840.113549.1.9.16.2.56"
WITH_CODES: Final = replace(default_policy(), otp_challenge=True)


def with_code() -> bytes:
    """Return a request that holds a one-time code, so that somebody has to be asked about it."""
    key = new_key()
    return sign(info(key, "device-1").with_attribute(challenge_attribute(OTP, "7Q4K-M2XA")), key)


class Directory:
    """Answers nobody until it is told to, and counts who waits for it."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Semaphore(0)

    def authenticate(self, _question: AuthenticateRequested) -> Decision:
        """Wait, in the thread that asks."""
        self.asked.release()
        assert self.answers.wait(WAIT_S)
        return Verified(user="device-1")


def serve_on_sockets(est: Est) -> None:
    server = on_sockets.CoapServer(source=lambda: est.service, threads=THREADS)
    est.stop = partial(server.stop, 0)
    est.thread = threading.Thread(target=server.serve, args=(est.sock,))
    est.thread.start()


@contextmanager
def serving(serve: Callable[[Est], None], application: FakeApplication) -> Iterator[Est]:
    est = Est(bound(), a_coap_service(application, policy=WITH_CODES))
    serve(est)
    try:
        yield est
    finally:
        est.end()


@pytest.mark.parametrize("serve", [serve_on_sockets, serve_on_trio], ids=["sockets", "trio"])
def test_while_a_directory_hangs_a_certificate_is_enough(serve: Callable[[Est], None]) -> None:
    directory = Directory()
    application = FakeApplication({AuthenticateRequested: directory.authenticate})
    with serving(serve, application) as est, ExitStack() as devices:
        # More than there are threads for everything else.
        waiting = [devices.enter_context(UdpDevice(est.port)) for _ in range(THREADS + 1)]
        numbers = [device.connect().send(SEN, with_code()) for device in waiting]
        for _ in waiting:
            assert directory.asked.acquire(timeout=WAIT_S)
        device = devices.enter_context(UdpDevice(est.port)).connect()
        assert device.ask(SEN, csr_of()).head.code == Code.CHANGED
        directory.answers.set()
        for each, number in zip(waiting, numbers, strict=True):
            assert each.wait_for(number).head.code == Code.CHANGED


def test_questions_who_somebody_is_leave_places_to_all_others() -> None:
    site = Site(policy=WITH_CODES)
    site.holds = True
    for host in ("192.0.2.1", "192.0.2.2"):
        for port in range(AUTHENTICATIONS_PER_HOST):
            site.send(site.connect((host, port + 1)), SEN, with_code())
    assert len(site.held) == AUTHENTICATIONS_MAX < QUESTIONS_MAX
    over = 2 * AUTHENTICATIONS_PER_HOST - AUTHENTICATIONS_MAX
    assert site.log.codes == [(503, "server/busy")] * over
    site.send(site.connect(("192.0.2.3", 1)), SEN, csr_of())
    assert len(site.held) == AUTHENTICATIONS_MAX + 1
    site.decide(site.held[0])


def test_one_host_has_not_all_the_places_of_these_questions() -> None:
    site = Site(policy=WITH_CODES)
    site.holds = True
    for port in range(AUTHENTICATIONS_PER_HOST + 1):
        site.send(site.connect(("192.0.2.1", port + 1)), SEN, with_code())
    assert len(site.held) == AUTHENTICATIONS_PER_HOST
    assert site.log.codes == [(503, "server/busy")]
    site.send(site.connect(("192.0.2.2", 1)), SEN, with_code())
    assert len(site.held) == AUTHENTICATIONS_PER_HOST + 1
