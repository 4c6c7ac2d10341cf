"""What the page of things that are missing says of OpenSSL is true of the one that is in use."""

from __future__ import annotations

import re
from typing import Final

from cryptography.hazmat.backends.openssl import backend
from OpenSSL import SSL

from tests.docs.pages import DOCS

PAGE: Final = DOCS / "not-supported.md"
DTLS_1_3: Final = (4, 1)
"""The first version of OpenSSL that has DTLS 1.3."""


def bundled() -> tuple[int, int]:
    """The version of the OpenSSL that `cryptography` brings."""
    found = re.match(r"OpenSSL (\d+)\.(\d+)\.", backend.openssl_version_text())
    assert found is not None, backend.openssl_version_text()
    return int(found[1]), int(found[2])


def test_the_openssl_in_use_has_no_dtls_1_3_as_the_page_says() -> None:
    """Red when `cryptography` brings OpenSSL 4.1: the row, and what is done about it, are due."""
    assert "| DTLS 1.3 |" in PAGE.read_text("utf-8")
    assert bundled() < DTLS_1_3, f"OpenSSL {bundled()} has DTLS 1.3: see {PAGE.name}"


def test_tls_and_dtls_are_made_by_the_same_openssl() -> None:
    assert SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode() == backend.openssl_version_text()


def test_the_bindings_give_no_way_to_name_the_anchors_of_a_client() -> None:
    """Red when they do: certificate_authorities (RFC 8446 4.2.4) is to be sent then."""
    names = {name.lower() for name in (*dir(SSL.Context), *dir(SSL.Connection))}
    assert not {name for name in names if "ca_names" in name or "certificate_authorities" in name}
    assert {name for name in names if "client_ca_list" in name}  # what a server sends, in both
