"""What `est doctor` says of programs that are no EST servers: it breaks on none of them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from est_core import EstUri
from est_transports.client_config import ClientTimeouts
from est_transports.doctor import DoctorConfig, Report, Severity, examine
from est_transports.pki import TrustAnchors
from tests.conftest import PeerFinder
from tests.interop.test_doctor import by_name
from tests.interop.web_servers import BY_DIGEST, apache, lighttpd
from tests.pki import pki

OK, NOTE, WARNING, FAULT, NOT_JUDGED = Severity
Found = tuple[tuple[str, Severity, str], ...]


def examined(url: str) -> Report:
    """What is found out, without waiting for those that never answer a POST."""
    return examine(
        DoctorConfig(
            uri=EstUri.parse(url),
            trust=TrustAnchors(explicit=(pki().ca.certificate,)),
            timeouts=ClientTimeouts(connect_s=20.0, handshake_s=20.0, response_s=2.0),
        )
    )


def check(report: Report, wanted: Found) -> None:
    """No check broke, and these were found."""
    assert report.is_reachable
    assert not any("the check broke" in each.seen for each in report.findings)
    found = by_name(report)
    for name, severity, seen in wanted:
        assert found[name][0] is severity, (name, found[name])
        assert seen in found[name][1]


def test_apache_with_digest(peer: PeerFinder) -> None:
    with apache(peer("apache2"), BY_DIGEST) as server:
        check(
            examined(server.url),
            (
                ("tls.1-3", OK, "TLS 1.3"),
                ("tls.client-certificate", WARNING, "not asked for"),
                ("certificate.trust", OK, ""),
                ("cacerts.status", WARNING, "behind authentication"),
                ("login.digest", NOTE, "MD5 alone"),
                ("login.body", NOTE, "bytes"),
                ("paths.texts", NOTE, "HTML"),
            ),
        )


def test_lighttpd_with_digest(peer: PeerFinder) -> None:
    with lighttpd(peer("lighttpd"), "SHA-256") as server:
        check(
            examined(server.url),
            (("login.digest", NOTE, "'SHA-256'"), ("tls.resumption", NOTE, "tickets")),
        )


@contextmanager
def s_server(program: str, directory: Path) -> Iterator[str]:
    """Run OpenSSL's server, which answers with files; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    certificate, key = pki().server.write(directory, "server")
    where = ("-accept", f"127.0.0.1:{port}", "-HTTP")
    process = subprocess.Popen(
        [program, "s_server", *where, "-cert", certificate, "-key", key],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        assert any(b"ACCEPT" in line for line in process.stdout)  # it listens
        yield f"https://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def test_openssl_s_server(peer: PeerFinder, tmp_path: Path) -> None:
    with s_server(peer("openssl"), tmp_path) as url:
        check(
            examined(url),
            (
                ("certificate.names", OK, "127.0.0.1"),
                ("tls.anybody", OK, "let in"),
                ("http.version", WARNING, "HTTP/1.0"),
                ("cacerts.media-type", FAULT, "text/plain"),
                ("cacerts.base64", FAULT, "no base64"),
                ("paths.elsewhere", FAULT, "200"),
                ("login.nobody", NOT_JUDGED, "no answer in time"),
            ),
        )
