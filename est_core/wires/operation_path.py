"""Which operation a path names, and which part of it is wrong. RFC 7030 3.2.2, RFC 9148 4.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core.model import Label, shown_text
from est_core.operation import Operation
from est_core.policy import OperationPaths

SHORT_ROOT: Final = ("est",)
"""Over CoAP operations are below EST's root by RFC 9148 4.1; its examples and libEST have this."""
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"cacerts": "crts", "csrattrs": "att", "simpleenroll": "sen", "simplereenroll": "sren"}
)
"""EST's operations that are here, with their names over CoAP, where servers may know both.

A server without one of them says that it is not offered; of other names it says that they are no
operation. A policy without it cannot tell, and a wire knows no operations but those of a policy.
"""
_NOT_HERE: Final = frozenset({"skg", "skc", "serverkeygen"})
"""Not offered over CoAP, whatever the label, unless as an operation of somebody's own."""
_SHOWN_CHARS: Final = 64
_EST: Final = (".well-known", "est")


class Addressed(NamedTuple):
    """What a path names: an operation, its label, and the item behind it, "" where it has none."""

    operation: Operation
    label: Label | None = None
    item: str = ""


def find_operation(
    path: tuple[str, ...], places: OperationPaths, labels: Collection[Label], *, datagram: bool
) -> Addressed:
    """Return what a path names, over CoAP (`datagram`) or HTTP.

    Raises RemoteProtocolError: "path/unknown", "path/operation", "path/label", "path/item",
    "path/not-offered".
    """
    own = places.roots or (_EST,)
    named = [(root, root) for root in own]
    if datagram:
        named.append((SHORT_ROOT, _EST))
    below = [(path[len(root) :], place) for root, place in named if path[: len(root)] == root]
    if not below:
        shown = ("/" + "/".join(root) for root, _ in named)
        raise other_root(" or ".join(shown))
    for tail, place in below:  # of several, where one root begins as another does
        if (found := _addressed(tail, place, places)) is not None:
            return found
    tail, _ = below[0]
    if not 1 <= len(tail) <= 2:
        raise not_label_and_operation(tail)
    if datagram and tail[-1] in _NOT_HERE:
        raise not_offered(tail[-1])
    if tail[-1] not in NAMES and not (datagram and tail[-1] in NAMES.values()):
        raise no_operation(tail[-1])
    raise not_offered(tail[-1], _label(tail), labels)


def _addressed(
    tail: tuple[str, ...], place: tuple[str, ...], places: OperationPaths
) -> Addressed | None:
    """Return what the segments behind a root name, None for no operation of those places.

    No label is called as an operation with an item, so that no path says two things.
    """
    if 2 <= len(tail) <= 3:
        operation = places.by_place.get((place, tail[-2]))
        if operation is not None and operation.item_chars:
            return Addressed(operation, _label(tail[:-1]), _item_untrusted(operation, tail[-1]))
    if not 1 <= len(tail) <= 2:
        return None
    operation = places.by_place.get((place, tail[-1]))
    if operation is None:
        return None
    if operation.item_chars:
        raise _no_item(f"behind {operation.name} a segment belongs that says what it is about")
    return Addressed(operation, _label(tail))


def _label(tail: Sequence[str]) -> Label | None:
    return Label.from_untrusted(tail[0]) if len(tail) == 2 else None


def _item_untrusted(operation: Operation, text: str) -> str:
    try:
        operation.check_item(text)
    except LocalProtocolError as error:
        raise _no_item(error.message) from error
    return text


def _no_item(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("path/item", message, Fault.NOT_FOUND)


def other_root(root: str) -> RemoteProtocolError:
    """Return the refusal of a path that is not below `root`."""
    return _unknown(f"the path does not begin with {root}")


def not_label_and_operation(tail: Sequence[str]) -> RemoteProtocolError:
    """Return the refusal of what follows the root where that is not one segment, or two."""
    if not any(tail):
        return _unknown("the path ends where an operation belongs")
    if not tail[-1]:
        return _unknown("the path ends in a slash")
    if not all(tail):
        return _unknown("the path has an empty segment")
    labels = shown_text("/".join(tail[:-1]), _SHOWN_CHARS)
    return _unknown(f"a label is one segment of the path, and '{labels}' is {len(tail) - 1}")


def no_operation(segment: str) -> RemoteProtocolError:
    """Return the refusal of a last segment that is no operation."""
    shown = shown_text(segment, _SHOWN_CHARS)
    message = f"'{shown}' is no operation here" if shown else "the path ends in a slash"
    return RemoteProtocolError("path/operation", message, Fault.NOT_FOUND)


def not_offered(
    segment: str, label: Label | None = None, labels: Collection[Label] = ()
) -> RemoteProtocolError:
    """Return the refusal of an operation that is not offered, or of a label that does not exist."""
    if label is not None and label not in labels:
        message = f"there is no label '{label}' here"
    else:
        message = f"'{shown_text(segment, _SHOWN_CHARS)}' is not offered here"
    return RemoteProtocolError("path/not-offered", message, Fault.NOT_FOUND)


def _unknown(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("path/unknown", message, Fault.NOT_FOUND)
