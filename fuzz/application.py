"""An application whose decisions are up to the fuzzer."""

from __future__ import annotations

from typing import Final

from est_core import (
    AuthenticateRequested,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    Deny,
    EnrollRequested,
    Fail,
    Issue,
    Pend,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    ServerQuestion,
    Verified,
)
from est_core.testing import Answer, ScriptedApplication
from fuzz import cast

_USUAL: Final[dict[type[ServerQuestion], Answer]] = {
    AuthenticateRequested: Verified(user="somebody"),
    CACertsRequested: lambda _: ProvideCACerts(certificates=(cast.ca().certificate,)),
    CSRAttrsRequested: ProvideCSRAttrs(csrattrs=None),
    EnrollRequested: Pend(retry_after_s=60),
    ReenrollRequested: Pend(retry_after_s=60),
}


class Decisions(ScriptedApplication):
    """An application that decides by a script: the same on every try, and sometimes wrongly."""

    def __init__(self, script: bytes) -> None:
        super().__init__(_USUAL)
        self._script = script or b"\0"

    def decide(self, question: ServerQuestion) -> Decision:
        """Return what would do for another question, or for many, or what answers this one."""
        number = self._script[len(self.asked) % len(self._script)]
        usual = super().decide(question)
        match number % 8:
            case 1:
                return Fail()
            case 2:
                return Postpone(retry_after_s=1 + number)
            case 3:
                return Verified(user="out of place")
            case 4:
                return Deny(code="x/y", reason="no")
            case 6:
                return Issue(certificate=cast.client().certificate)
            case _:
                return usual
