"""`python -m tests.coverage FILE`: what the tests reached, in all processes; the floors."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coverage import Coverage

from tests.coverage.tally import by_module, complaints, floors, table


def main() -> int:
    """Print what is reached. Returns 1 if a floor is not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument(
        "file", type=Path, help="what COVERAGE_FILE was; its siblings hold the data"
    )
    parser.add_argument("--html", type=Path, help="write what is missed, line by line, there")
    options = parser.parse_args()
    together = Coverage(data_file=str(options.file), messages=False)
    together.combine([str(options.file.parent)], keep=True)
    modules = by_module(_report(together))
    wanted = floors()
    print("\n".join(table(modules, wanted)))
    if options.html:
        together.html_report(directory=str(options.html))
    broken = list(complaints(modules, wanted))
    for each in broken:
        print(each, file=sys.stderr)
    return 1 if broken else 0


def _report(together: Coverage) -> dict[str, Any]:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "report.json"
        together.json_report(outfile=str(file))
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return report


if __name__ == "__main__":
    sys.exit(main())
