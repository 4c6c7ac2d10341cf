"""`[profiles.NAME]` of est.toml: what may be certified."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from cryptography.x509.oid import ExtendedKeyUsageOID

from est_core import RemoteProtocolError
from est_core.asn1.csrattrs import ObjectId
from est_core.codec.timestamps import parse_timestamp
from est_transports.authority.name_patterns import NamePatterns, Network
from est_transports.authority.profile_additions import (
    CertificatePolicy,
    ProfileAdditions,
    check_url,
)
from est_transports.authority.profiles import (
    VALIDITY_MAX,
    VALIDITY_MIN,
    KeyKind,
    KeyUse,
    Profile,
    SanKind,
)
from est_transports.service.config.key import Key
from est_transports.service.config.renewal_rules import RENEWAL_RULES_KEYS, read_renewal_rules
from est_transports.toml.tables import TomlTable

_VALIDITY: Final = re.compile(r"([0-9]{1,6})([dh])")
_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1)}
PURPOSES: Final = {
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
    if "validity_days" in table:
        raise table.error("validity_days", 'has moved: write validity = "90d"')
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
                PURPOSES.get(word, word)
                for word in table.texts("extended_key_usage", _purpose_words(usual))
            ),
            san_kinds=frozenset(
                table.choices(
                    "names", {kind.value: kind for kind in SanKind}, tuple(usual.san_kinds)
                )
            ),
            other_name_types=table.texts("other_name_types"),
            names_max=table.integer("names_max", usual.names_max, least=1),
            patterns=_patterns(table),
            validity=_validity(table),
            not_after=_not_after(table),
            additions=_additions(table),
            renewals=read_renewal_rules(table),
        )
        for oid in (*profile.extended_key_usage, *profile.other_name_types):
            ObjectId(oid=oid)
    table.done()
    return profile


def _validity(table: TomlTable) -> timedelta:
    text = table.text("validity", "365d")
    found = _VALIDITY.fullmatch(text)
    if found is None:
        raise table.error("validity", f'{text!r} is no time such as "90d" or "36h"')
    validity = int(found[1]) * _UNITS[found[2]]
    if not VALIDITY_MIN <= validity <= VALIDITY_MAX:
        raise table.error("validity", "is not between 1h and 36500d")
    return validity


def _not_after(table: TomlTable) -> datetime | None:
    text = table.optional_text("not_after")
    try:
        return None if text is None else parse_timestamp(text)
    except RemoteProtocolError as exc:
        raise table.error(
            "not_after", f"{text!r} is no date and time such as 2036-01-01T00:00:00Z"
        ) from exc


def _patterns(table: TomlTable) -> NamePatterns:
    found: dict[str, tuple[str, ...]] = {}
    for kind in ("dns", "email", "uri"):
        with table.checks(f"{kind}_patterns"):
            found[kind] = table.texts(f"{kind}_patterns")
            NamePatterns(**{kind: found[kind]})  # type: ignore[arg-type]  # ip is another key
    return NamePatterns(
        dns=found["dns"], email=found["email"], uri=found["uri"], ip=_networks(table)
    )


def _networks(table: TomlTable) -> tuple[Network, ...]:
    found = []
    for text in table.texts("ip_networks"):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as exc:
            raise table.error("ip_networks", f"{text!r} is no network: {exc}") from exc
    with table.checks("ip_networks"):
        return NamePatterns(ip=tuple(found)).ip


def _additions(table: TomlTable) -> ProfileAdditions:
    with table.checks("policies"):
        policies = tuple(_policy(text) for text in table.texts("policies"))
        ProfileAdditions(policies=policies)
    urls = {}
    for key in ("crl_urls", "ocsp_urls", "ca_issuers_urls"):
        urls[key] = table.texts(key)
        for url in urls[key]:
            with table.checks(key):
                check_url(url)
    with table.checks():
        return ProfileAdditions(
            policies=policies, **urls, must_staple=table.flag("must_staple", False)
        )


def _policy(text: str) -> CertificatePolicy:
    oid, _, cps = text.partition(" ")
    return CertificatePolicy(oid=oid, cps=cps or None)


def _purpose_words(profile: Profile) -> tuple[str, ...]:
    words = {oid: word for word, oid in PURPOSES.items()}
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
    Key(
        name="dns_patterns", kind="patterns",
        meaning='host names that it certifies, such as `"*.plant.example"`: `*` is one or more'
        " characters without a dot, `**` any; none is every host. A common name that reads as a"
        " host is one too",
    ),
    Key(
        name="ip_networks", kind='networks such as `"10.1.0.0/16"`',
        meaning="IP addresses that it certifies; none is every address",
    ),
    Key(
        name="email_patterns", kind="patterns",
        meaning='mailboxes that it certifies, such as `"*@plant.example"`; none is every mailbox',
    ),
    Key(
        name="uri_patterns", kind="patterns",
        meaning='URIs that it certifies, such as `"urn:dev:mac:*"`: `*` is one or more characters'
        " without a slash; none is every URI",
    ),
    Key(
        name="validity", kind='days or hours: `"90d"`, `"36h"`',
        meaning="how long a certificate is valid; never past the end of the CA's own",
    ),
    Key(
        name="not_after", kind='date and time such as `"2036-01-01T00:00:00Z"`',
        meaning="no certificate is valid past it, and none is issued then",
    ),
    Key(
        name="policies", kind='strings: `"OID"`, `"OID URL"`',
        meaning="certificate policies of each certificate, with the URL of the practice statement",
    ),
    Key(
        name="crl_urls", kind="http:// URLs",
        meaning="where the CA's revocation list is (cRLDistributionPoints)",
    ),
    Key(
        name="ocsp_urls", kind="http:// URLs",
        meaning="where an OCSP responder of the CA is (authorityInfoAccess)",
    ),
    Key(
        name="ca_issuers_urls", kind="http:// URLs",
        meaning="where the CA's certificate is, in DER (authorityInfoAccess)",
    ),
    Key(
        name="must_staple",
        meaning="TLS servers are to show an OCSP answer with it (RFC 7633); needs `ocsp_urls`",
    ),
    *RENEWAL_RULES_KEYS,
)  # fmt: skip
