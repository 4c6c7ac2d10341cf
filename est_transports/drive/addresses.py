"""The address of a socket's other end, as records and logs have it."""

from __future__ import annotations

from collections.abc import Callable

from est_core.arguments import checked


@checked
def peer_text(getpeername: Callable[[], object]) -> str:
    """Return `address:port` of a socket's other end; empty if it is gone already."""
    try:
        return address_text(getpeername())
    except OSError:
        return ""


@checked
def address_text(name: object) -> str:
    """Return `address:port` of a socket's address."""
    match name:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return str(name)
