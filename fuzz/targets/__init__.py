"""Every target by its name. A new one goes into `TARGETS` of the module where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from fuzz.kept import kept_of
from fuzz.target import Target
from fuzz.targets import (
    agent,
    asn1,
    associations,
    attributes,
    channels,
    client_driver,
    client_machine,
    coap,
    coap_maps,
    codecs,
    endpoints,
    manufacturers,
    maps,
    names,
    profiles,
    publication,
    queues,
    records,
    renewal,
    server_machine,
    settings,
    tunnels,
    wires,
)

_MODULES: Final = (
    codecs,
    asn1,
    attributes,
    renewal,
    maps,
    coap_maps,
    names,
    manufacturers,
    queues,
    records,
    profiles,
    client_driver,
    wires,
    coap,
    channels,
    associations,
    endpoints,
    server_machine,
    client_machine,
    tunnels,
    publication,
    agent,
    settings,
)

TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        target.name: replace(target, kept=kept_of(target.name))
        for module in _MODULES
        for target in module.TARGETS
    }
)
