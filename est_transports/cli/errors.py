"""Exit codes, and the error with which a command ends: one line for people, or JSON.

A command raises CliError and never exits by itself; `runner` makes an exit code of it.
"""

from __future__ import annotations

import json
from enum import IntEnum, unique

from est_transports.cli.terminal_text import terminal_safe


@unique
class ExitCode(IntEnum):
    """What the process says to its caller."""

    DONE = 0
    REFUSED = 1
    """By the server, or by policy."""
    USAGE = 2
    PENDING = 3
    """The server will answer later; it was printed when."""
    NETWORK = 4
    """Network or TLS."""
    LOCAL = 5
    """Files, directories, configuration, ports of this machine."""
    INTERNAL = 70
    """A defect of this program."""
    INTERRUPTED = 130


class CliError(Exception):
    """A command cannot go on.

    `message` says what failed and where, without a final full stop; `hint` what to do about it;
    `error_code` is the code of the table where it has one, else empty. `server_code` and `refusal`
    are the code and the id that a server gave its refusal, empty where it gave none. None holds a
    secret. They are printed in one line; text from a peer is made safe for a terminal on the way.
    """

    def __init__(
        self,
        message: str,
        code: ExitCode,
        hint: str = "",
        *,
        error_code: str = "",
        server_code: str = "",
        refusal: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.error_code = error_code
        self.server_code = server_code
        self.refusal = refusal

    @property
    def text(self) -> str:
        """The message, with the code of the error where it has one: the server's, if it said it."""
        code = self.server_code or self.error_code
        return f"{self.message} [{code}]" if code else self.message

    @property
    def line(self) -> str:
        """The one line for stderr."""
        return terminal_safe(f"est: {self.text}; {self.hint}" if self.hint else f"est: {self.text}")

    @property
    def json_line(self) -> str:
        """The same for a program: one JSON object, with null for what there is not."""
        values = {
            "code": self.error_code or None,
            "message": terminal_safe(self.message),
            "hint": terminal_safe(self.hint) or None,
            "exit_code": int(self.code),
            "server_code": self.server_code or None,
            "refusal": self.refusal or None,
        }
        return json.dumps(values)
