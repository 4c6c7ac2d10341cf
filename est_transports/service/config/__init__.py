"""The configuration of a server: est.toml as values."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.service.config.coap import (
        CoapConfig as CoapConfig,
    )
    from est_transports.service.config.crls import (
        CrlConfig as CrlConfig,
        InDoubt as InDoubt,
    )
    from est_transports.service.config.labels import (
        LabelConfig as LabelConfig,
    )
    from est_transports.service.config.listen import (
        ListenAddress as ListenAddress,
        parse_listen as parse_listen,
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
        PopConfig as PopConfig,
        ServerConfig as ServerConfig,
        SrpConfig as SrpConfig,
        TlsConfig as TlsConfig,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "coap": "CoapConfig",
            "crls": "CrlConfig InDoubt",
            "labels": "LabelConfig",
            "listen": "ListenAddress parse_listen",
            "manufacturers": "ManufacturerConfig",
            "reader": "CONFIG_FILE load_config",
            "registration": "RaConfig",
            "renewal_info": "RenewalInfoConfig",
            "settings": ("AuthConfig CAConfig PopConfig ServerConfig SrpConfig TlsConfig"),
        },
    )
