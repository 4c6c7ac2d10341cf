"""[manufacturers.NAME] of est.toml: whose devices may enroll by the certificates they came with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from est_core import Manufacturer
from est_core.checks.manufacturers import SERIAL_NUMBER, IdentityField, parse_identity_field
from est_core.values import value_class
from est_transports.service.config.key import Key
from est_transports.toml.tables import TomlTable

_FIELD: Final = (
    "attribute of a subject by name or object identifier, `otherName:OID`, `hardwareModuleName`"
)

MANUFACTURER_KEYS: Final = (
    Key(
        name="trust",
        meaning="the manufacturer's CAs, in PEM; none of them stands in another table, nor in"
        " `tls.client_trust`",
    ),
    Key(
        name="field", kind=f"{_FIELD}, `certificateSerial`",
        meaning="where its certificates say which device they are of; who a client is, is the"
        " manufacturer's NAME together with that value",
    ),
    Key(
        name="csr_field", kind=_FIELD,
        meaning="where a request has to carry the same value; none leaves it to `names`",
    ),
    Key(
        name="accept_expired",
        meaning="certificates that have expired count too, where nothing else is wrong with them",
    ),
)  # fmt: skip


@value_class
class ManufacturerConfig:
    """A manufacturer: the files of its trust anchors, and how its devices are told apart."""

    manufacturer: Manufacturer
    trust: tuple[Path, ...]

    @property
    def heading(self) -> str:
        """The table of est.toml that says so."""
        return f"[manufacturers.{self.manufacturer.name}]"


def read_manufacturers(top: TomlTable) -> Iterator[ManufacturerConfig]:
    """Yield what est.toml says of manufacturers. Raises ConfigError."""
    for name, table in top.tables("manufacturers"):
        yield _manufacturer(name, table)


def _manufacturer(name: str, table: TomlTable) -> ManufacturerConfig:
    csr_field = _field(table, "csr_field", table.optional_text("csr_field"))
    field = _field(table, "field", table.text("field", str(SERIAL_NUMBER)))
    with table.checks():
        config = ManufacturerConfig(
            manufacturer=Manufacturer(
                name=name,
                field=field or SERIAL_NUMBER,
                csr_field=csr_field,
                accept_expired=table.flag("accept_expired", False),
            ),
            trust=table.files("trust"),
        )
    table.done()
    return config


def _field(table: TomlTable, key: str, text: str | None) -> IdentityField | None:
    with table.checks(key):
        return None if text is None else parse_identity_field(text)
