"""`est ca rollover` on the disk: the old CA or the new one, whole, after whatever step it ends."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import CACertsRequested, Channel, ClientIdentity, ProvideCACerts, TlsVersion
from est_core.trust import TrustedAnchors, follow
from est_transports import _clock
from est_transports.authority.rollover import RolloverError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.trust import CredentialFileError, load_pem_certificates
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.errors import ServingError
from est_transports.service.generations import generations_of
from est_transports.service.initialisation import CaSpec, initialise
from est_transports.service.loading import Service, load_service
from est_transports.service.rolling_over import RolledOver, roll_over
from est_transports.toml.tables import ConfigError
from tests.pki import pki

WRITES = ("open", "write", "fsync", "rename")
"""What a rollover asks of the system, each a step at which it may end."""


class Killed(BaseException):
    """The process is gone: nobody tidies up."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA as `est init` makes it."""
    directory = tmp_path_factory.mktemp("rolling") / "ca"
    initialise(directory, CaSpec(name="Plant"), now=_clock.instant(), entropy=_clock.entropy)
    return directory


@pytest.fixture
def ca(made: Path, tmp_path: Path) -> Path:
    """One of its own for a test."""
    return shutil.copytree(made, tmp_path / "ca")


def rolled_over(directory: Path, **more: Any) -> RolledOver:
    with closing(SqliteStore(directory / "est.db")) as store:
        return roll_over(directory, store, now=_clock.instant(), entropy=_clock.entropy, **more)


def loaded(directory: Path) -> Service:
    with closing(SqliteStore(directory / "est.db")) as store:
        return load_service(load_config(directory / CONFIG_FILE), store=store)


def published(service: Service) -> tuple[x509.Certificate, ...]:
    question = CACertsRequested(
        label=None, channel=Channel(version=TlsVersion.TLS_1_3), identity=ClientIdentity()
    )
    answer = service.authority.ca_certs(question)
    assert isinstance(answer, ProvideCACerts)
    return answer.certificates


@pytest.mark.req("EST-119", "EST-121")
def test_a_rollover_is_served_and_followed_and_the_old_key_counts(ca: Path) -> None:
    old = loaded(ca).authority.ca.certificate
    done = rolled_over(ca)
    service = loaded(ca)
    assert done.former == old
    assert service.authority.ca.certificate == done.root != old
    assert set(published(service)) >= {old, done.root}
    assert len(published(service)) == 4
    followed = follow(
        TrustedAnchors.of([old], now=_clock.instant().wall),
        published(service),
        now=_clock.instant().wall,
    )
    assert [each.anchor for each in followed.added] == [done.root]
    assert done.trusted_until == old.not_valid_after_utc
    server, link = service.identity.chain
    assert done.server_file is not None
    assert load_pem_certificates(done.server_file) == (server,)
    assert link in load_pem_certificates(done.links_file)
    assert done.key_file.stat().st_mode & 0o777 == 0o600
    assert (ca / "ca.pem").read_bytes() == old.public_bytes(Encoding.PEM)


def test_a_second_one_goes_on_from_there_and_the_first_stays_served(ca: Path) -> None:
    first = rolled_over(ca)
    second = rolled_over(ca, keep_server=True, kind="EC P-384")
    service = loaded(ca)
    assert len(published(service)) == 7
    assert [each.certificate for each in service.authority.ca.former] == [
        second.former, first.former
    ]  # fmt: skip
    assert second.server_file is None
    with closing(SqliteStore(ca / "est.db")) as store:
        config, now = load_config(ca / CONFIG_FILE), _clock.instant().wall
        counts = [(each.name, each.certificates) for each in generations_of(config, store, now)]
        later = now + timedelta(days=4000)
        assert {each.certificates for each in generations_of(config, store, later)} == {0}
    assert counts == [("3", 0), ("2", 1), ("1", 1)]


def test_keys_that_are_named_nowhere_are_counted_together(ca: Path) -> None:
    rolled_over(ca)
    path = ca / CONFIG_FILE
    path.write_text(path.read_text().partition("[[ca.former]]")[0])
    with closing(SqliteStore(ca / "est.db")) as store:
        found = generations_of(load_config(path), store, _clock.instant().wall)
    assert [(each.name, each.certificates) for each in found] == [("1", 1), ("other", 1)]


@contextmanager
def ending_at(step: int, how: Callable[[str], BaseException]) -> Iterator[list[str]]:
    """End what runs inside the block at a step of its own; the list has the steps it came to.

    After a kill nothing is removed either.
    """
    steps: list[str] = []
    patch = pytest.MonkeyPatch()
    real = {name: getattr(os, name) for name in WRITES}

    def failing(name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return real[name](*args, **more)
            steps.append(name)
            if len(steps) >= step:
                raise how(name)
            return real[name](*args, **more)

        return call

    for name in WRITES:
        patch.setattr(os, name, failing(name))
    if isinstance(how(""), Killed):
        patch.setattr(os, "unlink", _nothing)
    try:
        yield steps
    finally:
        patch.undo()


def _nothing(*_args: Any, **_more: Any) -> None:
    """A process that is gone removes nothing."""


def full(_name: str) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def killed(_name: str) -> Killed:
    return Killed()


def steps_of(ca: Path, how: Callable[[str], BaseException]) -> Iterator[tuple[int, bool]]:
    """Yield each step, and whether the new CA is in place though the rollover ended there."""
    old, names = loaded(ca).authority.ca.certificate, sorted(each.name for each in ca.iterdir())
    for step in range(1, 100):
        with ending_at(step, how) as steps:
            try:
                rolled_over(ca)
            except (Killed, RolloverError):
                pass
            else:
                assert len(steps) < step
                return
        service = loaded(ca)
        is_new = service.authority.ca.certificate != old
        if how is full and not is_new:
            assert sorted(each.name for each in ca.iterdir()) == names
        if is_new:
            assert len(published(service)) % 3 == 1
            return
        yield step, is_new


def test_a_disk_that_fills_at_any_step_leaves_one_ca_whole(ca: Path) -> None:
    assert len(list(steps_of(ca, full))) >= 20


def test_a_kill_at_any_step_leaves_one_ca_whole_and_the_next_try_succeeds(ca: Path) -> None:
    assert len(list(steps_of(ca, killed))) >= 20
    before = loaded(ca).authority.ca.certificate
    rolled_over(ca)
    assert loaded(ca).authority.ca.certificate != before


def test_a_rollover_that_would_not_load_changes_nothing(ca: Path) -> None:
    path = ca / CONFIG_FILE
    path.write_text(path.read_text() + f'\n[ra]\ncertificates = ["{ca / "none.pem"}"]\n')
    path.write_text(path.read_text().replace("[ra]   ", "[body2]   ", 1))
    text = path.read_text().replace("[body2]", "#", 1)
    path.write_text(text)
    names = sorted(each.name for each in ca.iterdir())
    with pytest.raises((CredentialFileError, ConfigError)):
        rolled_over(ca)
    assert sorted(each.name for each in ca.iterdir()) == names
    assert path.read_text() == text


def test_two_at_a_time_are_refused(ca: Path) -> None:
    import fcntl

    descriptor = os.open(ca, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(RolloverError, match="another program"):
            rolled_over(ca)
    finally:
        os.close(descriptor)


def test_a_date_that_is_over_and_an_intermediate_are_refused(ca: Path, tmp_path: Path) -> None:
    with pytest.raises(RolloverError, match="over"):
        rolled_over(ca, until=_clock.instant().wall - timedelta(days=1))
    below = tmp_path / "below"
    initialise(below, CaSpec(intermediate=True), now=_clock.instant(), entropy=_clock.entropy)
    with pytest.raises(RolloverError, match="only a root"):
        rolled_over(below)


def test_a_server_whose_old_key_counts_no_more_does_not_trust_it(ca: Path) -> None:
    until = _clock.instant().wall + timedelta(days=2)
    done = rolled_over(ca, until=until)
    assert done.trusted_until == until.replace(microsecond=0)
    later = _clock.instant()
    later = type(later)(mono=later.mono, wall=later.wall + timedelta(days=3))
    config = load_config(ca / CONFIG_FILE)
    with closing(SqliteStore(ca / "est.db")) as store:
        service = load_service(config, store=store, clock=lambda: later)
    assert any("this former CA key issued: expired" in each for each in service.notices)


@pytest.mark.parametrize("what", ["a root", "a stranger's", "the present one", "nothing"])
def test_links_that_are_none_stop_the_start(what: str, ca: Path) -> None:
    done = rolled_over(ca)
    if what == "the present one":
        (ca / "ca.pem").write_bytes(done.certificate_file.read_bytes())
    wrong = {
        "a root": done.root.public_bytes(Encoding.PEM),
        "a stranger's": pki().ca.certificate.public_bytes(Encoding.PEM),
        "nothing": b"",
    }
    done.links_file.write_bytes(wrong.get(what, done.links_file.read_bytes()))
    with pytest.raises((ServingError, CredentialFileError)):
        loaded(ca)
