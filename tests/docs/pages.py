"""Pages of the documentation as programs: their code blocks, in order, made into one bash script.

What a page does is what stands in it. In a comment on the line before a block, a page can say:

* `<!-- test: file NAME -->`: the block is the content of that file, written at this point;
* `<!-- test: edit FILE -->`: the block is TOML, and its keys are set in that file;
* `<!-- test: output -->`: the block is what the shell block before it prints: runs of white
  space count as one, `...` stands for anything within a line, a line of `...` for any lines;
* `<!-- test: not run, REASON -->`: the block is for reading only.

Anywhere, `<!-- test: needs NAME ... -->` names programs that must be installed. Blocks in `sh`
are run by `bash -e`; every other block needs one of these comments, or a language of `PLAIN`.

A page that puts a server in the background waits for it itself. `8443` stands for a free port, and
`127.0.0.1:8080` for the same port of another loopback address.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
CHANGES: Final = DOCS / "changes"
"""Where there are no pages, but what becomes part of the changelog."""
PORT: Final = "8443"
PLAIN_HTTP: Final = "127.0.0.1:8080"
PLAIN: Final = frozenset({"text", "http"})
"""Languages of blocks that show something and are no program."""

_FENCE: Final = re.compile(
    r"(?:^<!-- test: (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_NEEDS: Final = re.compile(r"^<!-- test: needs ([^\n]*?) -->$", re.MULTILINE)
_STEP: Final = "== step %d =="

_PROLOGUE: Final = """\
set -euo pipefail
exec 2>&1
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `verb` and `rest` are what the comment before it says, if there is one."""

    language: str
    text: str
    line: int
    verb: str = ""
    rest: str = ""

    @property
    def is_understood(self) -> bool:
        """True if the block is run, used, compared, or says why it is not."""
        if self.verb:
            return self.verb in ("file", "edit", "output", "not") and bool(
                self.rest or self.verb == "output"
            )
        return self.language == "sh" or self.language in PLAIN


def pages() -> tuple[Path, ...]:
    """Return the pages of the documentation."""
    return tuple(sorted(page for page in DOCS.rglob("*.md") if CHANGES not in page.parents))


def blocks(page: Path) -> tuple[Block, ...]:
    """Return the fenced blocks of a page in their order."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        verb, _, rest = (match["mark"] or "").partition(" ")
        found.append(
            Block(
                language=match["language"],
                text=match["text"],
                line=text.count("\n", 0, match.start()) + 1,
                verb=verb,
                rest=rest.strip(),
            )
        )
    return tuple(found)


def needs(page: Path) -> tuple[str, ...]:
    """Return the programs that a page needs besides our own."""
    return tuple(name for line in _NEEDS.findall(page.read_text("utf-8")) for name in line.split())


def is_program(page: Path) -> bool:
    """True if something of the page is run."""
    return any(block.language == "sh" and not block.verb for block in blocks(page))


def script(page: Path, port: int) -> str:
    """Return the page as a bash script. It prints a line between its steps."""
    parts = [_PROLOGUE]
    for number, block in enumerate(blocks(page)):
        command = _command(block)
        if command:
            parts += [f"echo {shlex.quote(_STEP % number)}\n", command]
    return "".join(parts).replace(PORT, str(port)).replace(PLAIN_HTTP, f"127.0.0.80:{port}")


def _command(block: Block) -> str:
    match block.verb, block.language:
        case "", "sh":
            return block.text
        case "file", _:
            return f"cat > {shlex.quote(block.rest)} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n"
        case "edit", _:
            editor = Path(__file__).with_name("toml_edit.py")
            command = shlex.join([sys.executable, str(editor), block.rest])
            return f"{command} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n"
        case _:
            return ""


def unlike(page: Path, printed: str, port: int) -> list[str]:
    """Return what is wrong with the outputs that a page shows, given what its script printed."""
    printed = printed.replace(f"127.0.0.80:{port}", PLAIN_HTTP).replace(str(port), PORT)
    problems = []
    steps = {
        int(found[1]): found[2]
        for found in re.finditer(r"^== step (\d+) ==\n(.*?)(?=^== step |\Z)", printed, re.S | re.M)
    }
    last = -1
    for number, block in enumerate(blocks(page)):
        if block.language == "sh" and not block.verb:
            last = number
        elif block.verb == "output" and not _matches(block.text, steps.get(last, "")):
            problems.append(f"{page.name}:{block.line} does not show\n{steps.get(last)}")
    return problems


def _matches(shown: str, printed: str) -> bool:
    pattern = ""
    for line in _lines(shown):
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.split("...")) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
