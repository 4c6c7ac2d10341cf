"""Writes docs/explanation/code-map.md and its pictures, from arrows and docstrings: see `COMMAND`.

`tests/law` holds the arrows to the imports, so that what is drawn is what is there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.docs.layers import placed, reduced
from tests.docs.pages import DOCS
from tests.docs.state_pictures import picture
from tests.law.arrows import ARROWS, GROUND
from tests.law.sources import ALL, PACKAGES

COMMAND: Final = "python -m tests.docs.code_map"
PAGE: Final = DOCS / "explanation" / "code-map.md"
_SOURCES: Final = {source.name: source for source in ALL}

HEAD: Final = f"""\
# The map of the code

Which folder is for what, and which may import which. A thing is found by the folder that it is
about; what that folder may import says what it can touch.

In the pictures an arrow leads from a folder to one that it imports, always downwards. Where a
longer way leads there too, the arrow is left out: the tables have all of them. At the bottom is
what everything in the package may import, in lines that import those below them.

This page is made from `tests/law/arrows.py`, which `tests/law` holds to the imports in both
directions, and from the first sentences of the docstrings: `{COMMAND}`.

## The rules

* Arrows lead downwards: there is no cycle between folders, and none between modules.
* `est_core` does no I/O, reads no clock and draws no random bytes. It imports `cryptography`,
  `asn1crypto` and what is pure of the standard library.
* `est_core` does not know `est_transports`, which in turn uses public names of the core only, so
  that anybody else's transport can do what ours can.
* Operations and machines do not know the wires, nor the wires them, nor one wire another.
* Machines and wires import the module of no operation; they are given what it says of itself.
* The reference CA and what carries requests do not know each other: `service` and `cli` join them.
* The runtimes (`on_...`) do not know each other.
* A folder hands out its public names in `__init__`; the [Python API](../reference/python-api.md)
  lists all that are public.
* A module says in its first line the one reason for which it exists.
* Tests stand in folders of the same names below `tests/core` and `tests/transports`.

"""


def page() -> str:
    """Return the text of the page."""
    return HEAD + "\n".join("".join(_package(package)) for package in PACKAGES)


def pictures() -> dict[Path, str]:
    """Return the picture of each package, by the file that it belongs in."""
    return {_file(package): _picture(package) for package in PACKAGES}


def graph(package: str) -> dict[str, frozenset[str]]:
    """Return what each folder of a package may import; a line of the ground is one node."""
    nodes: dict[str, frozenset[str]] = {}
    for line in GROUND[package]:
        nodes[line] = frozenset(nodes)
    ground = frozenset(nodes)
    for folder, row in ARROWS[package].items():
        nodes[folder] = ground | set(row.split())
    return nodes


def _file(package: str) -> Path:
    return PAGE.with_name(f"{package.replace('_', '-')}-folders.svg")


def _picture(package: str) -> str:
    arrows = reduced(graph(package))
    names = {node: ", ".join(_file_names(package, node)) for node in arrows}
    drawn = {(source, target): () for source in arrows for target in sorted(arrows[source])}
    return picture(_title(package), None, drawn, placed(arrows, names), names)


def _title(package: str) -> str:
    return f"The folders of {package}, and what they import"


def _package(package: str) -> Iterator[str]:
    yield f"## {package}\n\n{_sentence(package)}\n\n"
    yield f"![{_title(package)}, as in the table below]({_file(package).name})\n\n"
    yield "| folder or module | what it is | imports, beside the bottom |\n| --- | --- | --- |\n"
    for line in GROUND[package]:
        for name in line.split():
            yield _row(package, name, "*at the bottom*")
    for folder, row in ARROWS[package].items():
        listed = ", ".join(f"`{_file_name(package, each)}`" for each in row.split())
        yield _row(package, folder, listed or "nothing")


def _row(package: str, folder: str, imports: str) -> str:
    sentence = _sentence(f"{package}.{folder}".rstrip("."))
    return f"| `{_file_name(package, folder)}` | {sentence} | {imports} |\n"


def _file_names(package: str, node: str) -> Iterator[str]:
    yield from (_file_name(package, folder) for folder in node.split() or [""])


def _file_name(package: str, folder: str) -> str:
    if not folder:
        return f"{package}/__init__.py"
    path = folder.replace(".", "/")
    return f"{path}/" if _SOURCES[f"{package}.{folder}"].is_package else f"{path}.py"


def _sentence(module: str) -> str:
    """Return the first sentence of a module's docstring, as a cell of a table."""
    paragraph = (ast.get_docstring(_SOURCES[module].tree) or "").partition("\n\n")[0]
    found = re.match(r".+?\.(?=\s|$)", " ".join(paragraph.split()))
    return (found[0] if found else paragraph).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    for file, text in pictures().items():
        file.write_text(text, "utf-8")
