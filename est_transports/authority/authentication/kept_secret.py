"""The server's secret beside the store that needs it: neither is taken for good without the other.

A secret that was lost must not be made anew in silence: all tokens and one-time codes would be
void, and whoever holds one would hear that it is wrong. The same goes for a file that is another
one than they were made with, from another machine or an older backup. So the store notes a check
value of the secret, and is asked.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from est_core import Entropy
from est_core.arguments import checked
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import Store
from est_transports.pki.trust import CredentialFileError

_REMEDY: Final = (
    "restore it from a backup, or give up what is void without it:"
    " est token remove --all, est otp remove --all"
)


class SecretLostError(Exception):
    """The store has tokens or codes, and the secret that they are hashed with is not there.

    The text is one line; `remedy` says what to do.
    """

    def __init__(self, text: str, remedy: str = _REMEDY) -> None:
        super().__init__(text)
        self.remedy = remedy


class KeptSecret(NamedTuple):
    """The secret, and whether it takes the place of another one, which nothing needs any more."""

    secret: ServerSecret
    is_another: bool


@checked
def kept_secret(path: Path, store: Store, *, entropy: Entropy, now: datetime) -> KeptSecret:
    """Return the secret that the store's tokens and codes are hashed with, new where it has none.

    Several processes may do so at once. Raises SecretLostError, CredentialFileError, StoreError.
    """
    if not _is_there(path) and store.needs_secret(now=now):
        raise _missing(path)
    secret = ServerSecret.load_or_make(path, entropy)
    before, value = store.find_secret_check(), secret.check_value()
    if not store.keep_secret_check(value, now=now):
        raise _another(path)
    return KeptSecret(secret=secret, is_another=before is not None and before != value)


@checked
def found_secret(path: Path, store: Store, *, now: datetime) -> ServerSecret | None:
    """Return the secret that `kept_secret` would, None where that would make one.

    Nothing is made and nothing noted. Raises as `kept_secret`.
    """
    needs = store.needs_secret(now=now)
    if not _is_there(path):
        if needs:
            raise _missing(path)
        return None
    secret = ServerSecret.load(path)
    noted = store.find_secret_check()
    if needs and noted is not None and not hmac.compare_digest(noted, secret.check_value()):
        raise _another(path)
    return secret


def _missing(path: Path) -> SecretLostError:
    return SecretLostError(f"{path}: is missing, and the store has tokens or codes that need it")


def _another(path: Path) -> SecretLostError:
    return SecretLostError(f"{path}: is another secret than the store's tokens and codes need")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as exc:
        raise CredentialFileError(path, exc.strerror or "cannot be read") from exc
