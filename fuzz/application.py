"""An application whose decisions are up to the fuzzer."""

from __future__ import annotations

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
    Verified,
)
from fuzz import cast


class Decisions:
    """An application that decides by a script: the same on every try, and sometimes wrongly."""

    def __init__(self, script: bytes) -> None:
        self._script = script or b"\0"
        self._asked = 0

    def _odd(self) -> Decision | None:
        """Return what would do for another question, or for many; None to answer this one."""
        number = self._script[self._asked % len(self._script)]
        self._asked += 1
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
                return None

    def authenticate(self, _question: AuthenticateRequested) -> Decision:
        """Let everybody in."""
        return self._odd() or Verified(user="somebody")

    def ca_certs(self, _question: CACertsRequested) -> Decision:
        """Give the one CA."""
        return self._odd() or ProvideCACerts(certificates=(cast.ca().certificate,))

    def csr_attrs(self, _question: CSRAttrsRequested) -> Decision:
        """Have no opinion."""
        return self._odd() or ProvideCSRAttrs(csrattrs=None)

    def enroll(self, _question: EnrollRequested) -> Decision:
        """Have everybody wait."""
        return self._odd() or Pend(retry_after_s=60)

    def reenroll(self, _question: ReenrollRequested) -> Decision:
        """Have everybody wait."""
        return self._odd() or Pend(retry_after_s=60)
