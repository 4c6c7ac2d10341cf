"""Writes docs/reference/python-api.md from the docstrings: `python -m tests.docs.api_page`.

A module's public names are those of its `__all__`, else what it defines without an underscore.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from inspect import (
    Parameter,
    Signature,
    get_annotations,
    getsource,
    isclass,
    isfunction,
    signature,
)
from itertools import chain
from pathlib import Path
from textwrap import dedent
from typing import Final

from tests.docs.pages import DOCS, ROOT

PAGE: Final = DOCS / "reference" / "python-api.md"
MAX_CHARS: Final = 200
MAX_VALUE_CHARS: Final = 60

HEAD: Final = """\
# Python API

Every public name, with the beginning of its docstring, its arguments (`...` is a default), and what
else it has: methods, properties, the members of an enumeration. `help(NAME)` prints the rest. Names
that begin with an underscore, and modules whose name does, are not public.

This page is made from the sources: `python -m tests.docs.api_page`.

"""

MODULES: Final = {
    "The core": (
        "est_core",
        "est_core.wires.httpmap",
        "est_core.wires.coapmap",
        "est_core.client.enrollment",
        "est_core.operation",
        "est_core.operations.definition",
        "est_core.error_codes",
        "est_core.life_cycle",
        "est_core.trust",
        "est_core.testing",
        "est_core.asn1",
        "est_core.asn1.pkcs10",
        "est_core.asn1.csrattrs",
        "est_core.asn1.csr_demands",
        "est_core.asn1.template",
        "est_core.asn1.attributes",
        "est_core.asn1.keys",
        "est_core.asn1.cms",
        "est_core.codec.transfer",
        "est_core.codec.media",
        "est_core.codec.retry",
        "est_core.codec.authheader",
        "est_core.codec.multipart_core",
        "est_core.checks.constraints",
        "est_core.checks.enforcement",
        "est_core.checks.hosts",
        "est_core.checks.identity",
        "est_core.checks.issued",
        "est_core.checks.names",
        "est_core.checks.pop",
        "est_core.checks.renewal",
    ),
    "Clients and servers": (
        "est_transports.on_trio",
        "est_transports.on_asyncio",
        "est_transports.on_sockets",
        "est_transports.on_aiocoap",
        "est_transports.client_config",
        "est_transports.doctor",
        "est_transports.agent",
        "est_transports.tunnels",
        "est_transports.drive",
        "est_transports.http",
        "est_transports.coap",
        "est_transports.channel",
        "est_transports.pki",
        "est_transports.pairs",
        "est_transports.error_codes",
    ),
    "The reference CA": (
        "est_transports.authority",
        "est_transports.authority.stores",
        "est_transports.service",
        "est_transports.service.config",
        "est_transports.service.audit",
    ),
}


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for title, modules in MODULES.items():
        parts.append(f"## {title}\n\n")
        for module in modules:
            parts += _section(module)
    return "".join(parts).rstrip("\n") + "\n"


def _section(module: str) -> Iterator[str]:
    yield f"### {module}\n\n{_summary(ast.get_docstring(_tree(module)))}\n\n"
    yield "| name | | arguments; what it has |\n| --- | --- | --- |\n"
    for name in sorted(names(module), key=lambda name: (name.lower(), name)):
        found = getattr(import_module(module), name)
        yield f"| `{name}` | {_explained(module, name)} | {_interface(found)} |\n"
    yield "\n"


def names(module: str) -> frozenset[str]:
    """Return the public names of a module."""
    listed = getattr(import_module(module), "__all__", None)
    if listed is not None:
        return frozenset(listed)
    return frozenset(name for name in _definitions(module) if not name.startswith("_"))


def _interface(found: object) -> str:
    """Return the arguments of a function or class, and the public attributes of a class."""
    if isfunction(found):
        return _arguments(found)
    if not isclass(found) or not _has_arguments(found):
        return ""
    has = [name for name in _attributes(found) if not name.startswith("_")]
    if issubclass(found, Enum):
        return ", ".join(f"`{name}`" for name in found.__members__)
    if _is_protocol(found):
        return ", ".join(f"`{name}`" for name in has)
    return "; ".join(filter(None, (_arguments(found), ", ".join(f"`{name}`" for name in has))))


def _has_arguments(class_: type) -> bool:
    """False for exceptions that are made as any exception is."""
    return not issubclass(class_, Exception) or isfunction(class_.__init__)


def _is_protocol(class_: type) -> bool:
    return bool(getattr(class_, "_is_protocol", False))


def _arguments(found: Callable[..., object]) -> str:
    """Return `(first, *, second, third=...)`."""
    plain = [
        parameter.replace(
            annotation=Parameter.empty,
            default=Parameter.empty if parameter.default is Parameter.empty else ...,
        )
        for parameter in signature(found).parameters.values()
    ]
    text = str(Signature(plain)).replace("Ellipsis", "...")
    return f"`{text}`" if plain else ""


def _attributes(class_: type) -> Iterator[str]:
    """The names of methods and properties, and of what a protocol wants, our own bases' too."""
    fields = {field.name for field in dataclass_fields(class_)} if is_dataclass(class_) else set()
    seen = set()
    for base in class_.__mro__:
        if base.__module__.startswith(("est_core", "est_transports")):
            seen |= {*vars(base), *_set_at_first(base)}
            seen |= set(get_annotations(base)) if _is_protocol(base) else set()
    return iter(sorted(seen - fields))


def _set_at_first(class_: type) -> Iterator[str]:
    """The names of what `__init__` sets, where it is written out."""
    made = vars(class_).get("__init__")
    if is_dataclass(class_) or _is_protocol(class_) or not isfunction(made):
        return
    for node in ast.walk(ast.parse(dedent(getsource(made)))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _source(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module).read_text("utf-8"))


@cache
def _definitions(module: str) -> dict[str, str]:
    """Return what a module defines at its top, with the docstrings, those of constants too."""
    found: dict[str, str] = {}
    body = _tree(module).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = _string(after) or f"`{ast.unparse(node.value or target)}`"
    return found


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


def _explained(module: str, name: str) -> str:
    """Return the first sentence about a name, wherever it is defined."""
    if name == "__version__":
        return "The version of this distribution."
    if f"{module}.{name}" in chain.from_iterable(MODULES.values()):
        return f"The module `{module}.{name}`, see there."
    definitions = _definitions(module)
    if name not in definitions:
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _explained(node.module, alias.name)
        raise LookupError(f"{module}: {name}")
    text = definitions[name]
    return _value(text) if text.startswith("`") else _summary(text)


def _value(text: str) -> str:
    """Explain a definition without docstring by itself: a union, or a short constant."""
    parts = text.strip("`").split(" | ")
    if len(parts) > 1 and all(re.fullmatch(r"[\w.]+", part) for part in parts):
        return "One of " + ", ".join(f"`{part}`" for part in parts) + "."
    return text.replace("|", "\\|") if len(text) <= MAX_VALUE_CHARS else "A constant."


def _summary(docstring: str | None) -> str:
    """Return the first paragraph of a docstring, or its first sentence if that is long."""
    text = " ".join((docstring or "").partition("\n\n")[0].split())
    if len(text) > MAX_CHARS:
        found = re.match(r"(.*?[.:])(?= [A-Z`]|$)", text)
        text = found[1] if found else text
    return text.replace("|", "\\|").rstrip(":")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
