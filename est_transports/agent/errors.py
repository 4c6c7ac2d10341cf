"""What an agent cannot do, in one line, with a code of the table."""

from __future__ import annotations

from est_core.arguments import checked


@checked
class AgentError(Exception):
    """An agent cannot go on with a certificate, or not begin. `code` is one of the table.

    `message` says what failed and where, and holds no secret.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
