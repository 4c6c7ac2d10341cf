"""What the order of record and signature costs: `python -m benchmarks.issue_order`.

The same CA issues in one transaction, as it does with a key in its process, and in two, as it does
with one elsewhere: here the key is in the process both times, so that the order alone differs. By
turns, in several rounds; each commit may take some milliseconds longer, as on a slow disk.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from est_core import Limits
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_transports.authority import Enrollment, Profile, ReferenceCA, SqliteStore, new_root
from est_transports.pki import LocalSigner

ORDERS: Final = ("one transaction", "two transactions")
THREADS: Final = (1, 8, 32)
_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
_ENROLL: Final = Enrollment(operation="simpleenroll", user="alice")


class Elsewhere(LocalSigner):
    """A key that the CA does not take for one in its process."""


class Counted(sqlite3.Connection):
    """Counts the commits, each of which waits for the disk once, and takes longer."""

    commits = 0
    commit_s = 0.0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Execute a statement."""
        if sql == "COMMIT":
            Counted.commits += 1
            time.sleep(self.commit_s)
        return super().execute(sql, *parameters)


def measure(seconds: float, rounds: int) -> list[dict[str, object]]:
    """Return a row for each number of threads: certificates a second by order, and the ratio."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    root = new_root(_NAME, LocalSigner(key), key.public_key(), now=now, entropy=os.urandom)
    rows: list[dict[str, object]] = []
    request = _request()
    for threads in THREADS:
        rates: dict[str, list[float]] = {order: [] for order in ORDERS}
        commits: dict[str, list[float]] = {order: [] for order in ORDERS}
        for _ in range(rounds):
            for order, signer in zip(ORDERS, (LocalSigner(key), Elsewhere(key)), strict=True):
                with (
                    tempfile.TemporaryDirectory() as place,
                    closing(SqliteStore.create(Path(place, "est.db"))) as store,
                ):
                    ca = ReferenceCA(
                        certificate=root,
                        signer=signer,
                        store=store,
                        profiles={"default": Profile(name="default")},
                        default_profile="default",
                        entropy=os.urandom,
                    )
                    count, spent_s, done = _issue(ca, request, threads, seconds)
                    rates[order].append(count / spent_s)
                    commits[order].append(done / count)
        one, two = (statistics.median(rates[order]) for order in ORDERS)
        rows.append(
            {
                "threads": threads,
                **{order: round(statistics.median(rates[order])) for order in ORDERS},
                "ratio": round(two / one, 2),
                "commits": {o: round(statistics.median(commits[o]), 3) for o in ORDERS},
            }
        )
    return rows


def _issue(
    ca: ReferenceCA, request: CertRequest, threads: int, seconds: float
) -> tuple[int, float, int]:
    """Return how many certificates were issued, in how many seconds, with how many commits."""
    begun, commits = time.perf_counter(), Counted.commits

    def work(_: int) -> int:
        count = 0
        while time.perf_counter() - begun < seconds:
            ca.issue(request, _ENROLL, now=datetime.now(UTC))
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        count = sum(pool.map(work, range(threads)))
    return count, time.perf_counter() - begun, Counted.commits - commits


def _request() -> CertRequest:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return parse_cert_request(made.public_bytes(Encoding.DER), Limits())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a row a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.issue_order")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commit-ms", type=float, default=0.0, help="that a commit takes longer")
    options = parser.parse_args(arguments)
    Counted.commit_s = options.commit_ms / 1e3
    connect = sqlite3.connect

    def counted(*given: Any, **named: Any) -> sqlite3.Connection:
        return connect(*given, factory=Counted, **named)

    sqlite3.connect = counted  # type: ignore[assignment]  # of one signature, not three
    for row in measure(options.seconds, options.rounds):
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
