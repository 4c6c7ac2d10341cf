"""The rules for renewals in a profile of est.toml: what they say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from est_transports.authority import RenewalRules
from est_transports.service.config import ServerConfig, load_config
from est_transports.toml.tables import ConfigError


def loaded(directory: Path, text: str) -> ServerConfig:
    path = directory / "est.toml"
    path.write_text(f"[profiles.client]\n{text}\n", "utf-8")
    return load_config(path)


@pytest.mark.req("EST-164")
@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", RenewalRules()),
        ("same_key_renewals = 0", RenewalRules(same_key_renewals=0)),
        ("same_key_renewals = 999", RenewalRules(same_key_renewals=999)),
        ("same_key_days = 1", RenewalRules(same_key_days=1)),
        ("same_key_days = 36500", RenewalRules(same_key_days=36500)),
    ],
)
def test_a_profile_has_the_rules_that_it_names(
    tmp_path: Path, text: str, rules: RenewalRules
) -> None:
    assert loaded(tmp_path, text).profiles["client"].renewals == rules


@pytest.mark.parametrize(
    "text",
    [
        "same_key_renewals = -1",
        "same_key_renewals = 1000",
        "same_key_renewals = true",
        'same_key_renewals = "2"',
        "same_key_days = 0",
        "same_key_days = 36501",
    ],
)
def test_what_is_no_rule_is_refused_by_its_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=text.partition(" ")[0]):
        loaded(tmp_path, text)
