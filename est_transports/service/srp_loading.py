"""The users of TLS-SRP of a configuration, for the handshakes of its server."""

from __future__ import annotations

from importlib.util import find_spec

from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import Store
from est_transports.channel.srp_users import SrpAttempts, SrpServerConfig
from est_transports.service.config.settings import SrpConfig
from est_transports.service.errors import ServingError


def srp_users(
    config: SrpConfig, store: Store, secret: ServerSecret | None, attempts: SrpAttempts
) -> SrpServerConfig | None:
    """Return whom the server takes by TLS-SRP, None where it is not enabled.

    Raises ServingError where tlslite-ng is not installed.
    """
    if not config.enabled or secret is None:
        return None
    if find_spec("tlslite") is None:
        raise ServingError("[srp] enabled: needs tlslite-ng: pip install 'est-sansio[server,srp]'")
    return SrpServerConfig(
        find=store.find_srp_user,
        secret=secret.simulation_key(),
        bits=config.bits,
        attempts=attempts,
    )
