"""Values that contradict themselves are a caller's mistake; small gateways get small bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest

from est_core import (
    SIMPLEENROLL,
    Channel,
    EstUri,
    Limits,
    LocalProtocolError,
    ProvideCACerts,
    RemoteProtocolError,
    Request,
    TlsVersion,
    UnreadablePayload,
    Verified,
    httpmap,
)
from est_core._errors import ProtocolError
from est_core.asn1.csrattrs import ObjectId
from tests.core.cast import csr_der
from tests.judged import http_read
from tests.pki import pki

UNREADABLE = Request(
    operation=SIMPLEENROLL, payload=UnreadablePayload(code="csr/malformed", message="no")
)


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: Channel(version=TlsVersion.TLS_1_3, peer_chain=pki().client.chain),
            "NONE goes with an empty peer_chain",
        ),
        (lambda: ProvideCACerts(certificates=()), "an EST server has CA certificates"),
        (lambda: Verified(user=None), "user must be a str, not None"),  # type: ignore[arg-type]  # a look-up that found nobody
        (
            lambda: httpmap.write_request(UNREADABLE, EstUri.parse("https://est.example")),
            "a payload to send must be DER",
        ),
        (lambda: ObjectId(oid=f"1.2.{'9' * 1000}").der(), "object identifier"),
    ],
)
def test_a_value_that_contradicts_itself_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        make()


def test_an_error_is_always_somebodys() -> None:
    with pytest.raises(TypeError, match="LocalProtocolError or RemoteProtocolError"):
        ProtocolError("nobody's")
    assert isinstance(LocalProtocolError("ours"), ProtocolError)
    assert isinstance(RemoteProtocolError("csr/malformed", "theirs"), ProtocolError)


def test_small_bounds_are_no_larger_than_the_usual_ones_and_let_a_device_enroll() -> None:
    small, usual = Limits.constrained(), Limits()
    larger = [each.name for each in fields(small)
              if getattr(small, each.name) > getattr(usual, each.name)]  # fmt: skip
    assert larger == []
    assert small.body_bytes < usual.body_bytes
    uri = EstUri.parse("https://est.example")
    sent = Request(operation=SIMPLEENROLL, payload=csr_der())
    received, _ = http_read(*httpmap.write_request(sent, uri), limits=small)
    assert received == sent
