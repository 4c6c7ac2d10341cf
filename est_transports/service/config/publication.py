"""`[publication]` of est.toml: where plain HTTP is served for what everybody may read."""

from __future__ import annotations

from typing import Final

from est_core.values import value_class
from est_transports.publication.conversation import PublicationLimits
from est_transports.service.config.key import Key
from est_transports.service.config.listen import ListenAddress, parse_listen
from est_transports.toml.tables import TomlTable

DEFAULT_PUBLICATION_PORT: Final = 8080
_USUAL: Final = PublicationLimits()

PUBLICATION_KEYS: Final = (
    Key(
        name="listen", kind="array of HOST:PORT, [IPV6]:PORT", needs_restart=True,
        meaning="where plain HTTP is served, without TLS, for CA certificates and what else is"
        " published; empty is nowhere; port 8080 if none is given",
    ),
    Key(
        name="connections_max", counted="connections", needs_restart=True,
        meaning="open at once in one process; others wait",
    ),
    Key(
        name="threads", counted="threads", needs_restart=True,
        meaning="answers made at once in one process",
    ),
)  # fmt: skip


@value_class
class PublicationConfig:
    """Where it is served, nowhere by default, and the bounds for each process."""

    listen: tuple[ListenAddress, ...] = ()
    connections_max: int = _USUAL.connections_max
    threads: int = _USUAL.threads

    @property
    def limits(self) -> PublicationLimits:
        """The bounds of a server."""
        return PublicationLimits(connections_max=self.connections_max, threads=self.threads)


def read_publication(table: TomlTable) -> PublicationConfig:
    """Return what `[publication]` says. Raises ConfigError."""
    with table.checks("listen"):
        listen = tuple(
            parse_listen(each, DEFAULT_PUBLICATION_PORT) for each in table.texts("listen")
        )
    config = PublicationConfig(
        listen=listen,
        connections_max=table.integer(
            "connections_max", _USUAL.connections_max, least=1, most=65536
        ),
        threads=table.integer("threads", _USUAL.threads, least=1, most=1024),
    )
    table.done()
    return config
