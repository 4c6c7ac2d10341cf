"""Faces of folders: public names that are imported when they are first used (PEP 562).

A face names what people import from a folder, whichever of its modules has it. Were all of them
imported with it, a client would load the server, and whoever wants one value everything beside it.
Our own modules import each other and no face.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def face(
    package: str, modules: Mapping[str, str]
) -> tuple[tuple[str, ...], Callable[[str], object], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` of a package that hands out such names.

    `modules` has the names of each, with blanks between them.
    """
    homes = {
        name: f"{package}.{module}" for module, names in modules.items() for name in names.split()
    }

    def get(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        found: object = getattr(import_module(home), name)
        setattr(sys.modules[package], name, found)
        return found

    return tuple(sorted(homes)), get, lambda: sorted({*vars(sys.modules[package]), *homes})
