"""Tables at 80 columns: fingerprints are whole, and what is left out is said."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from est_transports.cli.tables import folded
from tests.cli.canned import canned_server
from tests.pki import pki

FINGERPRINT = ":".join(f"{number:02X}" for number in range(32))
PAIRS = re.compile(r"(?:[0-9A-F]{2}:)*[0-9A-F]{2}:?")


def screen(columns: int, *arguments: str | Path) -> list[str]:
    """The lines that a command leaves on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "est_transports", *map(str, arguments)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": str(columns), "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # Linux: the other side was closed
                break
        assert process.wait(30) == 0, shown
    os.close(ours)
    return shown.decode().replace("\r", "").splitlines()


def pairs_in(lines: list[str]) -> str:
    """What stands in hexadecimal pairs in the cells of a table, joined."""
    found = ""
    for word in (word for line in lines for word in re.split(r"[\s\u2502|]+", line)):
        # A last byte may stand alone; so may any number.
        if PAIRS.fullmatch(word) and (":" in word or found.endswith(":")):
            found += word
    return found


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_fingerprint_is_shown_whole_and_in_whole_bytes(columns: int, tmp_path: Path) -> None:
    trust = tmp_path / "ca.pem"
    trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    with canned_server() as server:
        lines = screen(columns, "cacerts", server.url, "--trust", trust)
    assert pairs_in(lines) == pki().ca.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert "\u2026" not in "".join(lines)
    assert "..." not in "".join(lines)
    assert all(len(line) <= columns for line in lines)


def test_the_demo_says_what_it_does_and_shows_the_whole_fingerprint(tmp_path: Path) -> None:
    lines = screen(80, "demo", "--dir", tmp_path / "kept")
    root = x509.load_pem_x509_certificate((tmp_path / "kept/ca/ca.pem").read_bytes())
    assert pairs_in(lines) == root.fingerprint(hashes.SHA256()).hex(":").upper()
    assert any("enroll coaps ..." in line for line in lines), "what takes time is said"


def test_columns_that_are_left_out_are_named(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    screen(80, "init", ca)
    narrow, wide = (" ".join(screen(columns, "certs", "list", ca)) for columns in (80, 160))
    assert "operation, label, by; --json has them" in narrow
    assert "not shown" not in wide
    assert "label" in wide


@given(
    width=st.integers(6, 100), before=st.text("ab c", max_size=30), after=st.text("xy ", max_size=9)
)
def test_a_folded_text_loses_nothing_and_breaks_pairs_between_bytes(
    width: int, before: str, after: str
) -> None:
    text = f"{before} {FINGERPRINT} {after}"
    lines = list(folded(text, width))
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert pairs_in([re.sub(r"[a-cxy]+", " ", line) for line in lines]) == FINGERPRINT
