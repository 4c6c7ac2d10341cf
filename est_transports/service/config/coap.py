"""`[coap]` of est.toml: EST-coaps beside HTTPS. RFC 9148."""

from __future__ import annotations

from typing import Final

from est_core import Limits
from est_core.values import value_class
from est_transports.channel.dtls_limits import (
    MAX_MTU_BYTES,
    MIN_MTU_BYTES,
    MTU_BYTES,
    DtlsLimits,
)
from est_transports.coap.limits import CoapLimits
from est_transports.service.config.key import Key
from est_transports.service.config.listen import ListenAddress, parse_listen
from est_transports.toml.tables import TomlTable

DEFAULT_COAP_PORT: Final = 5684  # RFC 7252 12.8


@value_class
class CoapConfig:
    """EST-coaps beside HTTPS, where `listen` is given. RFC 9148.

    It has the TLS identity, which must be P-256 then, and everything else in common with HTTPS.
    """

    listen: ListenAddress | None = None
    associations_max: int = 256
    idle_s: float = 300.0
    lifetime_s: float = 3600.0
    block_bytes: int = 1024
    mtu_bytes: int = MTU_BYTES
    waiting_per_association: int = 16
    unverified_messages: int = 8
    unverified_per_host: int = 16

    def __post_init__(self) -> None:
        self.limits(Limits())
        self.dtls_limits()

    def limits(self, limits: Limits) -> CoapLimits:
        """Return the bounds of a connection, as wide as those of HTTPS."""
        return CoapLimits(
            block_bytes=self.block_bytes,
            request_bytes=limits.body_bytes,
            response_bytes=limits.response_body_bytes,
            kept_bytes=limits.response_body_bytes,
        )

    def dtls_limits(self) -> DtlsLimits:
        """Return the bounds of all clients together."""
        return DtlsLimits(
            associations=self.associations_max,
            associations_per_host=-(-self.associations_max // 2),
            idle_s=self.idle_s,
            waiting_per_association=self.waiting_per_association,
            unverified_messages=self.unverified_messages,
            unverified_per_host=self.unverified_per_host,
        )


def read_coap(table: TomlTable) -> CoapConfig:
    """Return what `[coap]` says. Raises ConfigError."""
    usual = CoapConfig()
    listen = None
    text = table.optional_text("listen")
    if text is not None:
        with table.checks("listen"):
            listen = parse_listen(text, DEFAULT_COAP_PORT)
    with table.checks():
        config = CoapConfig(
            listen=listen,
            associations_max=table.integer(
                "associations_max", usual.associations_max, least=1, most=65536
            ),
            idle_s=table.seconds("idle_s", usual.idle_s),
            lifetime_s=table.seconds("lifetime_s", usual.lifetime_s),
            block_bytes=table.integer("block_bytes", usual.block_bytes),
            mtu_bytes=table.integer(
                "mtu_bytes", usual.mtu_bytes, least=MIN_MTU_BYTES, most=MAX_MTU_BYTES
            ),
            **{
                name: table.integer(name, getattr(usual, name), least=1)
                for name in (
                    "waiting_per_association",
                    "unverified_messages",
                    "unverified_per_host",
                )
            },
        )
    table.done()
    return config


COAP_KEYS: Final = (
    Key(
        name="listen", kind="HOST:PORT, [IPV6]:PORT", needs_restart=True,
        meaning="where EST-coaps is served, as in `[server]`; without a port,"
        f" {DEFAULT_COAP_PORT}; none serves HTTPS only",
    ),
    Key(
        name="associations_max", counted="clients", needs_restart=True,
        meaning="remembered at once in one process; beyond, and beyond half of it from one address"
        " or IPv6 /64, the idlest gives way",
    ),
    Key(
        name="idle_s", needs_restart=True,
        meaning="how long one that says nothing is remembered",
    ),
    Key(
        name="lifetime_s",
        meaning="how long one lasts at most; then the client's certificate is verified anew",
    ),
    Key(
        name="block_bytes", kind="16, 32, 64 ... 1024",
        meaning="of a body in one message; less where links carry small frames",
    ),
    Key(name="mtu_bytes", meaning="a UDP datagram, without its own header"),
    Key(
        name="waiting_per_association", counted="datagrams", needs_restart=True,
        meaning="of one client, that wait to be read; newer ones are lost",
    ),
    Key(
        name="unverified_messages", counted="messages", needs_restart=True,
        meaning="what a client whose certificate does not verify may say, each time to be refused;"
        " then its association ends",
    ),
    Key(
        name="unverified_per_host", counted="associations", needs_restart=True,
        meaning="of such clients from one address or IPv6 /64 in a minute",
    ),
)  # fmt: skip
