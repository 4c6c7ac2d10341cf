"""[audit] of est.toml: where it is recorded what was issued and refused, and how much is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from est_core.values import value_class
from est_transports.service.config.key import Key
from est_transports.toml.tables import TomlTable

AUDIT_FILE: Final = "audit.jsonl"
MEBIBYTE: Final = 1024 * 1024

AUDIT_KEYS: Final = (
    Key(
        name="enabled", needs_restart=True,
        meaning="record what was issued and what was refused, for `est why` and for those who ask"
        " later",
    ),
    Key(name="file", needs_restart=True, meaning="where: one JSON object a line, 0600"),
    Key(
        name="required", needs_restart=True,
        meaning="issue nothing while it cannot be written (503); else that is logged",
    ),
    Key(
        name="rotate_mib", counted="MiB", needs_restart=True,
        meaning="a larger file becomes FILE.1, that FILE.2, and so on; 0: somebody else rotates it",
    ),
    Key(
        name="keep", counted="files", needs_restart=True,
        meaning="how many of those there are; the oldest is removed",
    ),
)  # fmt: skip


@value_class
class AuditConfig:
    """The audit file, None for none. `required`: without it nothing is issued.

    At `rotate_mib` it becomes FILE.1, and so on up to FILE.`keep`; 0: it is not rotated here.
    """

    file: Path | None = None
    required: bool = False
    rotate_mib: int = 32
    keep: int = 8

    @property
    def rotate_bytes(self) -> int:
        """The size from which on the file is rotated, 0 for none."""
        return self.rotate_mib * MEBIBYTE


def read_audit(table: TomlTable) -> AuditConfig:
    """Return what the table says. Raises ConfigError."""
    enabled, path = table.flag("enabled", True), table.file("file", AUDIT_FILE)
    config = AuditConfig(
        file=path if enabled else None,
        required=table.flag("required", False),
        rotate_mib=table.integer("rotate_mib", 32, most=1024 * 1024),
        keep=table.integer("keep", 8, least=1, most=10_000),
    )
    if config.required and not enabled:
        raise table.error("required", "is true, and enabled is false")
    table.done()
    return config
