"""`python -m benchmarks.issue_kills`: kill -9 between a request and its answer, and what is left.

A CA with a store and a signer that notes in a file what it signs, durably, before it answers. Each
request runs in a fork, which is killed at one of the steps, or at a random moment of its work. Half
of the requests come with a one-time code, half with a user's name; then the same request is sent
again, undisturbed. After each kill and each repeat is held:

* each signature that was noted, and each certificate that was handed out, is on record;
* no serial number is handed out with two contents, and a code brings one certificate, however often
  its request came;
* the repeat gets a certificate, and nothing is left prepared.

With `--local` the key is in the process itself, and only what was handed out can be looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from est_core import (
    Channel,
    ClientIdentity,
    EnrollRequested,
    Instant,
    Issue,
    Limits,
    TlsVersion,
)
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import parse_cert_request
from est_transports.authority import (
    Authenticator,
    Authority,
    CodeRecord,
    IssuedRecord,
    LookUps,
    PasswordChecks,
    Profile,
    ReferenceCA,
    Scheme,
    SqliteStore,
    new_root,
)
from est_transports.authority.authentication.codes import KnownCode
from est_transports.authority.stores import PREPARED
from est_transports.pki import LocalSigner, Signer

STEPS: Final = ("asked", "recorded", "signing", "noted", "signed", "completed", "answered")
_LONGER: Final = 1.15  # than an undisturbed run, so that some are not killed
_NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])

At = Callable[[str], None]


class BrokenError(Exception):
    """What is promised does not hold."""


@dataclass
class Tally:
    """What was seen. `left` counts by step what the kill left: how many rows, in which state."""

    kills: int = 0
    finished: int = 0
    left: dict[str, Counter[str]] = field(default_factory=dict)
    signed_twice: int = 0


class NotingSigner:
    """Signs as something outside of the process: what it signed is known before the answer."""

    def __init__(self, local: LocalSigner, notes: Path, at: At) -> None:
        self._local, self._notes, self._at = local, notes, at

    @property
    def public_key_spki(self) -> bytes:
        """The public key."""
        return self._local.public_key_spki

    def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """Return the signature, once it is noted."""
        self._at("signing")
        signature = self._local.sign(tbs, algorithm)
        with self._notes.open("ab") as notes:
            notes.write(tbs.hex().encode() + b"\n")
            notes.flush()
            os.fsync(notes.fileno())
        self._at("noted")
        return signature


class SteppedStore(SqliteStore):
    """A store that says when it has written something."""

    at: At = staticmethod(lambda _: None)

    def record_certificate(self, record: IssuedRecord, **others: Any) -> None:
        """Write a record; say so."""
        super().record_certificate(record, **others)
        self.at("recorded")

    def complete_certificate(self, serial: str, der: bytes, **others: Any) -> bool:
        """Complete a record; say so, before and behind."""
        self.at("signed")
        completed = super().complete_certificate(serial, der, **others)
        self.at("completed")
        return completed


class Site:
    """A CA in a directory, and the devices that ask it."""

    def __init__(self, directory: Path, *, local: bool) -> None:
        self.store, self.notes = directory / "est.db", directory / "signed"
        self.answers = directory / "answers"
        self.notes.touch()
        self._key = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
        self._local = local
        self._root = self._new_root()
        self._device = ec.generate_private_key(ec.SECP256R1())
        SqliteStore.create(self.store).close()

    def _new_root(self) -> x509.Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        self._key = LocalSigner(key)
        return new_root(_NAME, self._key, key.public_key(), now=_NOW, entropy=os.urandom)

    def request(self, number: int) -> EnrollRequested:
        """Return the request of a device: the even ones have a code."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"device-{number}")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        der = builder.sign(self._device, hashes.SHA256()).public_bytes(Encoding.DER)
        code = None if number % 2 else KnownCode(digest=_digest(number))
        return EnrollRequested(
            label=None,
            identity=ClientIdentity(user=f"device-{number}", context=code),
            channel=Channel(version=TlsVersion.TLS_1_3),
            csr=parse_cert_request(der, Limits()),
            linked=False,
        )

    def answer(self, question: EnrollRequested, at: At) -> None:
        """Decide on a request, and hand out the certificate: it is written into `answers`."""
        at("asked")
        with closing(SteppedStore(self.store)) as store:
            store.at = at
            signer: Signer = self._key if self._local else NotingSigner(self._key, self.notes, at)
            decision = self._authority(store, signer).enroll(question)
            if not isinstance(decision, Issue):
                raise BrokenError(f"refused: {decision}")
            self.answers.write_bytes(decision.certificate.public_bytes(Encoding.DER))
            at("answered")

    def _authority(self, store: SqliteStore, signer: Signer) -> Authority:
        ca = ReferenceCA(
            certificate=self._root,
            signer=signer,
            store=store,
            profiles={"default": Profile(name="default")},
            default_profile="default",
            entropy=os.urandom,
        )
        authenticator = Authenticator(
            store=store,
            schemes=frozenset({Scheme.BASIC}),
            passwords=PasswordChecks(),
            look_ups=LookUps(),
            now=lambda: _NOW,
        )
        now = Instant(mono=1.0, wall=_NOW)
        return Authority(ca=ca, store=store, authenticator=authenticator, clock=lambda: now)

    def add_code(self, number: int) -> None:
        """Make the code of a device."""
        code = CodeRecord(
            name=f"device-{number}",
            digest=_digest(number),
            uses_max=1,
            created_at=_NOW,
            expires_at=_NOW + timedelta(days=1),
        )
        with closing(SqliteStore(self.store)) as store:
            store.add_codes([code])


def _digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise BrokenError("alive")


def run(site: Site, number: int, step: str = "", after_s: float | None = None) -> bool:
    """Have a request answered in a fork, killed at a step or after a time; True if it ended."""
    site.answers.unlink(missing_ok=True)
    question = site.request(number)

    def at(reached: str) -> None:
        if reached == step:
            _die()

    child = os.fork()
    if not child:
        try:
            site.answer(question, at)
        except BaseException as exc:  # noqa: BLE001 - a fork ends here
            print(exc, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise BrokenError(f"device-{number}: the request was not answered")
    return os.WIFEXITED(status)


def check(site: Site, number: int, answers: list[bytes], *, repeated: bool) -> str:
    """Hold what is promised; return what is on record for the device. Raises BrokenError."""
    with closing(SqliteStore(site.store)) as store:
        rows = store.list_certificates(user=f"device-{number}", limit=100)
        prepared = store.list_certificates(state=PREPARED, limit=100)
    if site.answers.exists():
        answers.append(site.answers.read_bytes())
    on_record = {x509.load_der_x509_certificate(row.der).tbs_certificate_bytes for row in rows}
    for line in site.notes.read_text().splitlines():
        if bytes.fromhex(line) not in on_record:
            raise BrokenError(f"device-{number}: a signature without a record")
    issued = {row.der for row in rows if row.state != PREPARED}
    if not set(answers) <= issued:
        raise BrokenError(f"device-{number}: a certificate was handed out that is not on record")
    if number % 2 == 0 and (len(rows) > 1 or len(set(answers)) > 1):
        raise BrokenError(f"device-{number}: a code brought two certificates")
    if repeated and (prepared or not answers):
        raise BrokenError(f"device-{number}: the repeat left something prepared, or got nothing")
    return " and ".join(sorted(row.state for row in rows)) or "nothing"


def kill(site: Site, number: int, step: str, after_s: float | None, tally: Tally) -> None:
    """Kill one request, look, send it again, look."""
    if number % 2 == 0:
        site.add_code(number)
    answers: list[bytes] = []
    site.notes.write_bytes(b"")
    if run(site, number, step, after_s):
        tally.finished += 1
    else:
        tally.kills += 1
    state = check(site, number, answers, repeated=False)
    tally.left.setdefault(step or "random", Counter())[state] += 1
    if not run(site, number):
        raise BrokenError("killed by somebody else")
    check(site, number, answers, repeated=True)
    notes = site.notes.read_text().splitlines()
    tally.signed_twice += len(notes) - len(set(notes))


def kills(count: int, chance: Random, *, local: bool) -> Tally:
    """Kill so many requests: by turns at each step, and at random."""
    tally = Tally()
    steps = ("asked", "recorded", "answered") if local else STEPS
    with tempfile.TemporaryDirectory() as place:
        site = Site(Path(place), local=local)
        begun = time.monotonic()
        run(site, 1)
        usual_s = time.monotonic() - begun
        number = 1
        while tally.kills < count:
            number += 1
            step = (*steps, "")[number // 2 % (len(steps) + 1)]
            after_s = None if step else chance.uniform(0, usual_s * _LONGER)
            kill(site, number, step, after_s, tally)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill as often as was asked for, print what was seen; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.issue_kills")
    parser.add_argument("--count", type=int, default=300, help="how many kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--local", action="store_true", help="the CA's key is in the process")
    options = parser.parse_args(arguments)
    try:
        tally = kills(options.count, Random(options.seed), local=options.local)
    except BrokenError as exc:
        print(exc, file=sys.stderr)
        return 1
    seen = MappingProxyType({**vars(tally), "left": tally.left})
    print(json.dumps(dict(seen), indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
