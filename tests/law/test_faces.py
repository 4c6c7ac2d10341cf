"""Faces: what a folder hands out, what an import of it costs, and that people need no more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Final

import pytest

from tests.docs.pages import DOCS
from tests.law.sources import ROOT, TRANSPORTS, Source

ON_DEMAND: Final = {
    source.name: source
    for source in TRANSPORTS
    if source.is_package
    and any(each.module == "est_transports._faces" for each in source.imports())
}

FACES: Final = frozenset(
    {
        *ON_DEMAND,
        "est_transports.authority.stores",
        "est_transports.client_config",  # a module that stands at the top is one
        "est_transports.error_codes",
        "est_transports.on_aiocoap",
    }
)
"""What people import from."""


def listed(source: Source) -> dict[str, str]:
    """Return the module of each name, as programs that check types are told."""
    return {
        each.name: each.module
        for each in source.imports()
        if each.name and each.module.startswith(f"{source.name}.")
    }


@pytest.mark.parametrize("name", ON_DEMAND)
def test_a_face_hands_out_the_names_that_it_lists_for_type_checkers(name: str) -> None:
    face = import_module(name)
    homes = listed(ON_DEMAND[name])
    assert homes
    assert sorted(homes) == sorted(face.__all__)
    for each, home in homes.items():
        assert getattr(face, each) is getattr(import_module(home), each)
    assert set(homes) <= set(dir(face))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = face.nothing


def test_a_face_imports_nothing_before_a_name_is_used() -> None:
    code = f"import {', '.join(ON_DEMAND)}, sys; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name for name in done.stdout.split() if name.startswith("est_")}
    assert loaded - {"est_transports", "est_transports._faces", *ON_DEMAND} == set()


def imported(text: str) -> Iterator[str]:
    """Yield the modules of the transports that the Python in a page imports from."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["from"] and words[2:3] == ["import"]:
            if words[1].partition(".")[0] == "est_transports":
                yield words[1]
        elif words[:1] == ["import"] and "est_transports." in line:
            yield from (word.strip(",") for word in words[1:] if word.startswith("est_transports."))


def test_a_program_in_the_documentation_imports_from_faces() -> None:
    pages = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    found = {
        (page.relative_to(ROOT).as_posix(), module)
        for page in pages
        for module in imported(page.read_text("utf-8"))
        if "_build" not in page.parts
    }
    assert len(found) > 20
    assert sorted(each for each in found if each[1] not in FACES) == []
