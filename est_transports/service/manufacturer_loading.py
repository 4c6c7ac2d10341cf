"""The manufacturers of a configuration, with their trust anchors, opened and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from est_core import FieldKind, LocalProtocolError, Manufacturer
from est_core.values import value_class
from est_transports.pki.trust import ManufacturerAnchors, load_pem_certificates
from est_transports.service.config.manufacturers import ManufacturerConfig
from est_transports.service.errors import ServingError


@value_class
class LoadedManufacturer:
    """A manufacturer as a policy knows it, and its trust anchors, each with its file."""

    manufacturer: Manufacturer
    files: tuple[tuple[Path, x509.Certificate], ...]

    @property
    def anchors(self) -> ManufacturerAnchors:
        """The trust anchors, for a handshake. Raises LocalProtocolError where there are none."""
        anchors = tuple(anchor for _, anchor in self.files)
        return ManufacturerAnchors(name=self.manufacturer.name, anchors=anchors)


def load_manufacturers(
    configs: Sequence[ManufacturerConfig], left_out: Callable[[str], None]
) -> tuple[LoadedManufacturer, ...]:
    """Return the manufacturers with what is in their files.

    Raises CredentialFileError, and ServingError for one without a trust anchor, or with several
    issuers where the serial number of a certificate counts, which is unique for one alone.
    """
    return tuple(_loaded(config, left_out) for config in configs)


def _loaded(config: ManufacturerConfig, left_out: Callable[[str], None]) -> LoadedManufacturer:
    files = tuple(
        (path, each)
        for path in config.trust
        for each in load_pem_certificates(path, left_out=left_out)
    )
    if not files:
        raise ServingError(f"{config.heading} trust: names no file; put the CA certificate there")
    maker = config.manufacturer
    if maker.field.kind is FieldKind.CERTIFICATE_SERIAL:
        issuers = {anchor.subject for _, anchor in files}
        if len(issuers) != 1:
            raise ServingError(
                f"{config.heading} trust: certificateSerial counts from one issuing CA, and there"
                f" are {len(issuers)}: make a table for each"
            )
        maker = replace(maker, issuer=issuers.pop())
    return LoadedManufacturer(manufacturer=maker, files=files)


def files_of(
    manufacturers: Sequence[LoadedManufacturer],
) -> tuple[tuple[Path, x509.Certificate], ...]:
    """Return all their trust anchors, each with its file."""
    return tuple(each for maker in manufacturers for each in maker.files)


def overlapping(error: LocalProtocolError) -> ServingError:
    """Return the error of trust anchors that stand in two tables."""
    return ServingError(f"[manufacturers]: {error.message}; leave it in one table")
