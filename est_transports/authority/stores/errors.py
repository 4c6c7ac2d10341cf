"""How a store fails, and what it refuses."""

from __future__ import annotations


class StoreError(Exception):
    """The store failed. The text is one line: which store, what happened, what to do.

    What was to be written is not to be relied on; nothing was half written.
    """


class StoreBusy(StoreError):  # noqa: N818 - says what happened
    """Too much is waiting, or another process holds the store. Worth a 503 and a retry."""


class DuplicateSerial(StoreError):  # noqa: N818 - says what happened
    """A certificate with this serial number is recorded already; nothing was written."""


class NamesHeld(StoreError):  # noqa: N818 - says what happened
    """A certificate that is valid has one of the names, for somebody else; nothing was written."""


class NamesFull(StoreError):  # noqa: N818 - says what happened
    """One of the names has as many certificates as it may have; nothing was written."""


class Revoked(StoreError):  # noqa: N818 - says what happened
    """A certificate that was to count for this one is revoked by now; nothing was written."""


class CodeSpent(StoreError):  # noqa: N818 - says what happened
    """The one-time code has no use left for this request; nothing was written.

    It was removed, has run out, was used as often as it may be, or was used for this request.
    """
