"""Asks pyright whether all type checkers agree on the type of every public name: `python -m` this.

mypy infers what has no annotation; another checker may infer something else. Private names, and
what only third parties' missing types leave unknown, are not asked for.

Its arguments are the packages to ask for; without any it asks for both. Nothing is fetched: the
wheel of pyright has all of it, and that of node, in which it runs, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.law.sources import PACKAGES, ROOT

TIMEOUT_S: Final = 900

WITHOUT: Final[Mapping[str, str]] = {
    "est_transports.on_aiocoap.coap_server.EstResource": "aiocoap has no types; it is its subclass",
    "est_transports.channel.srp_connection.Connection": "tlslite-ng has none; it is its subclass",
}
"""Names that cannot have one, and why."""


def report(package: str) -> dict[str, Any]:
    """Return what pyright says of a package. Raises RuntimeError if it says nothing."""
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        [programs / "pyright", "--verifytypes", package, "--ignoreexternal", "--outputjson"],
        cwd=ROOT,
        env=environment,  # the interpreter that finds the package is the first on the path
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(ran.stdout)["typeCompleteness"]
    except (ValueError, KeyError) as exc:
        raise RuntimeError(ran.stdout + ran.stderr) from exc
    return found


def incomplete(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the public names without a known type, with what is wrong.

    Names that are incomplete only because of one of these are not told of.
    """
    for symbol in found["symbols"]:
        texts = [" ".join(each["message"].split()) for each in symbol["diagnostics"]]
        known = symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
        if symbol["isExported"] and texts and not known:
            yield symbol["name"], "; ".join(texts)


def main(packages: Sequence[str]) -> int:
    """Print what is missing. Return 1 if something is."""
    wrong: dict[str, str] = {}
    for package in packages:
        found = report(package)
        names = sum(symbol["isExported"] for symbol in found["symbols"])
        if not names:
            raise RuntimeError(f"pyright found no public name in {package}")
        print(f"{package}: {names} public names")
        wrong.update(incomplete(found))
    lacking = {name for name in WITHOUT if name.partition(".")[0] in packages}
    for name in sorted(wrong.keys() ^ lacking):
        print(f"{name}: {wrong.get(name, 'has a type by now; take it off the list')}")
    return int(wrong.keys() != lacking)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or PACKAGES))
