"""The key of a server's OCSP responder: read from its file, made and renewed by the server itself.

Key and certificate are in one file, which is replaced as a whole: no process can read the key of
one with the certificate of another. Of several processes one makes the new one, the others read it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from est_core import LocalProtocolError
from est_transports.authority.ca import CAUnavailable, ReferenceCA, Refused
from est_transports.authority.ocsp_identity import OcspIdentity, new_ocsp_identity
from est_transports.authority.ocsp_responder import OcspResponder
from est_transports.authority.stores import StoreError
from est_transports.files.durable import OpenDirectory
from est_transports.pki.credential_files import certificates_pem, key_pem
from est_transports.pki.signers import SignerError
from est_transports.pki.trust import (
    CredentialFileError,
    load_pem_certificates,
    load_pem_private_key,
)
from est_transports.publication.resources import Resource
from est_transports.service.config.ocsp import OcspConfig
from est_transports.service.errors import ServingError
from est_transports.service.ocsp_publishing import ocsp_resource

_log: Final = logging.getLogger("est_transports")

RETRY: Final = timedelta(minutes=1)
"""How long it is waited to try again, and to say so again, where none can be made."""


class OcspIdentityFile:
    """What signs answers at a time. From any thread."""

    def __init__(self, path: Path, ca: ReferenceCA) -> None:
        self._path = path
        self._ca = ca
        self._lock = threading.Lock()
        self._current: OcspIdentity | None = None
        self._not_before: datetime | None = None

    def load(self, now: datetime) -> OcspIdentity:
        """Return what is to sign from now on, made if need be.

        Raises CredentialFileError for a file that holds something else, OSError where none can be
        written, and as `new_ocsp_identity` where none can be made.
        """
        with self._lock:
            self._current = self._loaded(now)
            return self._current

    def __call__(self, now: datetime) -> OcspIdentity | None:
        """Return what signs now, None where there is nothing that clients accept.

        What fails is logged, and tried again after a while.
        """
        current = self._current
        if current is None or current.is_due(now):
            current = self._renewed(now)
        return current if current is not None and current.is_valid(now) else None

    def _renewed(self, now: datetime) -> OcspIdentity | None:
        with self._lock:
            current = self._current
            if current is not None and not current.is_due(now):  # by another thread
                return current
            waits = self._not_before
            if waits is not None and waits - RETRY <= now < waits:
                return current
            try:
                self._current = self._loaded(now)
                self._not_before = None
            except (
                CAUnavailable, CredentialFileError, LocalProtocolError, OSError, Refused,
                SignerError, StoreError,
            ) as exc:  # fmt: skip
                self._not_before = now + RETRY
                _log.error("the OCSP responder gets no new certificate: %s; trying again", exc)
            return self._current

    def _loaded(self, now: datetime) -> OcspIdentity:
        found = self._read()
        if found is not None and self._is_good(found, now):
            return found
        with _alone(self._path.parent):
            found = self._read()  # another process may have made it meanwhile
            if found is not None and self._is_good(found, now):
                return found
            made = new_ocsp_identity(self._ca, now=now)
            self._write(made)
        _log.info("the OCSP responder has a new certificate: %s", self._path)
        return made

    def _is_good(self, identity: OcspIdentity, now: datetime) -> bool:
        return not identity.is_due(now) and identity.is_of(self._ca)

    def _read(self) -> OcspIdentity | None:
        if not self._path.exists():
            return None
        certificate = load_pem_certificates(self._path)[0]
        return OcspIdentity(key=load_pem_private_key(self._path), certificate=certificate)

    def _write(self, identity: OcspIdentity) -> None:
        content = key_pem(identity.key) + certificates_pem([identity.certificate])
        with OpenDirectory.open(self._path.parent) as directory:
            directory.write(self._path.name, content)
            directory.sync()


def ocsp_resources(config: OcspConfig, ca: ReferenceCA, now: datetime) -> Iterator[Resource]:
    """Yield the resource of a responder, if there is to be one.

    Raises ServingError where there can be none, and StoreError.
    """
    path = config.identity
    if not config.enabled or path is None:
        return
    identities = OcspIdentityFile(path, ca)
    try:
        identities.load(now)
    except CAUnavailable as exc:  # the clock may be wrong, and it is tried again
        _log.error("the OCSP responder has no certificate: %s", exc)
    except CredentialFileError as exc:
        raise ServingError(f"{exc} ([ocsp] identity); move it away, and one is made") from exc
    except OSError as exc:
        raise ServingError(f"{path}: {exc.strerror} ([ocsp] identity)") from exc
    except (LocalProtocolError, Refused, SignerError) as exc:
        raise ServingError(f"[ocsp] enabled: the CA cannot certify a responder: {exc}") from exc
    responder = OcspResponder(
        issuer=ca.certificate, store=ca.store, identity=identities, times=config.times
    )
    yield ocsp_resource(responder.answer)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
