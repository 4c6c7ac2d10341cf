"""The measure of a long revocation list counts its entries."""

from __future__ import annotations

from pathlib import Path

from benchmarks.long_crl import measure


def test_a_list_is_as_long_as_it_has_entries(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "more").mkdir()
    few, more = measure(100, tmp_path / "few"), measure(200, tmp_path / "more")
    assert (few["entries"], more["entries"]) == (100, 200)
    # A serial number of 20 octets, a time and a reason: 53 octets an entry, or 54.
    assert 52 * 100 <= more["bytes"] - few["bytes"] <= 55 * 100
