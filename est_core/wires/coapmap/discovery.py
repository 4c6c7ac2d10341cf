"""The links that /.well-known/core lists, and which of them a query asks for.

RFC 9148 4.1, RFC 6690.
"""

from __future__ import annotations

from collections.abc import Iterator

from est_core.operation import CoapRow
from est_core.policy import ServerPolicy
from est_core.values import unchecked_value_class


@unchecked_value_class
class Link:
    """One resource: its path, its resource type, and the Content-Formats of its answers."""

    path: str
    resource_type: str
    formats: tuple[str, ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of the attribute that a query names."""
        match name:
            case "href":
                return (self.path,)
            case "rt":
                return (self.resource_type,)
            case "ct":
                return self.formats
            case _:
                return ()

    def text(self, authority: str | None) -> str:
        """Return the link in link format; with an authority, as an absolute URI."""
        base = "" if authority is None else f"coaps://{authority}"
        numbers = " ".join(self.formats)
        # One number is a token, several are a quoted string: RFC 7252 7.2.1.
        ct = f'"{numbers}"' if len(self.formats) > 1 else numbers
        return f'<{base}{self.path}>;rt="{self.resource_type}";ct={ct}'


def links(policy: ServerPolicy) -> Iterator[Link]:
    """Yield what the policy offers on datagram channels: without label first, then by label."""
    for label in (None, *sorted(policy.labels, key=str)):
        for operation in policy.operations:
            row = operation.coap
            if isinstance(row, CoapRow) and policy.row(operation, label, datagram=True) is not None:
                middle = (str(label),) if label else ()
                yield Link(
                    path="/".join(("", *operation.root, *middle, row.short_path)),
                    resource_type=f"ace.est.{row.short_path}",
                    formats=tuple(str(int(number)) for number in row.answer_formats),
                )


def matches(link: Link, query: str) -> bool:
    """Return whether a link has the attribute `name=value` asks for. RFC 6690 4.1.

    `name=prefix*` asks for a beginning. A query of another form asks for nothing.
    """
    name, separator, wanted = query.partition("=")
    if not separator:
        return True
    values = link.values(name)
    if wanted.endswith("*"):
        return any(value.startswith(wanted[:-1]) for value in values)
    return wanted in values
