"""Patterns of names: what fits, what does not, and that no name takes long to judge."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.authority.name_patterns import PATTERNS_MAX, NamePatterns
from est_transports.authority.profiles import Profile, Refused, ReservedNames, certify
from tests.reached import reached, reaches
from tests.transports.ca_fakes import alt_names, request

PLANT = NamePatterns(
    dns=("*.plant.example", "gate"),
    ip=(ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")),
    email=("*@plant.example",),
    uri=("urn:dev:mac:*", "https://**"),
)


def refusal(check: Callable[[], None]) -> str:
    """Return the code of a refusal, of which there is one, or ""."""
    try:
        check()
    except Refused as refused:
        if refused.code != "profile/name-pattern":
            raise
        return refused.code
    return ""


def fits(value: x509.GeneralName, patterns: NamePatterns = PLANT) -> bool:
    return not refusal(lambda: patterns.check([value]))


def subject_fits(oid: x509.ObjectIdentifier, text: str) -> bool:
    return not refusal(lambda: PLANT.check_subject(x509.Name([x509.NameAttribute(oid, text)])))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pump-1.plant.example", True),
        ("PUMP.Plant.example", True),
        ("gate", True),
        ("plant.example", False),
        ("a.pump.plant.example", False),
        ("pump.plant.example.evil.example", False),
        ("pump-plant.example", False),
        ("gates", False),
    ],
)
def test_a_star_is_one_label_of_a_host(text: str, expected: bool) -> None:
    assert fits(x509.DNSName(text)) is expected


def test_mailboxes_uris_and_addresses_fit_by_patterns_of_their_own() -> None:
    assert fits(x509.RFC822Name("ops@plant.example"))
    assert not fits(x509.RFC822Name("ops@evil.example"))
    assert fits(x509.UniformResourceIdentifier("urn:dev:mac:0024befffe804ff1"))
    assert not fits(x509.UniformResourceIdentifier("urn:dev:mac:"))
    assert not fits(x509.UniformResourceIdentifier("urn:dev:mac:1/2"))
    assert fits(x509.UniformResourceIdentifier("https://a.example/b/c"))
    for text, expected in (("10.1.2.3", True), ("10.2.0.1", False), ("fd00::1", True)):
        assert fits(x509.IPAddress(ipaddress.ip_address(text))) is expected


def test_kinds_without_patterns_are_not_looked_at() -> None:
    hosts = NamePatterns(dns=("*.plant.example",))
    assert fits(x509.RFC822Name("ops@evil.example"), hosts)
    assert fits(x509.IPAddress(ipaddress.ip_address("10.2.0.1")), hosts)
    assert fits(x509.RegisteredID(x509.ObjectIdentifier("1.2.3")))
    assert fits(x509.DNSName("evil.example"), NamePatterns(email=("*@plant.example",)))


@pytest.mark.parametrize(
    ("oid", "text", "expected"),
    [
        (NameOID.COMMON_NAME, "pump-1.plant.example", True),
        (NameOID.COMMON_NAME, "pump-1.evil.example", False),
        (NameOID.COMMON_NAME, "pump_1.evil.example", False),
        (NameOID.COMMON_NAME, "Pump 1.5 of the plant", True),
        (NameOID.COMMON_NAME, "pump-1", True),
        (NameOID.COMMON_NAME, "pump-1.evil.example.", False),
        (NameOID.COMMON_NAME, "pump-1\u3002evil\uff0eexample", False),
        (NameOID.COMMON_NAME, "pump-1.\u00ebvil.example", False),
        (NameOID.COMMON_NAME, "PUMP-1.plant.example.", True),
        (NameOID.COMMON_NAME, "0815", True),
        (NameOID.COMMON_NAME, "10.2.0.1", False),
        (NameOID.COMMON_NAME, "[2001:db8::1]", False),
        (NameOID.COMMON_NAME, "10.1.0.1", True),
        (NameOID.EMAIL_ADDRESS, "ops@evil.example", False),
        (NameOID.EMAIL_ADDRESS, "ops@plant.example", True),
        (NameOID.ORGANIZATION_NAME, "evil.example", True),
    ],
)
def test_what_reads_as_a_host_or_mailbox_in_a_subject_fits_too(
    oid: x509.ObjectIdentifier, text: str, expected: bool
) -> None:
    assert subject_fits(oid, text) is expected
    directory = x509.DirectoryName(x509.Name([x509.NameAttribute(oid, text)]))
    assert fits(directory) is expected


def test_a_profile_refuses_what_does_not_fit() -> None:
    profile = Profile(name="plant", patterns=PLANT)
    reserved = ReservedNames.of()
    good = alt_names(x509.DNSName("pump.plant.example"))
    assert certify(request(good), profile, reserved).profile == "plant"
    with pytest.raises(Refused, match=r"profile/name-pattern: dns name .*evil\.example"):
        certify(request(alt_names(x509.DNSName("pump.evil.example"))), profile, reserved)
    evil = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pump.evil.example")])
    with pytest.raises(Refused, match="profile/name-pattern"):
        certify(request(good, subject=evil), profile, reserved)


@reaches(fits=20, differs=40)
@given(
    pattern=st.text("ab.*", min_size=1, max_size=8).filter(lambda text: "***" not in text),
    text=st.text("ab.", max_size=8),
)
def test_a_pattern_says_what_the_regular_expression_of_it_says(pattern: str, text: str) -> None:
    inner = re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^.]+")
    expected = re.fullmatch(inner, text) is not None
    assert fits(x509.DNSName(text), NamePatterns(dns=(pattern,))) is expected
    reached("fits" if expected else "differs")


def test_a_name_is_judged_in_as_many_steps_as_it_is_long() -> None:
    patterns = NamePatterns(uri=("*a" * 100 + "b",))  # years, by a regular expression
    assert not fits(x509.UniformResourceIdentifier("a" * 2048), patterns)


def test_what_nothing_fits_and_too_many_patterns_are_refused() -> None:
    for text in ("", "***", "a" * 256, "\u00e4.example", "a\nb"):
        with pytest.raises(LocalProtocolError):
            NamePatterns(dns=(text,))
    with pytest.raises(LocalProtocolError, match="64 are allowed"):
        NamePatterns(email=("*@a.example",) * (PATTERNS_MAX + 1))
    with pytest.raises(LocalProtocolError, match="64 are allowed"):
        NamePatterns(ip=(ipaddress.ip_network("10.0.0.0/8"),) * (PATTERNS_MAX + 1))
