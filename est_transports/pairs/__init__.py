"""A directory in which a certificate and its key are kept, and replaced as one."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.pairs.directory import (
        PairDirectory as PairDirectory,
    )
    from est_transports.pairs.errors import (
        PairError as PairError,
    )
    from est_transports.pairs.values import (
        Candidate as Candidate,
        KeyReference as KeyReference,
        Pair as Pair,
        PairView as PairView,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "directory": "PairDirectory",
            "errors": "PairError",
            "values": "Candidate KeyReference Pair PairView",
        },
    )
