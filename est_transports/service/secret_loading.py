"""The server's secret of a configuration, for what of a server needs it."""

from __future__ import annotations

from datetime import datetime

from est_transports import _clock
from est_transports.authority.authentication.kept_secret import SecretLostError, kept_secret
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import Store
from est_transports.service.config.settings import ServerConfig
from est_transports.service.errors import ServingError

_KEY = "[auth] secret"


def loaded_secret(
    config: ServerConfig,
    store: Store,
    served: ServerSecret | None,
    now: datetime,
    notices: list[str],
) -> ServerSecret | None:
    """Return what nonces, tokens and codes are hashed with, None where no scheme needs it.

    A server that serves with one, `served`, goes on with that until it is started again: the store
    is not asked. Raises CredentialFileError for a file that is none, and ServingError for one that
    is not what the store or the server has, or is gone.
    """
    if not (config.auth.needs_secret or config.srp.enabled):
        return None
    path = config.auth.secret
    if path is None:
        raise ServingError(f"{_KEY}: the schemes need a file for the server's secret")
    if served is not None:
        if ServerSecret.load(path) != served:
            raise ServingError(f"{path}: another secret ({_KEY}) needs a restart")
        return served
    try:
        found = kept_secret(path, store, entropy=_clock.entropy, now=now)
    except SecretLostError as exc:
        raise ServingError(f"{exc} ({_KEY}); {exc.remedy}") from exc
    if found.is_another and store.list_srp_users(limit=1):
        notices.append(
            f"{path}: is another secret than before: names that no user of TLS-SRP has"
            " get other answers than they did, which tells them from users who are there"
        )
    return found.secret
