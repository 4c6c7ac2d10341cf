"""The sources of both packages, each read and parsed once, for the tests that judge them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("est_core", "est_transports")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module, and the name taken from it if any; both absolute."""

    module: str
    name: str | None
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One module of ours. `name` is dotted; a package stands under its `__init__`'s folder."""

    name: str
    path: Path

    @property
    def text(self) -> str:
        return _text(self.path)

    @property
    def tree(self) -> ast.Module:
        return _tree(self.path)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def where(self, node: ast.AST | int) -> str:
        """Return `path:line`, as an editor understands it."""
        line = node if isinstance(node, int) else getattr(node, "lineno", 0)
        return f"{self.path.relative_to(ROOT)}:{line}"

    def imports(self) -> Iterator[Import]:
        """Yield every import, those inside functions and under TYPE_CHECKING too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(module=alias.name, name=None, line=node.lineno)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                for alias in node.names:
                    yield Import(module=base, name=alias.name, line=node.lineno)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        above = self.package.split(".")
        kept = above[: len(above) - (node.level - 1)]
        return ".".join([*kept, node.module] if node.module else kept)


# When it is first asked for: each process of xdist collects these tests, and few run in it.
@cache
def _text(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(_text(path), filename=str(path))


def _found(path: Path) -> Source:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return Source(name=".".join(parts[:-1] if parts[-1] == "__init__" else parts), path=path)


def sources_of(package: str) -> tuple[Source, ...]:
    """Return every module of a package, by name."""
    found = (_found(path) for path in (ROOT / package).rglob("*.py"))
    return tuple(sorted(found, key=lambda source: source.name))


CORE = sources_of("est_core")
TRANSPORTS = sources_of("est_transports")
ALL = CORE + TRANSPORTS
MODULE_NAMES = frozenset(source.name for source in ALL)


def imported_modules(source: Source) -> Iterator[tuple[str, int]]:
    """Yield our own modules that a module imports, with the line.

    `from package import name` counts as the submodule where there is one of that name,
    otherwise as the package itself.
    """
    for found in source.imports():
        if found.module.partition(".")[0] not in PACKAGES:
            continue
        submodule = f"{found.module}.{found.name}"
        yield (submodule if submodule in MODULE_NAMES else found.module), found.line
