"""The layout on disk: names in a directory of pairs, and what its symbolic links may say.

    DIR/current              -> pairs/7      the running pair, by one link: the only thing switched
    DIR/candidate            -> pairs/8      what is to replace it, while there is one
    DIR/pairs/7/previous     -> ../5         the pair that ran before pairs/7 did
    DIR/pairs/7/key.pem ...                  what a pair is made of
    DIR/pairs/used                           a pair has run here: `current` is not missing by chance
    DIR/state, DIR/lock

That `previous` is in the pair and not beside `current` makes one rename switch both: with another
`current` there is at once the `previous` that goes with it.
"""

from __future__ import annotations

import errno
import re
from typing import Final

from est_transports.files.durable import TEMPORARY, OpenDirectory
from est_transports.pairs.errors import PairError

CURRENT: Final = "current"
CANDIDATE: Final = "candidate"
PAIRS: Final = "pairs"
USED: Final = "used"
STATE: Final = "state"
LOCK: Final = "lock"

KEY: Final = "key.pem"
KEY_REFERENCE: Final = "key.uri"
CERTIFICATE: Final = "cert.pem"
CHAIN: Final = "chain.pem"
ANCHORS: Final = "trust.pem"
WHOLE: Final = "pair.pem"
REQUEST: Final = "request.der"
SENT: Final = "sent"
PREVIOUS: Final = "previous"

SECRETS: Final = (KEY, KEY_REFERENCE, WHOLE)
PARTS: Final = (*SECRETS, CERTIFICATE, CHAIN, ANCHORS, REQUEST, SENT, PREVIOUS)
"""All names that the directory of a pair may have of us."""
TOP: Final = (CURRENT, CANDIDATE, STATE)
"""What is replaced beside the pairs."""

MAX_BYTES: Final = 1024 * 1024
"""More than any file here has."""

_NUMBER: Final = re.compile("[1-9][0-9]{0,17}")


def number_of(name: str) -> int | None:
    """Return the number that the directory of a pair has for its name, None for another name."""
    return int(name) if _NUMBER.fullmatch(name) else None


def leads_to(directory: OpenDirectory, link: str, before: str) -> int | None:
    """Return the number of the pair to which a link leads, None where there is no link.

    `before` is what its target begins with. Raises PairError where something else is at its name:
    that is somebody's, and not replaced.
    """
    try:
        target = directory.target(link)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        target = ""
    if target is None:
        return None
    number = number_of(target.removeprefix(before)) if target.startswith(before) else None
    if number is None:
        wanted = f"is no symbolic link to {before}N, as it was made"
        raise PairError("pair/foreign", f"{directory.path / link}: {wanted}")
    return number


def running_number(root: OpenDirectory) -> int | None:
    """Return the number of the running pair, None where there is none yet."""
    return leads_to(root, CURRENT, f"{PAIRS}/")


def candidate_number(root: OpenDirectory) -> int | None:
    """Return the number of the candidate, None where there is none, or it runs already."""
    number = leads_to(root, CANDIDATE, f"{PAIRS}/")
    return None if number == running_number(root) else number


def previous_number(pair: OpenDirectory) -> int | None:
    """Return the number of the pair that ran before this one, None for the first."""
    return leads_to(pair, PREVIOUS, "../")


def temporaries(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that files and links have before they get these."""
    return tuple(TEMPORARY + name for name in names)
