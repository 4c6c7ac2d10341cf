"""The operation that the page about operations of one's own adds, as a module."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.docs.pages import DOCS, blocks
from tests.pki import HOUR_AGO, IN_TEN_YEARS, pki

PAGE: Final = DOCS / "how-to" / "add-an-operation.md"


@cache
def own_operation() -> Any:
    """Return crls.py of the page, as it is imported there: once, so that CRLS is one operation."""
    text = next(block.text for block in blocks(PAGE) if block.rest == "crls.py")
    module = sys.modules["crls"] = ModuleType("crls")
    exec(compile(text, "crls.py", "exec", dont_inherit=True), module.__dict__)
    return module


def a_list() -> x509.CertificateRevocationList:
    """Return a list of the EST CA, of nothing revoked."""
    ca = pki().ca
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.name)
    return builder.last_update(HOUR_AGO).next_update(IN_TEN_YEARS).sign(ca.key, hashes.SHA256())
