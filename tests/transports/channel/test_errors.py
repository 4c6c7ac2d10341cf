"""What errors of OpenSSL mean, by the queue that they come with and by when they come."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from est_transports.channel.errors import tls_error
from est_transports.channel.facts import ChannelRules, handshake_error
from est_transports.channel.verification import PeerVerifier, VerificationRecord
from est_transports.pki.certificate_checks import Purpose
from est_transports.pki.trust import TrustAnchors


def ssl(reason: str) -> tuple[str, str, str]:
    """Return an entry of OpenSSL's queue."""
    return "SSL routines", "", reason


ASN1 = ("asn1 encoding routines", "", "wrong tag")
CASES = [
    (SSL.SysCallError(-1, "Unexpected EOF"), "tls/closed", "tls/truncated", "close"),
    (SSL.Error([ASN1]), "tls/bad-certificate", "tls/protocol", "wrong tag"),
    (SSL.Error([ssl("bad"), ASN1]), "tls/bad-certificate", "tls/protocol", ": bad"),
    *(
        (
            SSL.Error([ssl(f"{prefix} alert {reason}")]),
            "tls/peer-refused-certificate",
            "tls/peer-refused-certificate",
            f"certificate: {reason}",
        )
        for prefix in ("sslv3", "ssl/tls", "tlsv1")
        for reason in ("bad certificate", "unknown ca", "certificate required")
    ),
    (SSL.Error([ssl("tlsv1 alert protocol version")]), "tls/version", "tls/protocol", "version"),
    (SSL.Error([ssl("alert handshake failure")]), "tls/handshake", "tls/protocol", "handshake"),
    (SSL.Error([ssl("tlsv1 alert internal error")]), "tls/handshake", "tls/protocol", "internal"),
    (SSL.Error([ssl("a"), ssl("no shared cipher")]), "tls/no-shared-cipher", "tls/protocol", ""),
    (SSL.Error([ssl("no shared cipher"), ssl("a")]), "tls/no-shared-cipher", "tls/protocol", ""),
    (SSL.Error([ssl("new words")]), "tls/handshake", "tls/protocol", ": new words"),
    (SSL.Error([ssl("one"), ssl("two")]), "tls/handshake", "tls/protocol", ": one"),
    (SSL.Error([("a", "b")]), "tls/handshake", "tls/protocol", "no reason given"),
    (SSL.Error([("a", "b", "c", "d")]), "tls/handshake", "tls/protocol", "no reason given"),
    (SSL.Error(["abc"]), "tls/handshake", "tls/protocol", "no reason given"),
    (SSL.Error("text"), "tls/handshake", "tls/protocol", "no reason given"),
    (SSL.Error(()), "tls/handshake", "tls/protocol", "no reason given"),
    (SSL.Error(7), "tls/handshake", "tls/protocol", "no reason given"),
    (SSL.Error(), "tls/handshake", "tls/protocol", "no reason given"),
]


@pytest.mark.parametrize(("error", "in_handshake", "after_it", "text"), CASES)
def test_an_error_has_a_code_by_when_it_comes(
    error: SSL.Error, in_handshake: str, after_it: str, text: str
) -> None:
    for handshaking, code in ((True, in_handshake), (False, after_it)):
        found = tls_error(error, handshaking=handshaking)
        assert found.code == code
        assert text in found.message
        assert str(found) == f"{code}: {found.message}"


@pytest.mark.parametrize(
    ("server_name", "provisional", "problems", "code"),
    [
        ("est.example", False, ["expired", "revoked"], "tls/untrusted-server"),
        ("est.example", False, [], "tls/bad-signature"),
        ("est.example", True, ["expired", "revoked"], "tls/bad-signature"),
        ("", False, ["expired", "revoked"], "tls/bad-signature"),
    ],
)
def test_what_the_verifier_saw_is_why_a_client_does_not_go_on(
    server_name: str, provisional: bool, problems: list[str], code: str
) -> None:
    record = VerificationRecord()
    for problem in problems:
        record.note(problem)
    verifier = PeerVerifier(TrustAnchors(), Purpose.TLS_SERVER, tolerant=True)
    rules = ChannelRules(verifier=verifier, server_name=server_name, provisional=provisional)
    failure = handshake_error(SSL.Error([ssl("bad signature")]), rules, record)
    assert failure.code == code
    if code == "tls/untrusted-server":
        assert "is not trusted: expired; revoked (the clock here shows 20" in failure.message
