"""Keeps the certificate library's warnings about other people's certificates from this program.

`cryptography` warns of what it reads: a serial number of 0, a common name of 65 characters, as even
the web's own CAs have them. Who runs a client or a server can do nothing about them; what is wrong
with a certificate is said where it matters. Nor may such a warning become an exception where a
program turned warnings into errors: the certificate would be lost.

A filter is the only way that threads can share: `warnings.catch_warnings` puts the filters of all
threads back to what they were when one of them came in. So these few are put in front once, where
the first certificate is about to be read, and stay. They are narrow: by message and category.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

from cryptography.utils import CryptographyDeprecationWarning

_FILTERS: Final[tuple[tuple[str, type[Warning]], ...]] = (
    (r"Attribute's length must be ", UserWarning),
    (r"Parsed a serial number which wasn't positive", CryptographyDeprecationWarning),
    (r"Invalid ASN\.1 \(UTF-8 characters in a VisibleString\)", CryptographyDeprecationWarning),
)
"""Beginning and category of each warning about what was read."""

_ENTRIES: Final = [
    ("ignore", re.compile(message, re.IGNORECASE), category, None, 0)
    for message, category in reversed(_FILTERS)
]
"""The same as the `warnings` module keeps them, the last one first."""


def ignore_library_warnings() -> None:
    """Put the filters in front of all others, unless they are there: 1 us then.

    Called before certificates are read: when a file is opened, a TLS context is made, a command
    is run. A program that puts its own filters in front later gets these back there.
    """
    if list(warnings.filters[: len(_ENTRIES)]) != _ENTRIES:
        for message, category in _FILTERS:
            warnings.filterwarnings("ignore", message=message, category=category)
