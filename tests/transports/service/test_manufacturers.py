"""[manufacturers.NAME] of est.toml: read, loaded with its files, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import FieldKind, IdentityField, Manufacturer
from est_core.checks.manufacturers import SERIAL_NUMBER, parse_identity_field
from est_transports import _clock
from est_transports.pki.trust import CredentialFileError, ManufacturerAnchors
from est_transports.service.config.manufacturers import ManufacturerConfig
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.errors import ServingError
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import Service, load_service
from est_transports.toml.tables import ConfigError
from tests.pki import YESTERDAY, Authority, Subject, pki
from tests.transports.ca_fakes import MemoryStore

DAY = timedelta(days=1)
ONE, TWO = pki().manufacturer, Authority("Maker Two Root")


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Service]:
    """Loads a server with a text as its est.toml, beside which are manufacturers' CAs."""
    directory = tmp_path / "ca"
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    for name, authority in (("one", ONE), ("two", TWO)):
        pem = authority.certificate.public_bytes(Encoding.PEM)
        (directory / f"{name}.pem").write_bytes(pem)

    def loaded(text: str) -> Service:
        path = directory / CONFIG_FILE
        path.write_text(text, "utf-8")
        return load_service(load_config(path), store=MemoryStore())

    return loaded


def test_a_table_for_each_manufacturer(load: Callable[[str], Service]) -> None:
    service = load(
        """
        [manufacturers.one]
        trust = ["one.pem"]
        [manufacturers.two]
        trust = ["two.pem"]
        field = "hardwareModuleName"
        csr_field = "CN"
        [coap]
        listen = "127.0.0.1:0"
        """
    )
    one, two = ONE.certificate, TWO.certificate
    assert service.coap is not None
    for trust in (service.context.config.trust, service.coap.context.config.trust):
        assert trust.implicit == ()
        assert trust.manufacturers == (
            ManufacturerAnchors(name="one", anchors=(one,)),
            ManufacturerAnchors(name="two", anchors=(two,)),
        )
    for policy in (service.http.policy, service.coap.policy):
        assert policy.manufacturer("one") == Manufacturer(name="one", field=SERIAL_NUMBER)
        assert policy.manufacturer("two") == Manufacturer(
            name="two",
            field=IdentityField(kind=FieldKind.HARDWARE_MODULE_NAME),
            csr_field=parse_identity_field("commonName"),
        )
        assert policy.manufacturer("three") is None


def test_a_certificates_own_serial_number_counts_from_the_issuer_in_the_file(
    load: Callable[[str], Service],
) -> None:
    text = '[manufacturers.one]\nfield = "certificateSerial"\ntrust = '
    service = load(f'{text}["one.pem"]')
    maker = service.http.policy.manufacturer("one")
    assert maker is not None
    assert maker.issuer == ONE.certificate.subject
    with pytest.raises(ServingError, match=r"\[manufacturers\.one\] trust: .*there are 2"):
        load(f'{text}["one.pem", "two.pem"]')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[manufacturers.one]", r"\[manufacturers\.one\] trust: names no file"),
        (
            '[manufacturers.one]\ntrust = ["one.pem"]\n[manufacturers.two]\ntrust = ["one.pem"]',
            "of manufacturer two and of manufacturer one; leave it in one table",
        ),
        (
            '[tls]\nclient_trust = ["one.pem"]\n[manufacturers.one]\ntrust = ["one.pem"]',
            "of manufacturer one and of the other implicit anchors",
        ),
        (
            '[manufacturers.one]\ntrust = ["ca.pem"]',
            "of manufacturer one and of the explicit anchors",
        ),
    ],
)
def test_trust_anchors_that_say_nothing_or_two_things_are_refused(
    load: Callable[[str], Service], text: str, told: str
) -> None:
    with pytest.raises(ServingError, match=told):
        load(text)


def test_a_file_that_is_not_there_is_told_with_its_table(load: Callable[[str], Service]) -> None:
    with pytest.raises(CredentialFileError, match=r"\(\[manufacturers\.one\] trust\); restore"):
        load('[manufacturers.one]\ntrust = ["gone.pem"]')
    with pytest.raises(CredentialFileError, match="is a directory"):
        load('[manufacturers.one]\ntrust = ["."]')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[manufacturers."a/b"]', "no name of a manufacturer"),
        ('[manufacturers.one]\nfield = "serialnumber"', "no attribute of a subject"),
        ('[manufacturers.one]\nfield = "O"', "no attribute of a subject"),
        ('[manufacturers.one]\nfield = "2.5.4.10"', "where a holder belongs"),
        ('[manufacturers.one]\nfield = "otherName:x"', "no object identifier"),
        ('[manufacturers.one]\ncsr_field = "certificateSerial"', "a request has no"),
        ('[manufacturers.one]\ncsr_feild = "CN"', "unknown key"),
        ("[manufacturers]\none = 1", "is not a table"),
    ],
)
def test_what_is_no_manufacturer_stops_the_start(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / CONFIG_FILE
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=told):
        load_config(path)


def test_an_anchor_that_has_expired_is_worth_a_notice(
    load: Callable[[str], Service], tmp_path: Path
) -> None:
    old = Authority("Old Maker")
    expired = old.issue(
        Subject(
            name="Old Maker", ca=True, not_before=YESTERDAY - DAY, not_after=YESTERDAY, key=old.key
        )
    )
    (tmp_path / "ca" / "old.pem").write_bytes(expired.chain_pem)
    service = load('[manufacturers.old]\ntrust = ["old.pem"]')
    assert any("old.pem" in notice and "expired" in notice for notice in service.notices)


def test_a_manufacturer_is_called_by_its_table() -> None:
    config = ManufacturerConfig(manufacturer=Manufacturer(name="one"), trust=())
    assert config.heading == "[manufacturers.one]"
