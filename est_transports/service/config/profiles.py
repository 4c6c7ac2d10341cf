"""`[profiles.NAME]` of est.toml: what may be certified."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from est_core.asn1.csrattrs import ObjectId
from est_transports.authority.profiles import KeyKind, KeyUse, Profile, SanKind
from est_transports.service.config.key import Key
from est_transports.service.config.renewal_rules import RENEWAL_RULES_KEYS, read_renewal_rules
from est_transports.toml.tables import TomlTable

_PURPOSES: Final = {
    "client-auth": ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,
    "server-auth": ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,
    "email-protection": ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string,
    "code-signing": ExtendedKeyUsageOID.CODE_SIGNING.dotted_string,
    "time-stamping": ExtendedKeyUsageOID.TIME_STAMPING.dotted_string,
    "ipsec-ike": ExtendedKeyUsageOID.IPSEC_IKE.dotted_string,
}


def read_profiles(top: TomlTable) -> Mapping[str, Profile]:
    """Return all profiles; "client" is there without being mentioned. Raises ConfigError."""
    mentioned = {name: _profile(name, table) for name, table in top.tables("profiles")}
    return MappingProxyType({"client": Profile(name="client")} | mentioned)


def _profile(name: str, table: TomlTable) -> Profile:
    usual = Profile(name="usual")
    with table.checks():
        profile = Profile(
            name=name,
            key_kinds=frozenset(
                table.choices("keys", {kind.value: kind for kind in KeyKind}, tuple(KeyKind))
            ),
            rsa_bits_min=table.integer("rsa_bits_min", usual.rsa_bits_min),
            rsa_bits_max=table.integer("rsa_bits_max", usual.rsa_bits_max, most=16384),
            key_usage=frozenset(
                table.choices(
                    "key_usage",
                    {use.value.replace("_", "-"): use for use in KeyUse},
                    tuple(KeyUse),
                )
            ),
            extended_key_usage=tuple(
                _PURPOSES.get(word, word)
                for word in table.texts("extended_key_usage", _purpose_words(usual))
            ),
            san_kinds=frozenset(
                table.choices(
                    "names", {kind.value: kind for kind in SanKind}, tuple(usual.san_kinds)
                )
            ),
            other_name_types=table.texts("other_name_types"),
            names_max=table.integer("names_max", usual.names_max, least=1),
            validity_days=table.integer("validity_days", usual.validity_days, least=1, most=36500),
            renewals=read_renewal_rules(table),
        )
        for oid in (*profile.extended_key_usage, *profile.other_name_types):
            ObjectId(oid=oid)
    table.done()
    return profile


def _purpose_words(profile: Profile) -> tuple[str, ...]:
    words = {oid: word for word, oid in _PURPOSES.items()}
    return tuple(words.get(oid, oid) for oid in profile.extended_key_usage)


PROFILE_KEYS: Final = (
    Key(name="keys", meaning="kinds of key"),
    Key(name="rsa_bits_min", kind="2048 or more", meaning="of an RSA key"),
    Key(name="rsa_bits_max", kind="up to 16384", meaning="of an RSA key"),
    Key(
        name="key_usage",
        meaning="uses that a request may ask for; one that asks for none gets `digital-signature`",
    ),
    Key(
        name="extended_key_usage", kind="words or object identifiers",
        meaning="purposes; a request that asks for none gets all of them",
    ),
    Key(name="names", meaning="kinds of alternative names"),
    Key(name="other_name_types", kind="object identifiers", meaning="kinds of otherName"),
    Key(name="names_max", counted="names", meaning="alternative names in one certificate"),
    Key(name="validity_days", meaning="never past the end of the CA's own certificate"),
    *RENEWAL_RULES_KEYS,
)  # fmt: skip
