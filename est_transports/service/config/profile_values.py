"""A profile in the words of est.toml: what each key of `[profiles.NAME]` says."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, timedelta

from est_transports.authority.profiles import KeyKind, KeyUse, Profile, SanKind
from est_transports.authority.renewal_rules import RenewalRules
from est_transports.service.config.profiles import PURPOSES


def profile_values(profile: Profile) -> dict[str, object]:
    """Return the keys of est.toml with their values, in their order; None is none."""
    additions, patterns = profile.additions, profile.patterns
    words = {oid: word for word, oid in PURPOSES.items()}
    return {
        "keys": [kind.value for kind in KeyKind if kind in profile.key_kinds],
        "rsa_bits_min": profile.rsa_bits_min,
        "rsa_bits_max": profile.rsa_bits_max,
        "key_usage": [use.value.replace("_", "-") for use in KeyUse if use in profile.key_usage],
        "extended_key_usage": [words.get(oid, oid) for oid in profile.extended_key_usage],
        "names": [kind.value for kind in SanKind if kind in profile.san_kinds],
        "other_name_types": list(profile.other_name_types),
        "names_max": profile.names_max,
        "dns_patterns": list(patterns.dns),
        "ip_networks": [str(network) for network in patterns.ip],
        "email_patterns": list(patterns.email),
        "uri_patterns": list(patterns.uri),
        "validity": validity_text(profile.validity),
        "not_after": None
        if profile.not_after is None
        else f"{profile.not_after.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "policies": [
            each.oid if each.cps is None else f"{each.oid} {each.cps}"
            for each in additions.policies
        ],
        "crl_urls": list(additions.crl_urls),
        "ocsp_urls": list(additions.ocsp_urls),
        "ca_issuers_urls": list(additions.ca_issuers_urls),
        "must_staple": additions.must_staple,
        # The rules are called what their keys are.
        **{rule.name: getattr(profile.renewals, rule.name) for rule in fields(RenewalRules)},
    }


def validity_text(validity: timedelta) -> str:
    """Return how long, as est.toml has it: in days where these are whole, else in hours."""
    if not validity % timedelta(days=1):
        return f"{validity.days}d"
    return f"{validity // timedelta(hours=1)}h"
