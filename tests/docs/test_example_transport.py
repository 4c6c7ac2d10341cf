"""The transport of the documentation answers and records what an application does wrong."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from est_core import Decision, ServerQuestion
from tests.docs.pages import DOCS, blocks
from tests.pki import pki

PAGE = DOCS / "how-to" / "write-your-own-transport.md"


def example() -> dict[str, Any]:
    """What the page has under the name `transport.py`."""
    (block,) = (block for block in blocks(PAGE) if "EST over the standard library" in block.text)
    names: dict[str, Any] = {"__name__": "transport"}
    exec(compile(block.text, "transport.py", "exec"), names)
    return names


def broken(_question: ServerQuestion) -> Decision:
    raise LookupError("the database is away")


@contextmanager
def serving(directory: Path) -> Iterator[int]:
    """Serve it with an application that raises; the port."""
    names, server = example(), pki().server
    key = server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = directory / "server.pem"
    file.write_bytes(server.certificate.public_bytes(Encoding.PEM) + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    names["Handler"].decide = staticmethod(broken)
    listener = names["Server"](("127.0.0.1", 0), names["Handler"])
    listener.socket = context.wrap_socket(
        listener.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield listener.server_address[1]
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def test_an_application_that_raises_costs_an_answer_and_no_connection(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with serving(tmp_path) as port:
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        for _ in range(2):  # the second on the same connection
            client.request("GET", "/.well-known/est/cacerts")
            answer = client.getresponse()
            assert answer.status == 500
            assert b"database" not in answer.read()
        client.close()
    recorded = capfd.readouterr().err
    assert recorded.count("LookupError: the database is away") == 2
    assert recorded.count("/.well-known/est/cacerts server/internal") == 2
