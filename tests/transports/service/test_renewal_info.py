"""[renewal_info] of est.toml: what it says, what it refuses, and what a server then offers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from est_core import RENEWAL_INFO, Authentication, Label
from est_transports.authority import RenewalSchedule
from est_transports.service.config import RenewalInfoConfig, ServerConfig, load_config
from est_transports.toml.tables import ConfigError


def loaded(directory: Path, text: str) -> ServerConfig:
    path = directory / "est.toml"
    path.write_text(text, "utf-8")
    return load_config(path)


def test_it_is_offered_to_everybody_under_every_label(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[labels.web]\n")
    assert config.renewal_info == RenewalInfoConfig()
    policy = config.policy()
    for label in (None, Label("web")):
        row = policy.row(RENEWAL_INFO, label)
        assert row is not None
        assert row.authentication is Authentication.OPEN
        over_coap = policy.row(RENEWAL_INFO, label, datagram=True)
        assert over_coap is not None
        assert over_coap.authentication is Authentication.CERT


def test_it_can_be_turned_off_and_kept_for_those_with_a_certificate(tmp_path: Path) -> None:
    assert (
        RENEWAL_INFO not in loaded(tmp_path, "[renewal_info]\nenabled = false").policy().operations
    )
    text = '[renewal_info]\nauthentication = "cert"'
    row = loaded(tmp_path, text).policy().row(RENEWAL_INFO, None)
    assert row is not None
    assert row.authentication is Authentication.CERT


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """[renewal_info]
begin_percent = 20
end_percent = 60
retry_after_s = 3600
renew_before = "2026-11-27T19:00:00+01:00"
renew_within_s = 7200
renew_now = ["0A:0b", "0x01"]
"""
    assert loaded(tmp_path, text).renewal_info.schedule == RenewalSchedule(
        begin_percent=20,
        end_percent=60,
        retry_after_s=3600,
        renew_before=datetime(2026, 11, 27, 18, 0, tzinfo=UTC),
        renew_within_s=7200.0,
        renew_now=frozenset({"a0b", "1"}),
    )


@pytest.mark.parametrize(
    "line, said",
    [
        ("begin_percent = 0", "begin_percent"),
        ("begin_percent = 80", "end_percent: is not more than begin_percent, 80"),
        ("end_percent = 100", "end_percent"),
        ("retry_after_s = 59", "retry_after_s"),
        ("retry_after_s = 86401", "retry_after_s"),
        ("renew_within_s = 0", "renew_within_s"),
        ('renew_before = "tomorrow"', "renew_before: 'tomorrow' is no date and time"),
        ("renew_before = 2026-11-27T18:00:00Z", "renew_before: is not a string"),
        ('renew_now = ["zz"]', "renew_now: 'zz' is no serial number"),
        ('authentication = "everybody"', "authentication"),
        ("window = 3", "window"),
    ],
)
def test_what_makes_no_sense_is_refused_and_says_where(
    tmp_path: Path, line: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, f"[renewal_info]\n{line}\n")
