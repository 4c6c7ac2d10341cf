"""What is said at the start of a server of certificates that were left prepared."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from est_transports import _clock
from est_transports.authority.stores import PREPARED
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.startup_checks import prepared_notice


def notices(directory: Path, store: SqliteStore) -> list[str]:
    return list(prepared_notice(load_config(directory / CONFIG_FILE), store, _clock.instant().wall))


@pytest.mark.parametrize(
    ("count", "told"), [(1, "1 certificate was prepared"), (2, "2 certificates were prepared")]
)
def test_what_was_left_prepared_is_said_at_the_start(count: int, told: str, tmp_path: Path) -> None:
    initialise(tmp_path / "ca", CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    with closing(SqliteStore(tmp_path / "ca" / "est.db")) as store:
        assert notices(tmp_path / "ca", store) == []
        (first,) = store.list_certificates()
        for number in range(count):
            store.record_certificate(replace(first, serial=f"ab{number}", state=PREPARED))
        (line,) = notices(tmp_path / "ca", store)
        assert line.startswith(f"{store.path}: {told} and may have been signed")
        assert f"est certs list --prepared {tmp_path / 'ca'}" in line
        for number in range(count):
            store.revoke_certificate(f"ab{number}", at=first.not_before, reason="superseded")
        assert notices(tmp_path / "ca", store) == []
