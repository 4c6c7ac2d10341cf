"""What a server has on record, read behind its back: quicker than asking `est certs list`."""

from __future__ import annotations

from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.sqlite import SqliteStore
from tests.deployment import Deployment

ENROLLMENTS = ("simpleenroll", "simplereenroll")


def issued(server: Deployment) -> list[IssuedRecord]:
    """Return the records of enrolled certificates, oldest first."""
    store = SqliteStore(server.directory / "est.db")
    try:
        rows = store.list_certificates(limit=10_000)
    finally:
        store.close()
    return [row for row in rows if row.operation in ENROLLMENTS]
