"""Programs that read while pairs are switched: as the reference says, they find one pair."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from est_transports.pairs import PairDirectory
from tests.law.sources import ROOT
from tests.transports.pair_material import filled

SWITCHES = """
import sys
from est_transports.pairs import PairDirectory
with PairDirectory.open(sys.argv[1]) as pairs:
    while True:
        pairs.roll_back()
        before = pairs.previous
        pairs.begin((before.directory / "key.pem").read_bytes(), None)
        pairs.receive(before.certificate, before.chain)
        pairs.promote(before.anchors)
        pairs.replace_anchors(before.anchors)
        print("again", flush=True)
"""
ROUNDS = 12


def _one_file(current: Path) -> bytes:
    return (current / "pair.pem").read_bytes()


def _below_one_directory(current: Path) -> bytes:
    directory = os.open(current, os.O_RDONLY | os.O_DIRECTORY)
    try:
        files = [os.open(name, os.O_RDONLY, dir_fd=directory) for name in ("key.pem", "cert.pem")]
    finally:
        os.close(directory)
    found = b""
    for file in files:
        with os.fdopen(file, "rb") as opened:
            found += opened.read()
    return found


def _by_a_look(current: Path) -> bytes:
    pair = PairDirectory.look(current.parent).running
    assert pair is not None
    return pair.key_file.read_bytes() + (pair.directory / "cert.pem").read_bytes()


@pytest.mark.parametrize("read", [_one_file, _below_one_directory, _by_a_look])
def test_no_mixed_pair_is_read(tmp_path: Path, read: object) -> None:
    assert callable(read)
    filled(tmp_path / "pairs", 1, 2)
    whole = set()
    with subprocess.Popen(
        [sys.executable, "-c", SWITCHES, tmp_path / "pairs"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as writer:
        assert writer.stdout is not None
        try:
            for _ in range(ROUNDS):
                assert writer.stdout.readline() == b"again\n"
                for _ in range(20):
                    try:
                        found = read(tmp_path / "pairs" / "current")
                    except FileNotFoundError:
                        continue  # its trust anchors were replaced, and it is gone: begin again
                    if found not in whole:
                        key = load_pem_private_key(found, None)
                        certificate = x509.load_pem_x509_certificates(found)[0]
                        assert certificate.public_key() == key.public_key()
                        whole.add(found)
        finally:
            writer.kill()
    assert whole
