"""A channel binding links requests and does nothing else: it is no key, and no token."""

from __future__ import annotations

import ast
from typing import Final

import pytest

from tests.law.sources import ALL, Source

READERS: Final = {
    "est_core.client.linked_csr": "which binding a CSR is signed for",
    "est_core.channel": "whether kind and version go together",
    "est_core.checks.pop": "the value in the CSR, written and compared",
    "est_core.testing._transport": "whether both ends of a transport have the same",
    "est_transports.http.client": "whether the connection may serve another request",
}
"""Modules that read the binding of a channel, and what for."""
EXPORTERS: Final = {"est_transports.channel.facts"}
"""Modules that export keying material from a connection."""


def attributes_of(source: Source) -> set[str]:
    return {node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}


@pytest.mark.req("CB-016")
def test_the_binding_of_a_channel_is_read_for_linking_alone() -> None:
    assert {source.name for source in ALL if "binding" in attributes_of(source)} == set(READERS)


@pytest.mark.req("CB-022")
def test_nothing_reads_or_sends_early_data() -> None:
    """OpenSSL takes and sends none unless it is told to. RFC 8446 8: it can be replayed.

    tlslite-ng skips what it takes for such data, so it is told how much it may: nothing.
    """
    assert [source.name for source in ALL if "early_data" in source.text] == [
        "est_transports.channel.srp_connection"
    ]


@pytest.mark.req("CB-016")
def test_keying_material_is_exported_for_the_binding_alone() -> None:
    exporting = {source.name for source in ALL if "export_keying_material" in attributes_of(source)}
    assert exporting == EXPORTERS
