"""What an enrollment by `est serve` costs by how clients come: connections, keys, passwords, wires.

All is what one core does for several clients at once, TLS 1.3 over HTTPS, with a durable record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.crowd import Client, crowd
from benchmarks.load import USUAL, coaps_clients, https_clients
from benchmarks.measure import Contender, Plan, compared, turns_of
from benchmarks.processes import Serving, apart, est_serve
from benchmarks.site import PASSWORD, RSA_BITS, USER, Site
from benchmarks.table import Row, Target, cpu_row
from est_transports import _clock
from est_transports.authority.stores.passwords import SALT_BYTES, hash_password
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.config.reader import CONFIG_FILE, load_config

USERS: Final = 1000
"""More than enroll in one run, each for the first time."""
NEW: Final = "client certificate, new connection"
REMEMBERED: Final = "password that is remembered, new connection"
FIRST: Final = "password of a user who is new, new connection"
KEPT: Final = "client certificate, kept connection"
RSA: Final = f"client certificate, new connection, all keys RSA {RSA_BITS}"
COAPS: Final = "EST-coaps, new association"
COAPS_KEPT: Final = "EST-coaps, kept association"
_OF_RATE: Final = Target(bound=0.85, at_least=True)


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure all manners in turns, each with the same number of clients."""
    count = plan.several
    add_users(site)
    other = Site.made(site.directory.with_name("rsa"), of_rsa=True)
    passwords = replace(USUAL, certified=False)
    with ExitStack() as stack:
        serving = stack.enter_context(est_serve(site, "--auth", "basic,cert"))
        of_rsa = stack.enter_context(est_serve(other))
        stack.enter_context(apart((serving, of_rsa)))
        port, coap_port = serving.port, serving.coap_port
        manners: dict[str, tuple[Serving, Sequence[Client]]] = {
            NEW: (serving, https_clients(site, port, count)),
            KEPT: (serving, https_clients(site, port, count, replace(USUAL, kept=True))),
            REMEMBERED: (serving, https_clients(site, port, count, passwords)),
            FIRST: (serving, https_clients(site, port, count, passwords, new_users())),
            RSA: (of_rsa, https_clients(other, of_rsa.port, count)),
            COAPS: (serving, coaps_clients(site, coap_port, count)),
            COAPS_KEPT: (serving, coaps_clients(site, coap_port, count, kept=True)),
        }
        contenders = []
        for name, (server, clients) in manners.items():
            for client in clients:
                stack.callback(client.close)
            latencies_s: list[float] = []
            contenders.append(
                Contender(
                    name=name,
                    run=crowd(clients, latencies_s),
                    cpu_s=server.cpu_s,
                    latencies_s=latencies_s,
                )
            )
        turns = dict(zip(manners, turns_of(contenders, plan.longer()), strict=True))
    for name in manners:
        yield cpu_row(
            compared(turns[name], turns[NEW]),
            subject="sizing",
            name=name,
            group=f"{count} clients",
            yardstick=NEW,
        )
    measured = compared(turns[REMEMBERED], turns[NEW])
    yield Row(
        subject="sizing",
        name="enrollments with a password that is remembered",
        group=f"{count} clients",
        value=measured.per_second,
        unit="/s",
        ratio=measured.rate_ratio,
        yardstick=NEW,
        target=_OF_RATE,
    )


def add_users(site: Site) -> None:
    """Let the user of the benchmarks be known, and those who come for the first time.

    They all send the same request, so names are bound to nobody.
    """
    record = hash_password(PASSWORD, _clock.entropy(SALT_BYTES))
    config = site.directory / CONFIG_FILE
    text = config.read_text("utf-8")
    config.write_text(text.replace("[auth]", '[auth]\nnames = "any"', 1), "utf-8")
    path: Path = load_config(config).ca.store
    with closing(SqliteStore(path)) as store:
        store.add_user(USER, record)
        for name in new_users():
            store.add_user(name, record)


def new_users() -> Iterator[str]:
    """Return the names of those who come for the first time."""
    return (f"new-{number}" for number in range(USERS))
