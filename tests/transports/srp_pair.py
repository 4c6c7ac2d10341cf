"""TLS-SRP in memory, for tests: users in a dict, a server that takes them, and its clients."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from est_transports.channel.engines import client_engine, server_engine
from est_transports.channel.srp_users import (
    FindSrpUser,
    SrpAttempts,
    SrpLogin,
    SrpServerConfig,
    Unthrottled,
)
from est_transports.channel.tls_context import (
    ClientTlsConfig,
    ServerContext,
    client_context,
    server_context,
)
from est_transports.pki.srp_verifiers import srp_verifier
from tests.transports.https_site import tls_context
from tests.transports.tls_pair import Pair, a_server

PASSWORD = "correct horse"
SECRET = b"s" * 32


@dataclass(frozen=True)
class User:
    """What a store knows of a user."""

    name: str
    salt: bytes
    verifier: bytes = field(repr=False)
    bits: int


@cache
def user(name: str = "device-7", password: str = PASSWORD, bits: int = 2048) -> User:
    """Return a user with that password."""
    salt = b"0123456789abcdef"
    return User(name, salt, srp_verifier(name, password, salt=salt, bits=bits), bits)


def users(*some: User) -> dict[str, User]:
    """Return a store: by default one with the user of `user`."""
    return {each.name: each for each in some or (user(),)}


@cache
def _plain() -> ServerContext:
    return a_server()


def srp_server(*some: User, bits: int = 2048, attempts: SrpAttempts | None = None) -> ServerContext:
    """Return a server that takes those users, and certificates besides."""
    srp = SrpServerConfig(
        find=users(*some).get, secret=SECRET, bits=bits, attempts=attempts or Unthrottled()
    )
    return server_context(replace(_plain().config, srp=srp))


def taking(*some: User, find: FindSrpUser | None = None) -> ServerContext:
    """Return the server of test sites, for localhost, which takes those users besides."""
    srp = SrpServerConfig(find=find or users(*some).get, secret=SECRET)
    return server_context(replace(tls_context().config, srp=srp))


def srp_pair(
    server: ServerContext,
    name: str = "device-7",
    password: str = PASSWORD,
    *,
    bits_min: int = 2048,
    peer: str = "",
) -> Pair:
    """Return a client that logs in, and its server, not yet connected."""
    login = SrpLogin(name=name, password=password, bits_min=bits_min)
    client = client_context(ClientTlsConfig(server_name="est.example", srp=login))
    return Pair(client_engine(client), server_engine(server, peer))


def srp_connected() -> Pair:
    """Return both ends after their handshake."""
    return srp_pair(srp_server()).shake_hands()
