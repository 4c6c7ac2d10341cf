"""What associations of EST-coaps are served with: values, bundled for the servers of ours."""

from __future__ import annotations

from dataclasses import field

from est_core import Limits, ServerPolicy
from est_core.values import value_class
from est_transports.channel.dtls_context import DtlsServerContext
from est_transports.coap.limits import CoapLimits
from est_transports.drive.application import (
    Application,
    AsyncApplication,
    offered_at_start,
)


@value_class
class CoapService:
    """What associations are served with; each keeps what it began with.

    `context` is for the handshake, `application` for the questions, the rest between them. After
    `lifetime_s` seconds an association ends, so that the client's certificate is verified anew.
    What the application has no methods for is not offered (`drive.application.offered_at_start`).
    Raises LocalProtocolError for an application of which only some methods are coroutine functions.
    """

    context: DtlsServerContext = field(repr=False)
    application: Application | AsyncApplication = field(repr=False)
    policy: ServerPolicy
    lifetime_s: float = 3600.0
    limits: Limits = field(default_factory=Limits)
    coap: CoapLimits = field(default_factory=CoapLimits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", offered_at_start(self.policy, self.application))
