"""What an agent asks of whoever drives it, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from est_core import ClientExchange, ClientResult, Instant, RetryLater
from est_core.life_cycle import Alarm
from est_core.values import value_class
from est_transports.client_config import ClientConfig


@value_class
class Ask:
    """Run this exchange by a client with this configuration, and answer with its result.

    Exchanges with one and the same configuration may go over one connection.
    """

    exchange: ClientExchange
    config: ClientConfig = field(repr=False)


@value_class
class RunHook:
    """Run this command, with these variables added to its environment; answer a HookResult."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    timeout_s: float


@value_class
class HookResult:
    """What became of a hook: "" where it ended with 0, else why not; and the end of its output."""

    problem: str = ""
    output: str = ""


Action = Ask | RunHook
"""What is to be done now."""
Answer = ClientResult | RetryLater | HookResult
"""What came of it."""


@value_class
class Outcome:
    """What one pass came to, for one certificate.

    There is nothing to do before `until`. `renewed`: there is another certificate now. `code` and
    `message` are those of a failure in this pass, empty where nothing failed; `pending`: the server
    is to be asked again. `hook_problem` is why a hook failed in this pass. `alarms` are what
    somebody should look at.
    """

    name: str
    until: Instant
    renewed: bool = False
    pending: bool = False
    code: str = ""
    message: str = ""
    hook_problem: str = ""
    alarms: frozenset[Alarm] = frozenset()
