"""What a command loads before it does anything: the time until it answers is mostly that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.canned import canned_server
from tests.law.sources import MODULE_NAMES, ROOT
from tests.pki import pki

CACERTS_MODULES: Final = 177
"""How many of ours `est cacerts` loads, at most: that many are needed, more have to be worth it."""
HELP_MODULES: Final = 12

NOT_FOR_A_CLIENT: Final = frozenset(
    {
        # Of ours: servers, the reference CA, CoAP beyond its bounds, event loops, remedies.
        *("est_core.error_codes", "est_transports.authority", "est_transports.error_codes"),
        *(
            "est_transports.channel.dtls",
            "est_transports.coap.client",
            "est_transports.coap.server",
        ),
        *("est_transports.drive.application", "est_transports.drive.consult"),
        *("est_transports.fairness", "est_transports.http.server", "est_transports.http.settings"),
        *(
            "est_transports.on_asyncio",
            "est_transports.on_sockets.server",
            "est_transports.on_trio",
        ),
        *("est_transports.service.config", "est_transports.service.loading"),
        *("est_transports.cli.client.enrollment", "est_transports.cli.server"),
        # Of others, and of the standard library.
        *("aiocoap", "asn1crypto", "attr", "idna", "rich", "service_identity", "trio"),
        *("asyncio", "concurrent", "difflib", "html", "multiprocessing", "sqlite3", "ssl"),
        *("subprocess", "tomllib"),
    }
)
NOT_FOR_HELP: Final = NOT_FOR_A_CLIENT | {
    *("OpenSSL", "cryptography.x509", "est_core", "est_transports.channel", "h11"),
}

PROGRAM: Final = """
import sys
before = set(sys.modules)  # what measures the coverage of this process has some of them
from est_transports.__main__ import main
code = main()
print(*set(sys.modules) - before, sep="\\n", file=sys.stderr)
sys.exit(code)
"""


def loaded_by(*arguments: str) -> tuple[str, frozenset[str]]:
    """Return what a command printed, and the modules that it had loaded in the end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, frozenset(done.stderr.split())


def ours(modules: frozenset[str]) -> list[str]:
    return sorted(name for name in modules if name.startswith(("est_core", "est_transports")))


def test_what_is_not_to_be_loaded_exists() -> None:
    assert set(ours(NOT_FOR_HELP)) <= MODULE_NAMES


def test_fetching_the_ca_certificates_loads_what_a_client_needs(tmp_path: Path) -> None:
    trust = tmp_path / "ca.pem"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    with canned_server() as server:
        printed, modules = loaded_by("cacerts", server.url, "--trust", str(trust))
    assert "BEGIN CERTIFICATE" in printed
    assert sorted(NOT_FOR_A_CLIENT & modules) == []
    assert len(ours(modules)) <= CACERTS_MODULES, "\n".join(ours(modules))


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_more_than_the_names_of_commands(option: str) -> None:
    printed, modules = loaded_by(option)
    assert printed
    assert sorted(NOT_FOR_HELP & modules) == []
    assert len(ours(modules)) <= HELP_MODULES, "\n".join(ours(modules))
