"""The rules for renewals in a profile of est.toml: what they say, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from est_core import SIMPLEENROLL, SIMPLEREENROLL, ChangedNames, Label
from est_transports.authority import RenewalRules
from est_transports.service.config import ServerConfig, load_config
from est_transports.service.startup_checks import notices_of
from est_transports.toml.tables import ConfigError

NOW = datetime(2027, 1, 1, tzinfo=UTC)


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
        ("certificates_per_name = 1", RenewalRules(certificates_per_name=1)),
        ("adopt_unknown = true", RenewalRules(adopt_unknown=True)),
        ("certificates_per_name = 100", RenewalRules(certificates_per_name=100)),
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
        "certificates_per_name = 0",
        'adopt_unknown = "yes"',
        "certificates_per_name = 101",
    ],
)
def test_what_is_no_rule_is_refused_by_its_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=text.partition(" ")[0]):
        loaded(tmp_path, text)


# Other names


def rule(directory: Path, text: str, label: str | None = None) -> ChangedNames:
    path = directory / "est.toml"
    path.write_text(f"{text}\n", "utf-8")
    config = load_config(path)
    row = config.policy().row(SIMPLEREENROLL, None if label is None else Label(label))
    assert row is not None
    enroll = config.policy().row(SIMPLEENROLL, None if label is None else Label(label))
    assert enroll is not None
    assert enroll.changed_names is ChangedNames.REFUSE
    return row.changed_names


@pytest.mark.req("EST-162")
def test_registered_names_may_be_changed_to_unless_another_rule_is_given(tmp_path: Path) -> None:
    assert rule(tmp_path, "") is ChangedNames.REGISTERED
    assert rule(tmp_path, '[auth]\nchanged_names = "refuse"') is ChangedNames.REFUSE
    label = '[auth]\nchanged_names = "refuse"\n[labels.a]\n[labels.b]\nchanged_names = "any"'
    found = [rule(tmp_path, label, name) for name in ("a", "b")]
    assert found == [ChangedNames.REFUSE, ChangedNames.ANY]
    with pytest.raises(ConfigError, match="changed_names"):
        rule(tmp_path, '[auth]\nchanged_names = "all"')


def test_a_rule_that_leaves_any_name_is_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "est.toml"
    path.write_text('[auth]\nchanged_names = "any"\n[labels.b]\nchanged_names = "any"\n', "utf-8")
    config = load_config(path)
    assert config.names_any() == ("auth.changed_names", "labels.b.changed_names")
    told = [each for each in notices_of(config, (), NOW) if "changed_names" in each]
    text = 'is "any": whoever may renew may have the name of anybody else'
    assert told == [f"auth.changed_names {text}", f"labels.b.changed_names {text}"]
