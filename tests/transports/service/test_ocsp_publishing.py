"""OCSP over HTTP: POST, and GET in every spelling, with what caches are told."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest
from cryptography.x509.ocsp import OCSPResponseStatus, load_der_ocsp_response

from est_transports.authority.ocsp_responder import OcspAnswer, OcspTimes
from est_transports.authority.stores import StoreError
from est_transports.publication import Published
from est_transports.service.ocsp_publishing import ocsp_resource
from tests.transports.authority.ocsp_site import NOW, asking, responding

SITE = responding()
RESOURCE = ocsp_resource(SITE.responder.answer)
REQUEST = asking(SITE.leaf, SITE.ca.certificate)
IN_BASE64 = base64.b64encode(REQUEST).decode()


def status(published: Published) -> OCSPResponseStatus:
    assert (published.status, published.content_type) == (200, "application/ocsp-response")
    return load_der_ocsp_response(published.body).response_status


def test_a_request_is_posted() -> None:
    published = RESOURCE.answer("POST", "", REQUEST, NOW)
    assert status(published) is OCSPResponseStatus.SUCCESSFUL
    assert published.max_age_s is None  # nobody keeps what was posted


@pytest.mark.parametrize(
    "tail",
    [
        quote(IN_BASE64, safe=""),
        IN_BASE64,
        quote(IN_BASE64),
        "".join(f"%{ord(char):02x}" for char in IN_BASE64),
    ],
)
def test_a_request_is_in_the_path_and_its_answer_is_kept(tail: str) -> None:
    published = RESOURCE.answer("GET", tail, b"", NOW)
    assert status(published) is OCSPResponseStatus.SUCCESSFUL
    assert published.max_age_s == OcspTimes().max_age.total_seconds()
    assert published.modified == NOW
    assert published.expires == NOW + OcspTimes().validity


@pytest.mark.parametrize("tail", ["", "%", "%00", "MEM", "M E M", "====", "x/y", "a" * 8000, "/"])
def test_what_is_no_request_is_malformed(tail: str) -> None:
    published = RESOURCE.answer("GET", tail, b"", NOW)
    assert status(published) is OCSPResponseStatus.MALFORMED_REQUEST
    assert published.max_age_s is None


def test_a_store_that_fails_is_said_once_a_minute_and_tried_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_request: bytes, _now: datetime) -> OcspAnswer:
        raise StoreError("no disk")

    resource = ocsp_resource(fail)
    for seconds in (0, 1, 59, 60, 61):
        now = NOW + timedelta(seconds=seconds)
        published = resource.answer("POST", "", REQUEST, now)
        assert status(published) is OCSPResponseStatus.TRY_LATER
    assert [each.message for each in caplog.records] == [
        "OCSP requests are not answered: no disk"
    ] * 2
