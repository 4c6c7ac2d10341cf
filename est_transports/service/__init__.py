"""A server made of a configuration: read, loaded, run, watched."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.service.config.listen import (
        ListenAddress as ListenAddress,
    )
    from est_transports.service.config.reader import (
        load_config as load_config,
    )
    from est_transports.service.config.settings import (
        ServerConfig as ServerConfig,
    )
    from est_transports.service.errors import (
        ServingError as ServingError,
    )
    from est_transports.service.initialisation import (
        CaSpec as CaSpec,
        InitialisationError as InitialisationError,
        InitialisedCa as InitialisedCa,
        OccupiedError as OccupiedError,
        initialise as initialise,
    )
    from est_transports.service.listening import (
        open_datagram_sockets as open_datagram_sockets,
        open_sockets as open_sockets,
    )
    from est_transports.service.loading import (
        CredentialChecks as CredentialChecks,
        Service as Service,
        load_service as load_service,
    )
    from est_transports.service.processes import (
        run as run,
    )
    from est_transports.service.running import (
        Running as Running,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "config.listen": "ListenAddress",
            "config.reader": "load_config",
            "config.settings": "ServerConfig",
            "errors": "ServingError",
            "initialisation": "CaSpec InitialisationError InitialisedCa OccupiedError initialise",
            "listening": "open_datagram_sockets open_sockets",
            "loading": "CredentialChecks Service load_service",
            "processes": "run",
            "running": "Running",
        },
    )
