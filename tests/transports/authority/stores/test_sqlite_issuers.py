"""By which key certificates were issued: counted, and filled in for records of earlier releases."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from est_transports.authority.ca import Enrollment
from est_transports.authority.stores import IssuerCount
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_schema import MIGRATIONS
from est_transports.pki.serials import serial_text
from tests.transports.authority.generations import Generations
from tests.transports.authority.stores.older_databases import made_older
from tests.transports.authority.stores.test_sqlite import BARE
from tests.transports.ca_fakes import NOW, ec_key, name, request

BEFORE_ISSUERS = next(
    at for at, statements in enumerate(MIGRATIONS) if "issuer_key BLOB" in statements[0]
)


def test_what_is_in_use_is_counted_by_key(tmp_path: Path) -> None:
    path = tmp_path / "est.db"
    with closing(SqliteStore.create(path)) as store:
        generations = Generations(NOW, store)
        issued = [_issue(generations, each) for each in ("a", "b", "c")]
        generations.roll_over(NOW)
        _issue(generations, "d")
        store.revoke_certificate(issued[0], at=NOW, reason="superseded")
        store.record_certificate(BARE)
        counts = store.count_by_issuer(NOW)
        assert store.count_by_issuer(NOW + timedelta(days=366)) == ()
    old = generations.former[0].key_identifier
    year = NOW + timedelta(days=365)
    by_key = {each.issuer_key: each for each in counts}
    assert by_key[old] == IssuerCount(issuer_key=old, certificates=2, ends=year)
    assert by_key[generations.ca().key_identifier].certificates == 1
    made_older(path, BEFORE_ISSUERS)
    with closing(SqliteStore(path)) as store:
        assert set(store.count_by_issuer(NOW)) == set(counts)
        found = store.find_certificate(issued[0])
        assert found is not None
        assert found.issuer_key == old


def _issue(generations: Generations, device: str) -> str:
    csr = request(key=ec_key("device"), subject=name(device))
    enrollment = Enrollment(operation="simpleenroll")
    return serial_text(generations.ca().issue(csr, enrollment, now=NOW).serial_number)
