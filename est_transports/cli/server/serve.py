"""`est serve`: an EST server from a directory of `est init`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click
from cryptography.hazmat.backends.openssl import backend

from est_core import SIMPLEENROLL, Authentication, LocalProtocolError, __version__
from est_transports import _clock
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import StoreError
from est_transports.cli.options import set_json, verbose_option
from est_transports.cli.server.directory import (
    directory_argument,
    local_errors,
    opened_store,
    read_config,
)
from est_transports.cli.server.listeners import open_listeners, say_published, say_ready
from est_transports.daemon.log_output import LogHandler, hold_standard_descriptors
from est_transports.daemon.systemd import (
    READY,
    PriorityFormatter,
    is_journal,
    notify,
    reloading,
)
from est_transports.drive.observe import (
    JsonFormatter,
    TextFormatter,
    log_request,
    observers,
)
from est_transports.pki.trust import CredentialFileError
from est_transports.service.audit import trail_of
from est_transports.service.config.coap import DEFAULT_COAP_PORT
from est_transports.service.config.keys import keys_at_start
from est_transports.service.config.listen import DEFAULT_PORT, ListenAddress, parse_listen
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.config.settings import MAX_WORKERS, ServerConfig
from est_transports.service.crl_loading import State, crl_states
from est_transports.service.errors import ServingError
from est_transports.service.loading import CredentialChecks, Service, load_service
from est_transports.service.running import Running
from est_transports.service.startup_checks import prepared_notice
from est_transports.service.watch import Watch
from est_transports.toml.tables import ConfigError

_log: Final = logging.getLogger("est_transports")

_CERT: Final = "cert"
_SRP: Final = "srp"
_WAYS: Final = frozenset({_CERT, _SRP, *(scheme.value for scheme in Scheme)})
_STDERR: Final = 2
_NO_DIGEST_SECRETS: Final = (
    f"--auth turns Digest on and {CONFIG_FILE} does not: users get no secret for it, and their"
    f' right passwords are refused; put "digest" into schemes under [auth] of {CONFIG_FILE}, then'
    " give passwords again with est user add --force"
)
_ONLY_AT_START: Final = {table: keys_at_start(table) for table in ("server", "coap", "publication")}


class _Listen(click.ParamType[ListenAddress]):
    name = "HOST:PORT"

    def __init__(self, default_port: int = DEFAULT_PORT) -> None:
        self._default_port = default_port

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> ListenAddress:
        """Return the address; click calls it with the default's result too."""
        if isinstance(value, ListenAddress):
            return value
        try:
            return parse_listen(str(value), self._default_port)
        except LocalProtocolError as exc:
            self.fail(exc.message, param, ctx)


class AuthenticationWords(click.ParamType[frozenset[str]]):
    """What --auth takes: the ways in which clients may prove who they are."""

    name = "WORDS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str]:
        """Return the words."""
        if isinstance(value, frozenset):
            return value
        words = frozenset(word.strip() for word in str(value).split(","))
        if unknown := sorted(words - _WAYS):
            known = ", ".join(sorted(_WAYS))
            self.fail(f"{unknown[0]!r} is none of {known}; write some, with commas", param, ctx)
        return words


@click.command()
@directory_argument
@click.option("--listen", type=_Listen(), help="Where to listen. Default: 127.0.0.1:8443.")
@click.option(
    "--coap",
    type=_Listen(DEFAULT_COAP_PORT),
    help="Where to serve EST-coaps too (EST over CoAP and DTLS): HOST:PORT; port 5684 if none is "
    "given. Default: nowhere.",
)
@click.option(
    "--auth",
    type=AuthenticationWords(),
    help="How clients may enroll: some of basic, digest, bearer, otp, cert, srp, with commas "
    "between.",
)
@click.option(
    "--require-pop",
    is_flag=True,
    help="Only take requests that are linked to their TLS or DTLS connection.",
)
@click.option("--workers", metavar="N", type=click.IntRange(1, MAX_WORKERS), help="Processes.")
@click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=set_json, help="Log in JSON."
)
@verbose_option
def serve(
    directory: Path,
    listen: ListenAddress | None,
    coap: ListenAddress | None,
    auth: frozenset[str] | None,
    require_pop: bool,
    workers: int | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Serve EST from DIR until SIGTERM or ctrl-C; SIGHUP reads DIR's files again.

    The options override DIR/est.toml. On standard error there is one line when the server is
    ready, then one for each request, as JSON with --json.
    """

    options = partial(
        overridden,
        listen=listen,
        coap=coap,
        auth=auth,
        require_pop=require_pop,
        workers=workers,
    )
    hold_standard_descriptors()
    _serve(_Loader(directory, options), as_json=as_json)


def overridden(
    config: ServerConfig,
    *,
    listen: ListenAddress | None = None,
    coap: ListenAddress | None = None,
    auth: frozenset[str] | None = None,
    require_pop: bool = False,
    workers: int | None = None,
) -> ServerConfig:
    """Return the configuration with what was given instead of what the file says.

    `auth` are words of est.toml's schemes, "cert" and "srp"; it and `require_pop` hold under every
    label. Raises LocalProtocolError as ServerConfig.
    """
    rules, labels = config.auth, config.labels
    if auth is not None:
        schemes = frozenset(scheme for scheme in Scheme if scheme.value in auth)
        by_tls = _CERT in auth or _SRP in auth
        chosen = _enrolled_by(rules.authentication[SIMPLEENROLL], bool(schemes), by_tls)
        ways = {**rules.authentication, SIMPLEENROLL: chosen}
        rules = replace(
            rules, schemes=schemes or rules.schemes, authentication=MappingProxyType(ways)
        )
        labels = tuple(replace(label, enroll=None) for label in labels)
    if require_pop:
        rules = replace(rules, require_pop=True)
        labels = tuple(replace(label, require_pop=None) for label in labels)
    srp = config.srp if auth is None else replace(config.srp, enabled=_SRP in auth)
    return replace(
        config,
        srp=srp,
        listen=listen or config.listen,
        coap=replace(config.coap, listen=coap or config.coap.listen),
        workers=workers or config.workers,
        auth=rules,
        labels=labels,
    )


def _enrolled_by(usual: Authentication, by_http: bool, by_tls: bool) -> Authentication:
    """Return what enrollment needs: of both ways either will do, unless the file wants both."""
    if not by_http:
        return Authentication.CERT
    if not by_tls:
        return Authentication.HTTP
    both = Authentication.CERT_AND_HTTP
    return usual if usual is both else Authentication.CERT_OR_HTTP


class _Loader:
    """Makes a Service of DIR as it is now, at the start and whenever SIGHUP says so."""

    def __init__(self, directory: Path, options: Callable[[ServerConfig], ServerConfig]) -> None:
        self._path = directory / CONFIG_FILE
        self._options = options
        written = read_config(directory)
        self._config = options(written)
        self.digest_by_option: bool = (
            Scheme.DIGEST in self._config.auth.schemes - written.auth.schemes
        )
        self.store = opened_store(self._config)
        self._checks = CredentialChecks()
        self._main = os.getpid()
        self._secret: ServerSecret | None = None
        self._seen: tuple[State, ...] = ()
        self.left_prepared: tuple[str, ...] = ()
        self.watch = Watch(self.store)
        self.trail = trail_of(self._config.audit)

    def load(self) -> Service:
        """Return what is to be served first. Raises CliError."""
        with local_errors():
            self.store.check()
            self._seen = crl_states(self._config.crls)  # before they are read
            service = load_service(
                self._config, store=self.store, checks=self._checks, issue_log=self.trail
            )
            # Not at a reload, which takes a store that was replaced only once all else is in order.
            self.left_prepared = tuple(
                prepared_notice(self._config, self.store, _clock.instant().wall)
            )
            self.store.release()  # workers open it themselves
        self._secret = service.secret
        self.watch.told(service)
        return service

    def reload(self) -> Service | None:
        """Return what is to be served from now on, None where the files do not allow it.

        The main process, which the service manager knows, tells it.
        """
        if os.getpid() != self._main:
            return self._reload()
        notify(*reloading())
        try:
            return self._reload()
        finally:
            notify(READY)
            if self._config.workers > 1:
                self.store.release()  # a worker that is forked later opens it itself

    def _reload(self) -> Service | None:
        try:
            config = self._options(load_config(self._path))
            if config.ca.store != self._config.ca.store:
                raise ServingError("[ca] store: another one needs a restart")
            # What needs a restart stays as it is, and serves with what is new all the same.
            coap = replace(config.coap, listen=self._config.coap.listen)
            listen = self._config.publication.listen
            publication = replace(config.publication, listen=listen)
            seen = crl_states(config.crls)
            service = load_service(
                replace(config, coap=coap, publication=publication),
                store=self.store,
                checks=self._checks,
                secret=self._secret,
                issue_log=self.trail,
            )
            self._take_store()
            self._seen = seen
        except (
            ConfigError, CredentialFileError, LocalProtocolError, ServingError, StoreError
        ) as exc:  # fmt: skip
            _log.error("not reloaded, everything stays as it was: %s", exc)
            return None
        self._say_what_needs_a_restart(config)
        self._secret = self._secret or service.secret
        _say_notices(service)
        self.watch.told(service)
        return service

    def _say_what_needs_a_restart(self, config: ServerConfig) -> None:
        was = self._config
        tables = {
            "server": (config, was),
            "coap": (config.coap, was.coap),
            "publication": (config.publication, was.publication),
        }
        for table, (now, before) in tables.items():
            for name in _ONLY_AT_START[table]:
                if getattr(now, name) != getattr(before, name):
                    _log.warning("[%s] %s: needs a restart to change", table, name)
        if config.audit != was.audit:
            _log.warning("[audit]: needs a restart to change")

    def changed(self, service: Service) -> Service | None:
        """Return what is to be served since revocation lists changed, None if that is as before.

        The configuration is the one in force, and nothing is taken of a file that cannot be used.
        """
        seen = crl_states(service.config.crls)
        if seen == self._seen:
            return None
        self._seen = seen  # also if it cannot be used: that is said once, until the next change
        try:
            loaded = load_service(
                service.config,
                store=self.store,
                checks=self._checks,
                secret=service.secret,
                issue_log=self.trail,
            )
        except (CredentialFileError, LocalProtocolError, ServingError, StoreError) as exc:
            _log.error(
                "a revocation list changed: not reloaded, everything stays as it was: %s", exc
            )
            return None
        finally:
            if self._config.workers > 1 and os.getpid() == self._main:
                self.store.release()  # as `reload`
        _log.info("a revocation list changed")
        _say_notices(loaded)
        self.watch.told(loaded)
        return loaded

    def _take_store(self) -> None:
        """Use the store that is in its place now, if it can be used. Raises StoreError."""
        has_workers = self._config.workers > 1 and os.getpid() == self._main
        if self.store.reopen(leave_opening=has_workers):
            _log.warning("%s: is another file than before, and used from now on", self.store.path)
        else:
            self.store.check()


def _serve(loader: _Loader, *, as_json: bool) -> None:
    from est_transports.service.processes import run  # trio, which no other command needs

    service = loader.load()
    listeners = open_listeners(service.config)
    handler = LogHandler()
    formatter = JsonFormatter() if as_json else TextFormatter()
    handler.setFormatter(PriorityFormatter(formatter) if is_journal(_STDERR) else formatter)
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        with local_errors():
            loader.trail.prepare()
        _log.info("est-sansio %s, %s", __version__, backend.openssl_version_text())
        _say_notices(service)
        for line in loader.left_prepared:
            _log.warning("%s", line)
        say_published(service, listeners)
        if loader.digest_by_option:
            _log.warning("%s", _NO_DIGEST_SECRETS)
        run(
            Running(
                service=service,
                sockets=listeners.https,
                datagram_sockets=listeners.coap,
                publication_sockets=tuple(chain(*listeners.published)),
                reload=loader.reload,
                ready=lambda: say_ready(handler, service, listeners, as_json=as_json),
                observe=observers(log_request, loader.trail.observe),
                watch=loader.watch,
                changed=loader.changed,
                ended=loader.trail.close,
            )
        )
        _log.info("stopped")
    finally:
        loader.watch.end()
        _log.removeHandler(handler)
        listeners.close()
        with local_errors():
            loader.store.close()


def _say_notices(service: Service) -> None:
    now = _clock.instant().wall
    bad = {validity.text(now) for validity in service.validities if validity.standing(now).is_bad}
    for notice in service.notices:
        _log.log(logging.ERROR if notice in bad else logging.WARNING, "%s", notice)
