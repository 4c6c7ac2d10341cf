"""The commands for who runs a CA: init, serve, user, certs."""

from __future__ import annotations

from est_transports.cli.certs import certs
from est_transports.cli.init import init
from est_transports.cli.serve import serve
from est_transports.cli.users import user

__all__ = ["certs", "init", "serve", "user"]
