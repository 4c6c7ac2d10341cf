"""The step of `est demo` that asks for a status: what it does not take for an answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.authority import new_ocsp_identity
from est_transports.cli.demo.status import ask_status
from est_transports.cli.errors import CliError
from tests.transports.authority.ocsp_site import NOW, asking, make_ca, responding


@contextmanager
def answering(body: bytes) -> Iterator[int]:
    """Serve this answer once, and give the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_port
        thread.join()


def answers() -> dict[str, tuple[bytes, str]]:
    site = responding()
    asked = asking(site.leaf, site.ca.certificate)
    good = site.responder.answer(asked, NOW).der
    site.signs = new_ocsp_identity(make_ca("Other CA"), now=NOW)
    foreign = site.responder.answer(asked, NOW).der
    return {
        "good": (good, "lacks what was revoked"),
        "malformed": (site.responder.answer(b"", NOW).der, "MALFORMED_REQUEST"),
        "foreign": (foreign, "no good answer"),
        "changed": (good.replace(b"20270301120000Z", b"20270301120001Z"), "no good answer"),
        "junk": (b"junk", "no good answer"),
    }


@pytest.mark.parametrize("which", ["good", "malformed", "foreign", "changed", "junk"])
def test_what_is_not_revoked_and_signed_by_the_delegate_ends_the_demo(
    tmp_path: Path, which: str
) -> None:
    site = responding()
    leaf, anchor = tmp_path / "leaf.pem", tmp_path / "ca.pem"
    leaf.write_bytes(site.leaf.public_bytes(Encoding.PEM))
    anchor.write_bytes(site.ca.certificate.public_bytes(Encoding.PEM))
    body, said = answers()[which]
    with answering(body) as port, pytest.raises(CliError, match=said):
        ask_status("127.0.0.1", port, leaf, anchor)
