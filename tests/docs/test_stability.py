"""The page about stability speaks of every public module and class, and of imports as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from importlib import import_module
from inspect import isclass
from itertools import chain
from pkgutil import resolve_name
from typing import Final

import pytest

from tests.docs.api_page import MODULES, PAGE, names
from tests.docs.pages import DOCS
from tests.docs.tables import codes, table
from tests.law.sources import ALL

STABILITY: Final = DOCS / "reference" / "stability.md"
PUBLIC: Final = tuple(chain.from_iterable(MODULES.values()))
THREADS: Final = table(STABILITY, "Threads")
IMPORTS: Final = table(STABILITY, "What an import brings")
WATCHED: Final = (
    "cryptography asn1crypto OpenSSL service_identity h11 trio aiocoap click rich asyncio"
).split()


def is_value(class_: type) -> bool:
    """True for what no thread can change: frozen values, enumerations; exceptions likewise."""
    if issubclass(class_, Enum | Exception):
        return True
    return is_dataclass(class_) and bool(getattr(class_, "__dataclass_params__").frozen)  # noqa: B009


def classes() -> Iterator[str]:
    """Every public class that is no value, by the first module that offers it."""
    seen: set[type] = set()
    for module in PUBLIC:
        for name in sorted(names(module)):
            found = getattr(import_module(module), name)
            if isclass(found) and not is_value(found) and found not in seen:
                seen.add(found)
                yield f"{module}.{name}"


def test_the_list_of_public_names_has_every_module_that_the_promise_is_about() -> None:
    headings = {
        line.removeprefix("### ")
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("### ")
    }
    assert headings == set(PUBLIC)
    assert f"]({PAGE.name})" in STABILITY.read_text("utf-8")


def test_every_public_class_says_which_threads_may_use_it() -> None:
    listed = [codes(row["class"])[0] for row in THREADS]
    assert len(set(listed)) == len(listed)
    assert sorted(set(classes()) - set(listed)) == []
    assert [name for name in listed if not isclass(resolve_name(name))] == []
    assert [row["class"] for row in THREADS if not row["threads"]] == []


@pytest.mark.parametrize("row", IMPORTS, ids=lambda row: codes(row["import"])[0])
def test_an_import_brings_what_the_page_says(row: dict[str, str]) -> None:
    module = codes(row["import"])[0]
    program = f"import sys\nfrom {module} import *\nprint(*({set(WATCHED)!r} & sys.modules.keys()))"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert set(printed.split()) == set(codes(row["brings"]))


def test_asn1crypto_is_imported_by_nothing_yet_as_the_page_says() -> None:
    importers = [
        source.name
        for source in ALL
        if any(found.module.startswith("asn1crypto") for found in source.imports())
    ]
    text = " ".join(STABILITY.read_text("utf-8").split())
    assert ("no module of this version imports it" in text) == (importers == [])
