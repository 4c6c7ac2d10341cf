"""How long a long revocation list takes and how large it is: `python -m benchmarks.long_crl [N]`.

N certificates are recorded and revoked first, 100,000 if none is said; that takes a while.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from est_transports import _clock
from est_transports.authority import (
    CrlSchedule,
    IssuedRecord,
    Profile,
    ReferenceCA,
    SqliteStore,
    make_crl,
    new_root,
)
from est_transports.pki import LocalSigner

ENTRIES: Final = 100_000
_THREADS: Final = 64
_AT_ONCE: Final = 10_000


def measure(entries: int, directory: Path) -> dict[str, float]:
    """Return what a list with so many entries takes: seconds, octets, memory in KiB."""
    now = datetime.now(UTC)
    serials = [hashlib.sha256(b"%d" % number).hexdigest()[:39] for number in range(entries)]
    serials = [f"1{serial}" for serial in serials]  # as long as those of a CA

    with closing(SqliteStore.create(directory / "est.db")) as store:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda serial: store.record_certificate(_record(serial, now)), serials))
        begin = time.perf_counter()
        for start in range(0, entries, _AT_ONCE):
            some = serials[start : start + _AT_ONCE]
            store.revoke_certificates(some, at=now, reason="keyCompromise")
        revoked = time.perf_counter()
        crl = make_crl(_ca(store, now), store, CrlSchedule(), now=now)
        made = time.perf_counter()
    return {
        "entries": entries,
        "revoke_s": round(revoked - begin, 3),
        "make_s": round(made - revoked, 3),
        "bytes": len(crl.der),
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _record(serial: str, now: datetime) -> IssuedRecord:
    return IssuedRecord(
        serial=serial, subject="CN=device", not_before=now, not_after=now + timedelta(days=365),
        der=b"", spki_sha256=bytes(32), issued_at=now, operation="simpleenroll",
    )  # fmt: skip


def _ca(store: SqliteStore, now: datetime) -> ReferenceCA:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    signer = LocalSigner(key)
    root = new_root(name, signer, key.public_key(), now=now, entropy=_clock.entropy)
    return ReferenceCA(
        certificate=root, signer=signer, store=store, profiles={"": Profile(name="client")},
        default_profile="", entropy=_clock.entropy,
    )  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
        print(json.dumps(measure(count, Path(place)), indent=2))
