"""The names that a registered device may have: whose request it is, and what the list says.

A client is the device whose id is the user that it proved to be. One that proved no user is the
device that its certificate names, by id or by another of its names, and what a registration
authority asks for is for the device that the request names. A certificate may name several
devices; then it is that one which has all its names, and nobody where that is not one alone.

A manufacturer's device is registered as that one or not at all: one of the list that is called like
its number is another. It shows the certificate of its manufacturer, or one of ours that was issued
to it. Nobody else is that device, whatever password or name it has; a registration authority may
ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from cryptography import x509

from est_core import AllowedNames, AllowNames, Decision, Deny, ManufacturerIdentity, NamesRequested
from est_core.checks.names import canonical_text, shown_name
from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.device_records import DeviceRecord, DeviceStore
from est_transports.pki.serials import serial_text


class RegistryStore(DeviceStore, Protocol):
    """Where devices are, and the certificates that were issued to them."""

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        """Return the record with that serial, or None."""


def registered_names(question: NamesRequested, store: RegistryStore, now: datetime) -> Decision:
    """Return the names of the device that asks, or Deny names/not-registered.

    `now` is aware UTC. Raises what the store raises, and RemoteProtocolError "names/certificate"
    where the client's certificate cannot be read.
    """
    pair = _pair(question, store)
    found = _devices(question, store, pair)
    if len(found) != 1:
        what = "several devices are" if found else "nobody is"
        return _not_registered(f"{what} registered as {_who(question, pair)}")
    (device,) = found
    if not question.identity.is_ra and device.manufacturer not in (None, pair):
        which = shown_name(str(device.manufacturer))
        return _not_registered(f"{shown_name(device.id)} is registered as {which} alone")
    label = "" if question.label is None else question.label.text
    if device.label is not None and device.label != label:
        where = f"under label {device.label}" if device.label else "without a label"
        return _not_registered(f"{shown_name(device.id)} is registered {where}, and nowhere else")
    if device.expires_at is not None and now >= device.expires_at:
        ended = f"{device.expires_at:%Y-%m-%d %H:%M:%SZ}"
        return _not_registered(f"{shown_name(device.id)} is registered no more, since {ended}")
    return AllowNames(names=AllowedNames(texts=frozenset((device.id, *device.names))))


def _pair(question: NamesRequested, store: RegistryStore) -> ManufacturerIdentity | None:
    """Return which manufacturer's device asks, by its manufacturer's certificate or by ours."""
    identity = question.identity
    if identity.manufacturer is not None or identity.certificate is None or identity.is_ra:
        return identity.manufacturer
    return issued_to(identity.certificate, store)


def issued_to(certificate: x509.Certificate, store: RegistryStore) -> ManufacturerIdentity | None:
    """Return the manufacturer's device that one of our certificates was issued to, if any."""
    record = store.find_certificate(serial_text(certificate.serial_number))
    is_ours = record is not None and record.is_of(certificate)
    return record.manufacturer if record is not None and is_ours else None


def _devices(
    question: NamesRequested, store: RegistryStore, pair: ManufacturerIdentity | None
) -> tuple[DeviceRecord, ...]:
    identity = question.identity
    if identity.user is not None and not identity.is_ra:
        known = store.find_device(identity.user)
        return () if known is None else (known,)
    if pair is not None:
        known = store.find_device_of(pair)
        return () if known is None else (known,)
    if identity.is_ra:
        names = AllowedNames.asked_for(question.csr).texts
    elif identity.certificate is not None:
        names = AllowedNames.of_certificate(identity.certificate).texts
    else:
        return ()
    found = store.find_devices(names)
    return found if len(found) < 2 else tuple(each for each in found if _has_all(each, names))


def _has_all(device: DeviceRecord, names: Iterable[str]) -> bool:
    own = {canonical_text(name) for name in (device.id, *device.names)}
    return all(canonical_text(name) in own for name in names)


def _who(question: NamesRequested, pair: ManufacturerIdentity | None) -> str:
    identity = question.identity
    if identity.user is not None and not identity.is_ra:
        return shown_name(identity.user)
    if pair is not None:
        return f"{shown_name(str(pair))}, a manufacturer's device"
    return "what the request names" if identity.is_ra else "what the certificate names"


def _not_registered(text: str) -> Deny:
    return Deny(code="names/not-registered", reason=text)
