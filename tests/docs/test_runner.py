"""What runs the pages notices when a page is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PORT, blocks, script, unlike
from tests.docs.toml_edit import edited


def page(tmp_path: Path, shown: str) -> Path:
    """A page with one command and what it is said to print."""
    file = tmp_path / "page.md"
    file.write_text(f"```sh\nls\n```\n\n<!-- test: output -->\n```text\n{shown}\n```\n")
    return file


@pytest.mark.parametrize(
    "shown, printed",
    [
        ("a b", "a   b\n"),
        ("a ... d", "a b c d\n"),
        ("...\nlast", "first\nsecond\nlast\n"),
        ("...\nonly", "only\n"),
        (f"port {PORT}", "port 5555\n"),
    ],
)
def test_an_output_is_as_it_is_shown(tmp_path: Path, shown: str, printed: str) -> None:
    assert unlike(page(tmp_path, shown), f"== step 0 ==\n{printed}", 5555) == []


@pytest.mark.parametrize(
    "shown, printed",
    [
        ("a b", "a c\n"),
        ("a ... d", "a\nd\n"),
        ("first", "first\nsecond\n"),
        ("first\nsecond", "first\n"),
        ("a.b", "axb\n"),
    ],
)
def test_an_output_is_not_as_it_is_shown(tmp_path: Path, shown: str, printed: str) -> None:
    assert len(unlike(page(tmp_path, shown), f"== step 0 ==\n{printed}", 5555)) == 1


@pytest.mark.parametrize(
    "text, understood",
    [
        ("```sh\nls\n```\n", True),
        ("```text\nls\n```\n", True),
        ("```python\npass\n```\n", False),
        ("```\nls\n```\n", False),
        ("<!-- test: file a.py -->\n```python\npass\n```\n", True),
        ("<!-- test: file -->\n```python\npass\n```\n", False),
        ("<!-- test: not run, it is long -->\n```sh\nls\n```\n", True),
        ("<!-- test: nonsense a.py -->\n```python\npass\n```\n", False),
    ],
)
def test_a_block_that_nobody_looks_at_is_noticed(
    tmp_path: Path, text: str, understood: bool
) -> None:
    file = tmp_path / "page.md"
    file.write_text(text)
    assert [block.is_understood for block in blocks(file)] == [understood]


def test_commands_are_run_as_they_stand_but_for_the_port(tmp_path: Path) -> None:
    commands = "est serve ca --listen 127.0.0.1:8443 2> a.log &\nls\n"
    file = tmp_path / "page.md"
    file.write_text(f"```sh\n{commands}```\n")
    assert script(file, 5555).endswith(commands.replace("8443", "5555"))
    file.write_text("```sh\ncurl http://127.0.0.1:8080/ca\n```\n")
    assert script(file, 5555).endswith("curl http://127.0.0.80:5555/ca\n")


def test_a_key_is_set_where_its_comment_was_and_in_its_own_table() -> None:
    text = "[a] # about a\n#x = 1  # one\n[b]\n#x = 2\n"
    assert edited(text, "[b]\nx = 3\n") == "[a] # about a\n#x = 1  # one\n[b]\nx = 3\n"
    assert edited(text, "[a]\ny = 4\n").startswith("[a] # about a\ny = 4\n")
    assert edited(text, "[c]\nz = 5\n").endswith("#x = 2\n[c]\nz = 5\n")
