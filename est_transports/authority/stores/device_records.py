"""What a store keeps of registered devices: who may have which names, where and how long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final, Protocol

from est_core import LocalProtocolError
from est_core.values import value_class

DEVICE_NAMES_MAX: Final = 32
"""Names of one device, beside its id."""
DEVICES_FOUND_MAX: Final = 16
"""Devices that one look-up by names gives."""


@value_class
class DeviceRecord:
    """A device that is registered: it may have certificates for its `id` and its `names`.

    `id` is the user that it is as a client, and unique. A name is text and stands for each kind
    of name that is spelled so (`AllowedNames.texts`). With a `label` the device is registered there
    alone; "" is without one. After `expires_at` it is registered no more.
    Raises LocalProtocolError for more than DEVICE_NAMES_MAX names, a blank one, one that occurs
    twice, and times that are not aware UTC.
    """

    id: str
    names: tuple[str, ...] = ()
    label: str | None = None
    created_at: datetime
    expires_at: datetime | None = field(default=None)

    def __post_init__(self) -> None:
        if len(self.names) > DEVICE_NAMES_MAX:
            raise LocalProtocolError(f"a device has at most {DEVICE_NAMES_MAX} names")
        if not all(name.strip() and name.isprintable() for name in self.names):
            raise LocalProtocolError("a device's name is not blank and holds what prints")
        if len(set(self.names)) != len(self.names):
            raise LocalProtocolError("a name of the device occurs twice")
        for moment in (self.created_at, self.expires_at):
            if moment is not None and moment.utcoffset() != timedelta(0):
                raise LocalProtocolError("the times of a record are aware and in UTC")


class DeviceStore(Protocol):
    """Where registered devices are. Ids are bounded as the names of users are."""

    def add_devices(
        self, records: Sequence[DeviceRecord], *, replace: bool = False
    ) -> tuple[str, ...]:
        """Add devices, all of them or none; return the ids that were taken, which is why not.

        With `replace` a device whose id is taken is replaced. Raises LocalProtocolError for an id
        that occurs twice.
        """

    def find_device(self, device_id: str) -> DeviceRecord | None:
        """Return the device of that id, or None."""

    def find_devices(self, names: Collection[str]) -> tuple[DeviceRecord, ...]:
        """Return the devices whose id or one of whose names is among these, by id.

        Names compare as those of a subject do: without case, with single blanks. At most
        DEVICES_FOUND_MAX of them.
        """

    def list_devices(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[DeviceRecord, ...]:
        """Return at most `limit` devices by id, those after the id `after`."""

    def remove_devices(self, ids: Sequence[str]) -> int:
        """Remove devices in one transaction; return how many of them there were."""
