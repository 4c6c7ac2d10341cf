"""A profile in the words of est.toml says what it was read from."""

from __future__ import annotations

import json
from pathlib import Path

from est_transports.authority.profiles import Profile
from est_transports.service.config.keys import KEYS
from est_transports.service.config.profile_values import profile_values
from est_transports.service.config.reader import load_config

WRITTEN = {
    "keys": ["EC P-384", "RSA"],
    "rsa_bits_min": 3072,
    "rsa_bits_max": 4096,
    "key_usage": ["digital-signature", "key-encipherment"],
    "extended_key_usage": ["server-auth", "1.3.6.1.4.1.99999.1"],
    "names": ["dns", "registered-id"],
    "other_name_types": ["1.3.6.1.4.1.99999.2"],
    "names_max": 3,
    "dns_patterns": ["*.plant.example"],
    "ip_networks": ["10.0.0.0/8", "fd00::/8"],
    "email_patterns": ["*@plant.example"],
    "uri_patterns": ["urn:dev:**"],
    "validity": "36h",
    "not_after": "2036-01-01T00:00:00Z",
    "policies": ["1.3.6.1.4.1.99999.3", "1.3.6.1.4.1.99999.4 https://pki.example/cps"],
    "crl_urls": ["http://pki.example/ca.crl"],
    "ocsp_urls": ["http://pki.example:8080/ocsp"],
    "ca_issuers_urls": ["http://[::1]/ca.der"],
    "must_staple": True,
    "same_key_renewals": 3,
    "same_key_days": 4,
    "certificates_per_name": 5,
    "adopt_unknown": True,
}


def test_the_values_are_those_that_were_written(tmp_path: Path) -> None:
    lines = [f"{key} = {json.dumps(value)}" for key, value in WRITTEN.items()]
    path = tmp_path / "est.toml"
    path.write_text("\n".join(["[profiles.web]", *lines]))
    assert profile_values(load_config(path).profiles["web"]) == WRITTEN


def test_there_is_a_value_for_each_key_and_none_where_there_is_none() -> None:
    values = profile_values(Profile(name="usual"))
    assert set(values) == {key.name for key in KEYS["profiles.NAME"]}
    assert (values["validity"], values["not_after"], values["same_key_days"]) == (
        "365d",
        None,
        None,
    )
