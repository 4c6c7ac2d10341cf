"""The configuration of a server: est.toml as values."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.service.config.crls import (
        CrlConfig as CrlConfig,
        InDoubt as InDoubt,
    )
    from est_transports.service.config.manufacturers import (
        ManufacturerConfig as ManufacturerConfig,
    )
    from est_transports.service.config.reader import (
        CONFIG_FILE as CONFIG_FILE,
        load_config as load_config,
    )
    from est_transports.service.config.registration import (
        RaConfig as RaConfig,
    )
    from est_transports.service.config.renewal_info import (
        RenewalInfoConfig as RenewalInfoConfig,
    )
    from est_transports.service.config.settings import (
        AuthConfig as AuthConfig,
        CAConfig as CAConfig,
        CoapConfig as CoapConfig,
        LabelConfig as LabelConfig,
        ListenAddress as ListenAddress,
        PopConfig as PopConfig,
        ServerConfig as ServerConfig,
        SrpConfig as SrpConfig,
        TlsConfig as TlsConfig,
        parse_listen as parse_listen,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "crls": "CrlConfig InDoubt",
            "manufacturers": "ManufacturerConfig",
            "reader": "CONFIG_FILE load_config",
            "registration": "RaConfig",
            "renewal_info": "RenewalInfoConfig",
            "settings": (
                "AuthConfig CAConfig CoapConfig LabelConfig ListenAddress PopConfig "
                "ServerConfig SrpConfig TlsConfig parse_listen"
            ),
        },
    )
