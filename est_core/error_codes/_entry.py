"""What the table of error codes is made of: an entry for each code, in sections."""

from __future__ import annotations

from enum import Enum, unique

from est_core.values import value_class


@unique
class Audience(Enum):
    """Who can do what the remedy of an error code says."""

    USER = "user"
    """Whoever runs the client."""
    OPERATOR = "operator"
    """Whoever runs the server."""
    AUTHOR = "author"
    """Whoever writes the program that sent what was refused."""


@value_class
class ErrorCode:
    """One stable code `area/reason`: what it stands for and what to do about it.

    `cause` and `remedy` are text for people, which may change; `remedy` tells its `audience`
    what to do. `statuses` are those that a server answers with when it is the one that finds
    the error, HTTP's as "404", CoAP's as "4.04"; there are none where a client finds it, or
    where they depend on where it is found. Digits that differ are written NNN in `code`.
    """

    code: str
    cause: str
    remedy: str
    audience: Audience
    statuses: tuple[str, ...] = ()


@value_class
class Section:
    """Error codes of one subject. `note` holds for all of them, and may be empty."""

    title: str
    codes: tuple[ErrorCode, ...]
    note: str = ""
