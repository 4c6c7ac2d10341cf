"""What keeps a server from starting or reloading."""

from __future__ import annotations


class ServingError(Exception):
    """The server cannot start or reload. The text is one line: what, where, why."""
