"""What hostile peers of the transports can make us wait for, hold, or believe."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from est_core import AuthenticateRequested, Decision, Limits, RemoteProtocolError, ServerQuestion
from est_core.wires.httpmap import RequestHead
from est_transports import _clock
from est_transports.authority.stores import IssuedRecord, StoreBusy, StoreError, sqlite_connections
from est_transports.authority.stores.passwords import PasswordChecks
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_schema import open_database
from est_transports.channel.tls import FRUITLESS_BYTES, TlsError
from est_transports.fairness import connection_slots
from est_transports.http.client_wire import ClientConnection
from est_transports.http.server_wire import ProtocolFault, ServerConnection
from est_transports.pki import credential_files
from est_transports.pki.trust import CredentialFileError, load_pem_certificates
from est_transports.service.config.reader import load_config
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import CredentialChecks, load_service
from tests.application import FakeApplication
from tests.transports.authority.stores.test_passwords import UsersFake
from tests.transports.ca_fakes import NOW, MemoryStore
from tests.transports.https_site import (
    CACERTS,
    CACERTS_CLOSE,
    enroll_request,
    service,
    statuses,
)
from tests.transports.key_updates import KeyUpdates
from tests.transports.on_trio.test_client_and_server import (
    UNHURRIED,
    advance,
    client_engine,
    mock_instant,
    on_advancing_clock,
    on_trio,
    read_all,
    read_answer,
    running,
)
from tests.transports.tls_pair import V13, Pair, a_client, a_server, connected

BASIC = b"Authorization: Basic ZGV2aWNlOndyb25n"

# More clients than slots


def hello() -> bytes:
    """The first thing that a client of TLS says."""
    engine = client_engine()
    engine.handshake()
    return engine.outgoing()


@pytest.fixture
def early_eviction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections give way sooner, so that tests need not wait."""
    monkeypatch.setattr(connection_slots, "EVICT_AFTER_S", 0.1)


@on_trio
async def test_silent_connections_give_way_to_a_client_that_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(connections_max=1, half_open_max=2) as est:
        silent = [await trio.open_tcp_stream("127.0.0.1", est.port) for _ in range(6)]
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        for stream in silent[:4]:
            assert await stream.receive_some() == b""
        assert est.log.codes == [(200, "")]
        assert "1 connections that said nothing gave way" in caplog.text
        assert len(caplog.records) == 1
        for stream in silent:
            await stream.aclose()


@on_trio
async def test_handshakes_that_stand_still_give_way_to_a_client_that_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_slots, "HANDSHAKE_GRACE_S", 0.0)
    async with running(connections_max=1, half_open_max=2) as est:
        still = [await trio.open_tcp_stream("127.0.0.1", est.port) for _ in range(2)]
        for stream in still:
            await stream.send_all(hello())
            assert await stream.receive_some()  # the server's part of the handshake
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        assert await still[0].receive_some() == b""
        assert est.log.codes == [(0, "tls/no-room"), (200, "")]
        for stream in still:
            await stream.aclose()


@pytest.mark.usefixtures("early_eviction")
@pytest.mark.parametrize(
    ("sent", "told"),
    [(b"", []), (CACERTS, [200]), (CACERTS + CACERTS[:9], [200, 408]), (CACERTS[:9], [408])],
)
@on_trio
async def test_the_one_who_waited_longest_gives_way_and_is_told(
    sent: bytes, told: list[int]
) -> None:
    async with running(connections_max=1) as est:
        idle = await est.connect()
        await idle.do_handshake()
        if sent:
            await idle.send_all(sent)
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        assert statuses(await read_all(idle)) == told


@on_advancing_clock
async def test_nobody_gives_way_while_nobody_waits_or_to_a_slow_application() -> None:
    gate, entered = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        gate.wait(60)

    application = FakeApplication(before=work)
    config = service(timeouts=UNHURRIED)
    async with running(
        application=application, config=config, connections_max=1, clock=mock_instant
    ) as est:
        first = await est.connect()
        await first.do_handshake()
        too_long_s = 3 * connection_slots.EVICT_AFTER_S  # when slots are short
        advance(too_long_s)
        await trio.testing.wait_all_tasks_blocked()
        await first.send_all(CACERTS)
        await trio.to_thread.run_sync(entered.wait)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(est.ask, CACERTS_CLOSE)
            while not est.server._slots._slots.is_wanted:
                await trio.sleep(0)
            advance(too_long_s)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
            assert statuses(await read_answer(first)) == [200]


@pytest.mark.usefixtures("early_eviction")
@on_trio
async def test_a_request_that_is_worked_on_for_long_keeps_nobody_from_giving_way() -> None:
    gate, entered, left = (threading.Event() for _ in range(3))

    def work() -> None:
        if not entered.is_set():  # the first one
            entered.set()
            gate.wait(5)
            left.set()

    application = FakeApplication(before=work)
    async with running(application=application, connections_max=2) as est:
        first = await est.connect()
        await first.send_all(CACERTS)
        await trio.to_thread.run_sync(entered.wait)
        idle = await est.connect()
        await idle.do_handshake()
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        assert await read_all(idle) == b""
        assert not left.is_set()
        gate.set()
        assert statuses(await read_answer(first)) == [200]


@on_trio
async def test_a_retired_server_goes_on_with_the_connections_it_has() -> None:
    async with running() as est:
        stream = await est.connect()
        await stream.do_handshake()
        est.server.retire(5)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", est.port)
        for _ in range(2):
            await stream.send_all(CACERTS)
            assert statuses(await read_answer(stream)) == [200]


# Passwords


class SlowDoors(FakeApplication):
    """Takes its time over credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waiting = threading.Event(), threading.Semaphore(0)

    def decide(self, question: ServerQuestion) -> Decision:
        """Wait, then verify."""
        if isinstance(question, AuthenticateRequested):
            self.waiting.release()
            self.gate.wait(5)
        return super().decide(question)


@on_trio
async def test_who_guesses_passwords_does_not_keep_the_others_waiting() -> None:
    application = SlowDoors()
    guess = enroll_request(b"x", BASIC, b"Connection: close")
    async with running(application=application, threads=1) as est, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(est.ask, guess)
        for _ in range(3):
            await trio.to_thread.run_sync(application.waiting.acquire)
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        application.gate.set()


def test_few_threads_ever_hold_the_memory_of_a_password_check() -> None:
    seen: set[int] = set()

    def record_of(_user: str) -> None:
        seen.add(threading.get_ident())

    checks = PasswordChecks(at_once=2)
    with ThreadPoolExecutor(6) as pool:
        results = [pool.submit(checks.check, "who", "what", UsersFake(record_of)) for _ in range(6)]
        assert not any(result.result() for result in results)
    assert 1 <= len(seen) <= 2


# TLS and HTTP


def key_updates() -> tuple[Pair, KeyUpdates]:
    """Two ends that are connected, and a third that writes in the client's name."""
    client, lines = a_client(), list[bytes]()
    client.openssl.set_keylog_callback(lambda _connection, line: lines.append(line))
    pair = connected(client, a_server(version=V13))
    pair.deliver()
    (secret,) = [line.split()[2] for line in lines if line.startswith(b"CLIENT_TRAFFIC_SECRET_0")]
    return pair, KeyUpdates(bytes.fromhex(secret.decode()))


def test_key_updates_without_end_are_cut_off() -> None:
    pair, records = key_updates()
    received = 0

    def flood() -> None:
        nonlocal received
        updates = b"".join(records.update() for _ in range(1000))
        received += len(updates)
        pair.server.receive(updates)
        assert pair.server.read() is None
        assert len(pair.server.outgoing()) < 2 * len(updates)

    while received + 30_000 < FRUITLESS_BYTES:
        flood()
    with pytest.raises(TlsError, match="no data") as caught:
        flood()
    assert caught.value.code == "tls/protocol"


def test_key_updates_between_data_are_in_order() -> None:
    pair, records = key_updates()
    for _ in range(30):
        flood = b"".join(records.update() for _ in range(400))
        pair.server.receive(flood + records.data(b"data"))
        assert pair.server.read() == b"data"
        assert pair.server.read() is None


@pytest.mark.parametrize("size", [2, 1000])
def test_empty_lines_without_end_are_a_fault(size: int) -> None:
    wire, sent = ServerConnection(limits=Limits(head_bytes=4096)), 0
    while (event := wire.next_event()) is None:
        wire.receive(b"\r\n" * size)
        sent += 2 * size
    assert isinstance(event, ProtocolFault)
    assert event.code == "http/malformed-head"
    assert 4096 < sent <= 4096 + 2 * size


def test_interim_answers_without_end_are_a_head_too_large() -> None:
    wire = ClientConnection(limits=Limits(head_bytes=4096))
    wire.send_request(RequestHead(method=b"GET", target=b"/", headers=((b"Host", b"x"),)), b"")
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    for _ in range(4096 // len(interim)):
        wire.receive(interim)
        assert wire.next_event() is None
    wire.receive(interim)
    with pytest.raises(RemoteProtocolError) as caught:
        wire.next_event()
    assert caught.value.code == "http/head"


# The store, and files


def numbered(number: int) -> IssuedRecord:
    return IssuedRecord(
        serial=f"{number + 1:x}",
        subject="",
        not_before=NOW,
        not_after=NOW,
        der=b"d",
        spki_sha256=b"s",
        issued_at=NOW,
        operation="simpleenroll",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "est.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(path)) as made:
        yield made
    path.unlink(missing_ok=True)


def test_a_store_that_is_held_for_long_makes_nobody_wait_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_S", 0.5)
    monkeypatch.setattr(sqlite_connections, "_SHORT_BUSY_TIMEOUT_S", 0.01)
    SqliteStore.create(path).close()
    timeouts = list[float]()

    def counted(path: Path, *, busy_timeout_s: float, **options: Any) -> sqlite3.Connection:
        timeouts.append(busy_timeout_s)
        return open_database(path, busy_timeout_s=busy_timeout_s, **options)

    monkeypatch.setattr(sqlite_connections, "open_database", counted)

    def refused(number: int) -> None:
        with pytest.raises(StoreBusy):
            held.record_certificate(numbered(number))

    with closing(SqliteStore(path, batch_max=1)) as held:
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(refused, range(8)))
            refused(99)
            assert timeouts.count(0.5) == 1  # of nine; the others are told so with it, or at once
            assert set(timeouts) == {0.5, 0.01}
            holder.execute("ROLLBACK")
        held.record_certificate(numbered(1))
        assert len(held.list_certificates()) == 1


@pytest.mark.parametrize("put_back", [False, True])
def test_nothing_goes_into_a_file_that_is_no_longer_in_its_place(
    put_back: bool, path: Path, store: SqliteStore
) -> None:
    store.record_certificate(numbered(1))
    moved = path.rename(path.with_suffix(".old"))
    if put_back:
        path.write_bytes(moved.read_bytes())
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.record_certificate(numbered(2))
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.find_user("device")
    moved.replace(path)
    store.record_certificate(numbered(3))
    assert [row.serial for row in store.list_certificates()] == ["2", "4"]


def test_a_key_that_everybody_can_read_is_worth_a_notice(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    initialise(directory, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    os.chmod(directory / "ca-key.pem", 0o644)
    service = load_service(
        load_config(directory / "est.toml"),
        store=MemoryStore(),
        checks=CredentialChecks(),
    )
    (notice,) = service.notices
    assert "ca-key.pem: everybody" in notice


def test_a_file_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_files, "MAX_FILE_BYTES", 100)
    (tmp_path / "big").write_bytes(bytes(101))
    with pytest.raises(CredentialFileError, match="larger than 100 bytes"):
        load_pem_certificates(tmp_path / "big")
