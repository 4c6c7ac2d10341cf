"""Log lines: what they hold, and what a peer cannot do to them."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Channel,
    ClientIdentity,
    Label,
    ManufacturerIdentity,
    TlsVersion,
)
from est_core.channel import TrustClass
from est_transports.drive.observe import (
    FIELDS,
    JsonFormatter,
    TextFormatter,
    key_values,
    log_request,
    request_fields,
)
from est_transports.drive.records import Record
from est_transports.pki.names import SHORT_NAMES, name_text
from est_transports.pki.serials import printed_serial
from tests.pki import HOUR_AGO, IN_TEN_YEARS, Subject, pki
from tests.reached import reached, reaches

NAMED = {text: oid for oid, text in SHORT_NAMES.items()}


def record(**values: object) -> Record:
    usual: dict[str, object] = {"peer": "192.0.2.1:5000", "status": 200, "seconds": 0.0123}
    return Record(**{**usual, **values})  # type: ignore[arg-type]  # the test's own values


def log_entry(message: str, **extra: object) -> logging.LogRecord:
    entry = logging.LogRecord("est_transports", logging.INFO, "", 0, message, None, None)
    entry.created = 1767323045.678
    entry.__dict__.update(extra)
    return entry


def test_a_request_has_its_peer_operation_label_identity_status_code_serial_and_time() -> None:
    certificate = pki().client.certificate
    line = key_values(
        request_fields(
            record(
                operation=SIMPLEENROLL,
                label=Label("web"),
                identity=ClientIdentity(user="alice", certificate=certificate),
                issued=certificate,
            )
        )
    )
    assert line == (
        "peer=192.0.2.1:5000 wire=https operation=simpleenroll label=web"
        f' identity="user:alice cert:CN=device-1" status=200 code=-'
        f" serial={printed_serial(certificate.serial_number)} ms=12.3 reason=-"
        " refusal=- auth=- tried=- auth_ms=-"
    )


@pytest.mark.parametrize(
    "identity, told",
    [
        (
            ClientIdentity(manufacturer=ManufacturerIdentity(manufacturer="acme", value="A 1")),
            "maker:acme/A 1",
        ),
        (
            ClientIdentity(
                manufacturer=ManufacturerIdentity(manufacturer="acme", value="1 user:admin")
            ),
            'maker:"acme/1 user:admin"',
        ),
        (ClientIdentity(user='x" cert:CN=y'), 'user:"x\\" cert:CN=y"'),
        (ClientIdentity(user='"x" cert'), 'user:"\\"x\\" cert"'),
    ],
)
def test_nobody_is_logged_as_somebody_else_by_what_is_in_his_name(
    identity: ClientIdentity, told: str
) -> None:
    assert request_fields(record(identity=identity))["identity"] == told


def test_a_subject_is_not_logged_as_a_manufacturers_device() -> None:
    named = pki().ca.issue(Subject(name="x maker:acme/4711")).certificate
    fields = request_fields(record(identity=ClientIdentity(certificate=named)))
    assert fields["identity"] == 'cert:"CN=x maker:acme/4711"'


def test_a_refusal_says_why_and_which_certificate_was_no_good() -> None:
    channel = Channel(
        version=TlsVersion.TLS_1_3,
        trust_class=TrustClass.FAILED,
        peer_chain=(pki().client.certificate,),
        failure="expired",
    )
    refused = record(
        operation=SIMPLEREENROLL,
        status=403,
        code="auth/certificate-not-accepted",
        reason="a certificate is needed",
        channel=channel,
    )
    assert request_fields(refused)["reason"] == "a certificate is needed (CN=device-1: expired)"
    served = record(operation=CACERTS, channel=channel)
    assert request_fields(served)["reason"] == ""
    asked = replace(refused, status=401, code="auth/missing", reason="")  # a 401 has no text
    assert request_fields(asked)["reason"] == "(CN=device-1: expired)"


def test_a_name_that_nobody_vouches_for_is_cut() -> None:
    ca = pki().ca
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)
    shown = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([unit] * 500))
        .issuer_name(ca.name)
        .public_key(ca.key.public_key())
        .serial_number(1)
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
        .sign(ca.key, hashes.SHA256())
    )
    channel = Channel(
        version=TlsVersion.TLS_1_3,
        trust_class=TrustClass.FAILED,
        peer_chain=(shown,),
        failure="expired",
    )
    refused = record(status=403, code="auth/certificate-not-accepted", reason="no", channel=channel)
    reason = str(request_fields(refused)["reason"])
    assert reason.startswith("no (OU=xxx")
    assert reason.endswith(": expired)")
    assert len(reason) < 300


def test_the_log_says_how_clients_that_link_on_tls_1_3_come_to_link() -> None:
    channel = Channel(version=TlsVersion.TLS_1_3)
    refused = record(status=403, code="pop/mismatch", reason="no binding", channel=channel)
    remedy = '[tls] max_version = "1.2" in est.toml has all clients use TLS 1.2'
    assert request_fields(refused)["reason"] == f"no binding ({remedy})"
    on_1_2 = replace(refused, channel=Channel(version=TlsVersion.TLS_1_2))
    assert request_fields(on_1_2)["reason"] == "no binding"
    failed = replace(channel, trust_class=TrustClass.FAILED, failure="expired")
    assert request_fields(replace(refused, channel=failed))["reason"] == (
        f"no binding (expired; {remedy})"
    )


def test_the_log_says_that_a_certificate_could_not_be_read() -> None:
    channel = Channel(
        version=TlsVersion.TLS_1_3,
        trust_class=TrustClass.FAILED,
        failure="certificate 1 of 1, CN=device-1, SHA-256 00: cannot be read",
    )
    refused = record(status=403, code="auth/certificate-not-accepted", reason="no", channel=channel)
    reason = request_fields(refused)["reason"]
    assert reason == "no (certificate 1 of 1, CN=device-1, SHA-256 00: cannot be read)"


def test_a_label_that_does_not_exist_is_shown_as_it_was_asked_for() -> None:
    target = "/.well-known/est/wrong/cacerts"
    refused = record(operation=CACERTS, target=target, status=404, code="path/not-offered")
    assert request_fields(refused)["operation"] == target


def test_a_device_is_named_by_its_serial_number_and_not_by_an_object_identifier() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Maker"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "PID:Sensor SN:4711"),
        ]
    )
    assert name_text(name) == "serialNumber=PID:Sensor SN:4711,O=Maker"
    assert x509.Name.from_rfc4514_string(name_text(name), NAMED) == name


def test_a_request_for_no_operation_shows_its_target() -> None:
    assert request_fields(record(target="/admin.php"))["operation"] == "/admin.php"


VALUES = st.text(max_size=40) | st.text("ab.-/:", max_size=10) | st.text('a="\\ \n', max_size=10)


@reaches(bare=20, quoted=25)
@given(VALUES, VALUES)
def test_no_value_ends_the_line_or_looks_like_another_key(first: str, second: str) -> None:
    line = key_values({"a": first, "b": second})
    assert line.isprintable()
    head, _, rest = line.partition("=")
    assert head == "a"
    value, end = json.JSONDecoder().raw_decode(rest) if rest[0] == '"' else (None, 0)
    if value is None:
        value, _, tail = rest.partition(" ")
        assert value == (first or "-")
        reached("bare")
    else:
        reached("quoted")
        assert value == first
        tail = rest[end + 1 :]
    assert tail.startswith("b=")


def test_a_line_of_text_has_time_level_and_message() -> None:
    text = TextFormatter().format(log_entry("a\x1b[31mb\nc"))
    assert text == "2026-01-02T03:04:05.678Z INFO a?[31mb?c"


def test_a_line_of_json_has_the_values_of_a_request() -> None:
    line = JsonFormatter().format(log_entry("x", **{FIELDS: {"status": 200, "code": ""}}))
    values = json.loads(line)
    assert values.pop("pid") > 0
    assert values == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "status": 200,
        "code": "",
    }


def test_a_line_of_json_has_the_message_and_traceback_of_an_error() -> None:
    entry = log_entry("it broke")
    try:
        raise ValueError("why")
    except ValueError:
        entry.exc_info = sys.exc_info()
    line = JsonFormatter().format(entry)
    assert "\n" not in line
    assert json.loads(line)["message"] == "it broke"
    assert "ValueError: why" in json.loads(line)["traceback"]


@pytest.mark.parametrize(
    "status,level", [(200, "INFO"), (403, "INFO"), (503, "INFO"), (500, "ERROR")]
)
def test_only_a_failure_of_ours_is_an_error(
    status: int, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "est_transports.requests"):
        log_request(record(status=status))
    (entry,) = caplog.records
    assert entry.levelname == level
    assert entry.name == "est_transports.requests"
