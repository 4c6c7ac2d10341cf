"""What the HTTPS connections of one server share: rules, bounds and deadlines."""

from __future__ import annotations

from dataclasses import field, fields, replace
from typing import Final

from est_core import Limits, LocalProtocolError, ServerPolicy
from est_core.values import value_class
from est_transports.drive.application import Application, AsyncApplication, offered_at_start

REQUESTS_MAX: Final = 100  # per connection; Apache 100, nginx 1000


@value_class
class Timeouts:
    """How long a client may take, in seconds. All are positive; LocalProtocolError otherwise.

    `handshake_s` for TLS, `head_s` for the first byte of the first request and for each head,
    `body_s` for a body, `idle_s` between requests, `write_s` to take an answer, `drain_s` to stop
    sending what nobody reads, and to close its side after the last answer.
    """

    handshake_s: float = 10.0
    head_s: float = 10.0
    body_s: float = 20.0
    idle_s: float = 30.0
    write_s: float = 20.0
    drain_s: float = 2.0

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            if getattr(self, name) <= 0:
                raise LocalProtocolError(f"{name} must be positive")


@value_class
class ServiceConfig:
    """What all connections of one server share.

    `accept_pem` and `accept_der` take request bodies that are not plain base64. `requests_max`
    is per connection.
    """

    policy: ServerPolicy
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    requests_max: int = REQUESTS_MAX
    accept_pem: bool = True
    accept_der: bool = True

    def offering(self, application: Application | AsyncApplication) -> ServiceConfig:
        """Return the same for what this application has methods for, when a server starts.

        What is left out is named in the log: `drive.application.offered_at_start`.

        Raises LocalProtocolError as that does.
        """
        return replace(self, policy=offered_at_start(self.policy, application))
