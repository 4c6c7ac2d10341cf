"""Names that a manufacturer's device may not have, for they are those of users or devices here.

A manufacturer numbers its devices as it likes, so a value can be what somebody here is called. That
one may have no certificate yet, or none any more, which would be looked at when names are recorded.
Whether it is a user, a device or a certificate that has the name is not said: a client could find
out who is known here.
"""

from __future__ import annotations

from typing import Final, Protocol

from est_core import AllowedNames, ManufacturerIdentity
from est_core.asn1.pkcs10 import CertRequest
from est_transports.authority.profiles import Refused
from est_transports.authority.stores import UserRecord
from est_transports.authority.stores.device_records import DeviceStore

HELD: Final = "a name of the request is somebody else's here"
"""What is said of a name that is held, whoever has it."""


class KnownNames(DeviceStore, Protocol):
    """Where users and devices are."""

    def find_user(self, name: str) -> UserRecord | None:
        """Return the user of that name, or None."""


def check_names_of_others(
    csr: CertRequest, device: ManufacturerIdentity, user: str | None, store: KnownNames
) -> None:
    """Return if no name that a manufacturer's device asks for is a user's or another device's.

    `user` is who was authenticated beside it. Raises Refused("names/held"), and what the store
    raises.
    """
    names = AllowedNames.asked_for(csr).texts
    if any(name != user and store.find_user(name) is not None for name in names):
        raise Refused("names/held", HELD)
    if any(each.manufacturer != device and each.id != user for each in store.find_devices(names)):
        raise Refused("names/held", HELD)
