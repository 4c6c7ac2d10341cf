"""The `est` command, and what it says where its extra is not installed."""

from __future__ import annotations

import gc
import sys
from typing import Final

EXTRA: Final = frozenset(
    {"OpenSSL", "click", "h11", "rich", "service_identity", "trio"},
)
"""Top-level packages that come with the extras, by the name they are imported under."""

MISSING_EXTRA: Final = (
    "est: the command needs its extra: python -m pip install '.[client,server]' in the checkout,"
    " or the same wheel again, with [client,server] after its name"
)
EXIT_USAGE: Final = 2


def main() -> int:
    """Run the command with the process's arguments and return its exit code.

    Without the extra it prints the command that installs it and returns 2. An import that
    fails for any other reason is a defect and is not hidden.
    """
    try:
        from est_transports.cli import main as run
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in EXTRA:
            raise
        print(MISSING_EXTRA, file=sys.stderr)
        return EXIT_USAGE
    code = run()
    gc.freeze()  # or the interpreter looks through all that there is for garbage as it ends
    return code


if __name__ == "__main__":
    sys.exit(main())
