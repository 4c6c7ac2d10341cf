"""What a store keeps of registered devices: who may have which names, where and how long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final, Protocol

from est_core import Limits, LocalProtocolError, ManufacturerIdentity
from est_core.values import value_class
from est_transports.authority.stores.credential_records import CodeRecord

DEVICE_NAMES_MAX: Final = 32
"""Names of one device, beside its id."""
DEVICE_NAME_CHARS: Final = Limits().user_chars
"""Characters of one of them, as many as its id may have."""
DEVICES_FOUND_MAX: Final = 16
"""Devices that one look-up by names gives."""


@value_class
class DeviceRecord:
    """A device that is registered: it may have certificates for its `id` and its `names`.

    `id` is the user that it is as a client, and unique. A name is text and stands for each kind
    of name that is spelled so (`AllowedNames.texts`). With a `label` the device is registered there
    alone; "" is without one. After `expires_at` it is registered no more. With a `manufacturer` it
    is that device of a manufacturer, whose certificate it has to show, and no user; no two devices
    are the same one.
    Raises LocalProtocolError for more than DEVICE_NAMES_MAX names, one that is blank, longer than
    DEVICE_NAME_CHARS or occurs twice, and times that are not aware UTC.
    """

    id: str
    names: tuple[str, ...] = ()
    label: str | None = None
    created_at: datetime
    expires_at: datetime | None = field(default=None)
    manufacturer: ManufacturerIdentity | None = None

    def __post_init__(self) -> None:
        if len(self.names) > DEVICE_NAMES_MAX:
            raise LocalProtocolError(f"a device has at most {DEVICE_NAMES_MAX} names")
        if not all(name.strip() and name.isprintable() for name in self.names):
            raise LocalProtocolError("a device's name is not blank and holds what prints")
        if any(len(name) > DEVICE_NAME_CHARS for name in self.names):
            raise LocalProtocolError(f"a device's name has at most {DEVICE_NAME_CHARS} characters")
        if len(set(self.names)) != len(self.names):
            raise LocalProtocolError("a name of the device occurs twice")
        for moment in (self.created_at, self.expires_at):
            if moment is not None and moment.utcoffset() != timedelta(0):
                raise LocalProtocolError("the times of a record are aware and in UTC")


class DeviceStore(Protocol):
    """Where registered devices are. Ids are bounded as the names of users are."""

    def add_devices(
        self,
        records: Sequence[DeviceRecord],
        *,
        codes: Sequence[CodeRecord] = (),
        replace: bool = False,
    ) -> tuple[str, ...]:
        """Add devices, all of them or none; return the ids that were taken, which is why not.

        One-time `codes` are added with them, in the same transaction; the name of each that is
        taken is returned too. With `replace` what has such an id or name is replaced. Raises
        LocalProtocolError for an id, the name of a code or a manufacturer's device that occurs
        twice, and for a manufacturer's device that is registered under another id.
        """

    def find_device(self, device_id: str) -> DeviceRecord | None:
        """Return the device of that id, or None."""

    def find_device_of(self, manufacturer: ManufacturerIdentity) -> DeviceRecord | None:
        """Return the device that is that one of a manufacturer, or None."""

    def find_devices(self, names: Collection[str]) -> tuple[DeviceRecord, ...]:
        """Return the devices whose id or one of whose names is among these, by id.

        Names compare as those of a subject do: without case, with single blanks. At most
        DEVICES_FOUND_MAX of them.
        """

    def list_devices(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[DeviceRecord, ...]:
        """Return at most `limit` devices by id, those after the id `after`."""

    def remove_devices(self, ids: Sequence[str], *, with_codes: bool = False) -> int:
        """Remove devices in one transaction; return how many of them there were.

        With `with_codes` the one-time codes of these names go too, those without a device as well.
        """
