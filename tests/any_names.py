"""A server on which one user may enroll for every name, for tests that are about something else."""

from __future__ import annotations

from pathlib import Path

from tests.docs.toml_edit import edited


def give_any_name(directory: Path) -> Path:
    """Have est.toml in a directory of `est init` bind no names. Return the directory."""
    config = directory / "est.toml"
    config.write_text(edited(config.read_text("utf-8"), '[auth]\nnames = "any"\n'), "utf-8")
    return directory
