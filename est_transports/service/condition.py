"""The condition of a CA's directory, looked at from outside: nothing is made, and nothing changed.

What a server looks at when it starts is asked of the same functions (`load_service`), so that the
two never differ. Beside that are asked those things that a start does not wait for: whether all of
the store is sound, whether the clock was later once, and what is not on record any more.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from enum import Enum, unique
from pathlib import Path
from typing import Final

from est_core import Instant, LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.authentication.kept_secret import SecretLostError, found_secret
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.crls import crl_issuer_key
from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_copy import (
    StoreFacts,
    StoreInUseError,
    facts_of,
    held_alone,
    problems_of,
)
from est_transports.authority.stores.sqlite_files import (
    FULL_BELOW_BYTES,
    LOW_BELOW_BYTES,
    free_bytes,
    trouble,
)
from est_transports.authority.stores.sqlite_schema import open_to_look, store_errors
from est_transports.pki.serials import printed_serial
from est_transports.pki.trust import CredentialFileError
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.config.settings import ServerConfig
from est_transports.service.errors import ServingError
from est_transports.service.loading import Service, load_service
from est_transports.service.startup_checks import prepared_notice, secret_files
from est_transports.service.unrecorded import unrecorded
from est_transports.service.validity import (
    CERTIFICATE_NOTICE,
    CRL_NOTICE,
    Standing,
    Validity,
)
from est_transports.toml.tables import ConfigError

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""Machines that share a store have clocks that differ."""

_GROUP_AND_OTHERS: Final = 0o077


@unique
class Condition(Enum):
    """How something is. The values are the exit codes of plugins for monitoring."""

    OK = 0
    WARNING = 1
    """It works, and somebody should look."""
    CRITICAL = 2
    """Requests fail, or would if the server were started."""


@value_class
class Finding:
    """One thing that was looked at: what it is called, how it is, and what to do about it."""

    about: str
    condition: Condition
    text: str
    remedy: str = ""


@checked
def findings_of(
    directory: Path, *, now: Instant, notice: timedelta = CERTIFICATE_NOTICE, quick: bool = False
) -> tuple[Finding, ...]:
    """Return what is found in a directory; certificates that end within `notice` are warned of.

    With `quick`, not all of the store is read.
    """
    path = directory / CONFIG_FILE
    try:
        config = load_config(path)
    except ConfigError as exc:
        return (Finding(about="config", condition=Condition.CRITICAL, text=str(exc)),)
    found = [_ok("config", f"{path} can be used")]
    found += _disk(config)
    found += _modes(config)
    facts, of_store = _store(config, now, quick=quick)
    found += of_store
    if facts is not None and facts.schema == facts.schema_known:
        found += _loaded(config, now, notice)
    return tuple(found)


def worst_of(findings: Sequence[Finding]) -> Condition:
    """Return the worst condition."""
    return max((each.condition for each in findings), key=lambda each: each.value)


def _ok(about: str, text: str) -> Finding:
    return Finding(about=about, condition=Condition.OK, text=text)


def _bad(about: str, text: str, remedy: str = "") -> Finding:
    return Finding(about=about, condition=Condition.CRITICAL, text=text, remedy=remedy)


def _warning(about: str, text: str, remedy: str = "") -> Finding:
    return Finding(about=about, condition=Condition.WARNING, text=text, remedy=remedy)


def _disk(config: ServerConfig) -> Iterator[Finding]:
    place, free = config.ca.store.parent, free_bytes(config.ca.store)
    if free is None:
        return
    text, remedy = f"{place}: {free // 1024} KiB free", "make room there"
    if free < FULL_BELOW_BYTES:
        yield _bad("disk", f"{text}: nothing can be issued", remedy)
    elif free < LOW_BELOW_BYTES:
        yield _warning("disk", text, remedy)
    else:
        yield _ok("disk", f"{place}: {free // 1024 // 1024} MiB free")


def _modes(config: ServerConfig) -> Iterator[Finding]:
    """Yield files that more than their owner may use; those that all may read, a start tells."""
    wide = False
    for path in secret_files(config):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue  # who reads it says so
        if mode & _GROUP_AND_OTHERS:
            wide = True
            if not mode & stat.S_IROTH:
                remedy = "let it be 0600, or be sure that its group is the server's alone"
                yield _warning("modes", f"{path}: has mode {mode:04o}", remedy)
    if not wide:
        yield _ok("modes", "keys, secrets and the store are their owner's alone")


def _store(
    config: ServerConfig, now: Instant, *, quick: bool
) -> tuple[StoreFacts | None, list[Finding]]:
    """Return what is in the store, None where nobody can tell, and what is found about it."""
    path, found = config.ca.store, []
    try:
        with held_alone(path):
            found.append(_ok("server", f"{path}: no server has it open"))
    except StoreInUseError:
        found.append(_ok("server", f"{path}: a server, or another command, has it open"))
    wrong = trouble(path)
    if wrong:
        return None, [*found, _bad("store", wrong)]
    try:
        with closing(open_to_look(path)) as connection, store_errors(path):
            facts = facts_of(connection)
            problems = () if quick else problems_of(connection)
    except StoreError as exc:
        return None, [*found, _bad("store", str(exc), "restore it from a backup: est restore")]
    found += [
        _bad("store", f"{path}: {problem}", "stop the server, and restore a backup: est restore")
        for problem in problems
    ]
    if facts.schema < facts.schema_known:
        text = f"{path}: has schema {facts.schema}, this program has {facts.schema_known}"
        found.append(_warning("store", text, "it is brought up to date when est serve starts"))
    elif not problems:
        how = "its head was read" if quick else "all of it was read, and is sound"
        found.append(_ok("store", f"{path}: {facts.certificates} certificates; {how}"))
    found.append(_clock(facts, now))
    return facts, found


def _clock(facts: StoreFacts, now: Instant) -> Finding:
    newest = facts.newest_at
    if newest is not None and newest > now.wall + CLOCK_TOLERANCE:
        return _bad(
            "clock",
            f"it is {now.wall:%Y-%m-%dT%H:%M:%SZ}, and a certificate was issued at"
            f" {newest:%Y-%m-%dT%H:%M:%SZ}",
            "set the clock",
        )
    return _ok("clock", "not before the certificate that was issued last")


def _loaded(config: ServerConfig, now: Instant, notice: timedelta) -> Iterator[Finding]:
    """Yield what a server would find that loads the configuration now."""
    try:
        with closing(SqliteStore(config.ca.store)) as store:
            secret = _secret(config, store, now)
            usable = _published_nowhere(config if secret is not None else _without_secret(config))
            service = load_service(usable, store=store, secret=secret, clock=lambda: now)
            yield _ok("files", "keys, certificates and revocation lists fit each other")
            yield from _validities((*service.validities, *_own_crl(service, store)), now, notice)
            yield from _notices(service, now)
            yield from _records(config, store)
    except (
        CredentialFileError, LocalProtocolError, SecretLostError, ServingError, StoreError
    ) as exc:  # fmt: skip
        text, _, remedy = str(exc).partition("; ")
        yield _bad("files", text, remedy)


def _secret(config: ServerConfig, store: SqliteStore, now: Instant) -> ServerSecret | None:
    """Return the server's secret, None where there is none and nothing needs it yet."""
    path = config.auth.secret
    if path is None or not (config.auth.needs_secret or config.srp.enabled):
        return None
    return found_secret(path, store, now=now.wall)


def _without_secret(config: ServerConfig) -> ServerConfig:
    """Return a configuration that does not want the secret, which the first start makes."""
    schemes = frozenset(each for each in config.auth.schemes if not each.needs_secret)
    auth = replace(config.auth, schemes=schemes)
    return replace(config, auth=auth, srp=replace(config.srp, enabled=False))


def _published_nowhere(config: ServerConfig) -> ServerConfig:
    """Return a configuration with the usual tables of what makes keys of its own when it starts."""
    names = [each for each in ("publication", "ocsp") if hasattr(config, each)]
    return replace(config, **{each: type(getattr(config, each))() for each in names})


def _validities(
    validities: Sequence[Validity], now: Instant, notice: timedelta
) -> Iterator[Finding]:
    for each in validities:
        usual = each.notice == CERTIFICATE_NOTICE
        validity = replace(each, notice=notice) if usual else each
        standing = validity.standing(now.wall)
        if standing is Standing.GOOD:
            until = "for ever" if validity.ends is None else f"until {validity.ends:%Y-%m-%d}"
            yield _ok("expiry", f"{validity.what}: {until}")
            continue
        text, _, remedy = validity.text(now.wall).partition("; ")
        make = _bad if standing.is_bad else _warning
        yield make("expiry", text, remedy)


def _own_crl(service: Service, store: SqliteStore) -> Iterator[Validity]:
    """Yield how long the list holds that this CA made last."""
    making = service.config.crl
    crl = store.find_crl(crl_issuer_key(service.authority.ca)) if making.enabled else None
    if crl is not None:
        yield Validity(
            what=f"revocation list {crl.number} of this CA",
            starts=crl.this_update,
            ends=crl.next_update,
            notice=CRL_NOTICE,
            verb="lapse",
            else_="who looks it up refuses every certificate of this CA",
            remedy="let est serve make one, or do it with: est crl DIR",
        )


def _notices(service: Service, now: Instant) -> Iterator[Finding]:
    """Yield what a start says beside that, once each."""
    told = {validity.text(now.wall) for validity in service.validities}
    left = prepared_notice(service.config, service.authority.store, now.wall)
    for notice in (*service.notices, *left):
        if notice not in told:
            text, _, remedy = notice.partition("; ")
            yield _warning("setting", text, remedy)


def _records(config: ServerConfig, store: SqliteStore) -> Iterator[Finding]:
    """Yield what the audit file tells of and the store does not know."""
    file = config.audit.file
    if file is None:
        return
    try:
        lacking = unrecorded(store, (file,))
    except OSError as exc:
        yield _warning("records", f"{file}: {exc.strerror}", "let the user who checks read it")
        return
    if not lacking:
        yield _ok("records", f"{file}: every certificate that it tells of is on record")
        return
    some = ", ".join(printed_serial(each.serial) for each in lacking[:3])
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    yield _warning(
        "records",
        f"{file}: tells of {len(lacking)} certificates that are not on record: {some}{more}",
        "an older backup was restored: have their devices enroll anew, or set adopt_unknown",
    )
