"""How Sphinx makes a site of these pages: `python -m sphinx -W -n docs docs/_build/site`.

The pages are plain Markdown, as a forge shows it, and know nothing of Sphinx. What it wants to
know beyond that, which page stands below which, is read from the links on the pages of contents.
"""

from __future__ import annotations

import re
from typing import Final

from sphinx.application import Sphinx

project = "est-sansio"
html_title = project
html_theme = "furo"
extensions = ["myst_parser"]
root_doc = "index"
exclude_patterns = ["_build", "changes"]  # what becomes part of CHANGELOG.md
myst_heading_anchors = 6  # made as a forge makes them
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False

LINK: Final = re.compile(r"\]\(([^)#:\s]+)\.md\)")
EVERYTHING_ELSE: Final = ("*",)


def contents(name: str, text: str) -> tuple[str, ...]:
    """Return the pages that stand below a page: those that it links to, if it is for that.

    The index leads to pages beside it and to folders; the README of a folder to pages in it, and
    where it links to none, to all of them.
    """
    links = tuple(dict.fromkeys(LINK.findall(text)))
    if name == root_doc:
        return tuple(link for link in links if re.fullmatch(r"[^/]+(/README)?", link))
    if name.endswith("/README"):
        return tuple(link for link in links if "/" not in link) or EVERYTHING_ELSE
    return ()


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Append a list of the pages below, which is not shown on the page itself."""
    below = contents(name, source[0])
    if below:
        listed = "\n".join(below)
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:glob:\n\n{listed}\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the above."""
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
