"""Writes the tables of docs/explanation/renewals-of-a-fleet.md from what is kept: see `COMMAND`."""

from __future__ import annotations

from typing import Final

from benchmarks import fleet
from tests.docs.pages import DOCS
from tests.docs.parts import replace_part

COMMAND: Final = "python -m tests.docs.fleet_page"
PAGE: Final = DOCS / "explanation" / "renewals-of-a-fleet.md"


def parts() -> dict[str, str]:
    """Return the parts of the page that are made, each by what stands in its comment."""
    years = fleet.read(fleet.KEPT.read_text("utf-8"))
    return {
        f"{COMMAND} (evenness)": f"\n{fleet.evenness(years)}\n",
        f"{COMMAND} (outages)": f"\n{fleet.outages(years)}\n",
    }


if __name__ == "__main__":
    for made_by, text in parts().items():
        replace_part(PAGE, made_by, text)
