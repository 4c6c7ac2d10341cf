"""What the page for users of libEST tells them to write is there."""

from __future__ import annotations

import re
from itertools import chain

from tests.deployment import est
from tests.docs.api_page import MODULES, names
from tests.docs.pages import DOCS

TEXT = (DOCS / "migrating-from-libest.md").read_text("utf-8")
SPANS = re.findall(r"`([^`\n]+)`", "\n".join(re.findall(r"^\|[^|]*\|(.*)$", TEXT, re.MULTILINE)))


def test_classes_that_it_names_are_public() -> None:
    public = {name for module in chain.from_iterable(MODULES.values()) for name in names(module)}
    named = {
        word for span in SPANS for word in re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", span)
    }
    assert len(named) > 20
    assert sorted(named - public - {"Basic", "Digest", "Bearer", "None", "True"}) == []


def test_options_that_it_names_are_those_of_the_command() -> None:
    commands = ("enroll", "csrattrs", "serve", ("srp", "add"), ("user", "add"), ("token", "add"))
    shown = "".join(
        est(*((each,) if isinstance(each, str) else each), "--help").out.decode()
        for each in commands
    )
    options = {word for span in SPANS for word in re.findall(r"--[a-z-]+", span)}
    assert len(options) > 5
    assert [each for each in sorted(options) if each not in shown] == []


def test_keys_that_it_names_are_those_of_est_toml() -> None:
    reference = (DOCS / "reference" / "configuration.md").read_text("utf-8")
    keys = {found[1] for span in SPANS if (found := re.match(r"([a-z_]+) = ", span))}
    assert {"schemes", "simpleenroll", "enforce_csrattrs", "missing_in_requests"} <= keys
    assert [each for each in sorted(keys) if f"| `{each}` |" not in reference] == []
