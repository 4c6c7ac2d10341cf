"""A one-time code and several processes: one certificate, and it is not lost when one is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from est_core import (
    Challenge,
    Channel,
    ClientIdentity,
    EnrollRequested,
    Instant,
    Issue,
    TlsVersion,
)
from est_transports.authority.application import Authority
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.authentication.codes import KnownCode
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.test_sqlite import ROOT
from tests.transports.authority.stores.test_sqlite_credentials import CODE
from tests.transports.ca_fakes import NOW, make_authenticator, make_ca, request

_RACER = """
import sys
from est_transports.authority.stores import CodeSpent
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.test_sqlite import numbered
from tests.transports.authority.stores.test_sqlite_credentials import use
store = SqliteStore(sys.argv[1])
store.open()
print("ready", flush=True)
sys.stdin.readline()
won = 0
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    try:
        store.record_certificate(numbered(number), spends=use(number))
        won += 1
    except CodeSpent:
        pass
print(won, flush=True)
"""


def winners(path: Path, uses_max: int, tries: int, processes: int = 2) -> list[int]:
    """Have processes try one code with different requests, and return how many won in each."""
    with closing(SqliteStore.create(path)) as store:
        store.add_codes([replace(CODE, uses_max=uses_max)])
    with ExitStack() as stack:
        racers = []
        for start in range(1, processes * tries, tries):
            command = [sys.executable, "-c", _RACER, str(path), str(start), str(start + tries)]
            racers.append(
                stack.enter_context(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        text=True,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                    )
                )
            )
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return [int(racer.communicate(timeout=120)[0]) for racer in racers]


def test_of_two_processes_with_one_code_one_gets_a_certificate(tmp_path: Path) -> None:
    assert sorted(winners(tmp_path / "est.db", uses_max=1, tries=20)) == [0, 1]
    with closing(SqliteStore(tmp_path / "est.db")) as store:
        assert len(store.list_certificates()) == 1
        (found,) = store.list_codes()
        assert found.uses == 1


def test_a_code_of_several_uses_is_used_as_often_and_not_oftener(tmp_path: Path) -> None:
    assert sum(winners(tmp_path / "est.db", uses_max=7, tries=10)) == 7
    with closing(SqliteStore(tmp_path / "est.db")) as store:
        assert len(store.list_certificates()) == 7


_KILLED = """
import os, signal, sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.test_code_races import asking, authority
class Store(SqliteStore):
    def record_certificate(self, record, **others):
        super().record_certificate(record, **others)
        os.kill(os.getpid(), signal.SIGKILL)
key = load_pem_private_key(sys.stdin.buffer.read(), None)
authority(Store(sys.argv[1])).enroll(asking(key))
"""


def authority(store: SqliteStore) -> Authority:
    """Return a CA that takes codes."""
    return Authority(
        ca=make_ca(store),
        store=store,
        authenticator=make_authenticator(store, Scheme.OTP),
        clock=lambda: Instant(mono=1.0, wall=NOW),
    )


def asking(key: ec.EllipticCurvePrivateKey) -> EnrollRequested:
    """Return the request of a device for this key, by the code that there is."""
    return EnrollRequested(
        label=None,
        identity=ClientIdentity(user=CODE.name, context=KnownCode(digest=CODE.digest)),
        channel=Channel(version=TlsVersion.TLS_1_3),
        csr=request(key=key),
        linked=False,
    )


def test_who_is_killed_between_record_and_answer_has_taken_nothing_from_the_device(
    tmp_path: Path,
) -> None:
    path, key = tmp_path / "est.db", ec.generate_private_key(ec.SECP256R1())
    with closing(SqliteStore.create(path)) as store:
        store.add_codes([replace(CODE, uses_max=1)])
    command = [sys.executable, "-c", _KILLED, str(path)]
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert subprocess.run(command, cwd=ROOT, input=pem).returncode == -signal.SIGKILL
    with closing(SqliteStore(path)) as store:
        (record,) = store.list_certificates()
        again = authority(store).enroll(asking(key))
        assert isinstance(again, Issue)
        assert again.certificate.public_bytes(Encoding.DER) == record.der
        other = authority(store).enroll(asking(ec.generate_private_key(ec.SECP256R1())))
        assert other == Challenge(code="auth/code-spent")
        assert store.list_certificates() == (record,)
