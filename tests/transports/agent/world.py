"""A device with its directory on disk, a server in memory, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from est_core import (
    OPERATIONS,
    RENEWAL_INFO,
    Channel,
    ConnectRequested,
    EstUri,
    Failed,
    Instant,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.asn1.pkcs10 import CertRequest
from est_core.life_cycle import RenewalPolicy
from est_core.testing import ExchangePair, Link
from est_transports.agent.actions import Answer, Ask, HookResult, Outcome, RunHook
from est_transports.agent.certificate import CertificateAgent
from est_transports.agent.driving import advance
from est_transports.agent.settings import CertificateSettings, Credentials
from est_transports.pairs import Pair, PairDirectory
from tests.application import PASSWORD, USER, FakeApplication
from tests.core.cast import server_channel
from tests.pki import pki

BEGIN = datetime.now(UTC).replace(microsecond=0)
DAY_S = 86400.0
NAME = "gate"
QUIET = RenewalPolicy(renewal_info=False, trust_s=3650 * DAY_S)


class Killed(BaseException):
    """The process ended here."""


class Cut:
    """Counts points at which a process may end, and ends it at one, by its number or name."""

    def __init__(self, at: int | str | None = None) -> None:
        self.at = at
        self.passed: list[str] = []

    def __call__(self, point: str) -> None:
        """Pass a point, or raise Killed."""
        self.passed.append(point)
        if self.at in (point, len(self.passed)):
            raise Killed(point)


class CutSlots:
    """A pair directory whose user may be killed before and after whatever it changes."""

    def __init__(self, pairs: PairDirectory, cut: Cut) -> None:
        self.path = pairs.path
        self._pairs, self._cut = pairs, cut


def _seen(name: str) -> property:
    return property(lambda self: getattr(self._pairs, name))


def _change(name: str) -> Callable[..., Any]:
    def change(self: CutSlots, *arguments: Any) -> Any:
        self._cut(f"before {name}")
        result = getattr(self._pairs, name)(*arguments)
        self._cut(f"after {name}")
        return result

    return change


def _replace_anchors(self: CutSlots, anchors: Any) -> Pair:
    return self._pairs.replace_anchors(anchors)


for _name in ("running", "previous", "candidate", "state"):
    setattr(CutSlots, _name, _seen(_name))
for _name in ("save_state", "begin", "mark_sent", "receive", "promote", "roll_back", "discard"):
    setattr(CutSlots, _name, _change(_name))
CutSlots.replace_anchors = _replace_anchors  # type: ignore[attr-defined]


@dataclass
class World:
    """The true time, an EST server whose CA knows it, and one device."""

    directory: Path
    policy: RenewalPolicy = QUIET
    life: timedelta = timedelta(days=90)
    options: dict[str, Any] = field(default_factory=dict)
    application: FakeApplication = field(default_factory=FakeApplication)
    wrong: Callable[[float], float] = lambda _: 0.0
    unreachable: Callable[[float], bool] = lambda _: False
    tamper: Callable[[Answer], Answer] = lambda answer: answer
    hook: Callable[[RunHook], HookResult] = lambda _: HookResult()

    def __post_init__(self) -> None:
        self.t = 0.0
        self.chance = Random(7)
        self.hooks: list[RunHook] = []
        self.asked: list[str] = []
        self.trust_class = TrustClass.EXPLICIT
        self.application.certify = self.certify
        trust = self.directory / "ca.pem"
        trust.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
        password = self.directory / "password"
        password.write_text(f"{PASSWORD}\n")
        given: dict[str, Any] = {
            "name": NAME,
            "uri": EstUri(host="est.example", port=443),
            "trust_file": trust,
            "credentials": Credentials(user=USER, password_file=password),
            "subject": x509.Name.from_rfc4514_string("CN=gate"),
            "policy": self.policy,
        }
        self.settings = CertificateSettings(**(given | self.options))
        self.server = ExchangePair(
            policy=default_policy(operations=(*OPERATIONS, RENEWAL_INFO)),
            decide=self.application.decide,
            connect=self._connect,
        )

    def now(self) -> Instant:
        """Return what the device's clocks show."""
        wall = BEGIN + timedelta(seconds=self.t + self.wrong(self.t))
        return Instant(mono=self.t, wall=wall)

    def certify(self, csr: CertRequest) -> x509.Certificate:
        """Issue what is asked for, from the true time on."""
        return self.certificate(csr)

    def certificate(
        self,
        csr: CertRequest,
        *,
        begin: timedelta = timedelta(),
        subject: x509.Name | None = None,
        ca: bool = False,
        life: timedelta | None = None,
    ) -> x509.Certificate:
        """Return a certificate for a request, different where that is said."""
        start = BEGIN + timedelta(seconds=self.t) + begin
        named: Any = load_der_public_key(csr.spki)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject or csr.subject)
            .issuer_name(pki().ca.name)
            .public_key(named)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + (life or self.life))
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(pki().ca.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if ca:
            builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        return builder.sign(pki().ca.key, hashes.SHA256())

    # The device

    def work(self, cut: Cut | None = None, *, force: bool = False) -> Outcome:
        """Do one pass as a process of its own."""
        cut = cut or Cut()
        with PairDirectory.open(self.directory / NAME, create=True) as pairs:
            slots: Any = CutSlots(pairs, cut)
            agent = CertificateAgent(
                self.settings, slots, clock=self.now, entropy=self.chance.randbytes
            )
            return self.drive(agent, cut, force=force)

    def drive(
        self,
        agent: CertificateAgent,
        cut: Cut | None = None,
        *,
        force: bool = False,
        hook_alone: bool = False,
    ) -> Outcome:
        """Do one pass of an agent that is there."""
        cut = cut or Cut()
        answer: Answer | None = None
        work = agent.run_hook() if hook_alone else agent.work(force=force)
        with closing(work) as steps:
            while True:
                match action := advance(steps, answer):
                    case Outcome():
                        return action
                    case Ask():
                        cut("before asking")
                        answer = self.ask(action)
                        cut("after asking")
                    case RunHook():
                        cut("before the hook")
                        self.hooks.append(action)
                        answer = self.hook(action)
                        cut("after the hook")

    def ask(self, action: Ask) -> Answer:
        """Run an exchange against the server."""
        self.asked.append(action.exchange.operation.name)
        if self.unreachable(self.t):
            return Failed(code="connect/refused", message="nobody listens there")
        self.server.now = self.now()
        config = action.config
        self.server.credentials = config.credentials  # type: ignore[assignment]  # none waits
        self.server.trust = config.trust
        signer = config.signer
        if signer is not None:
            self.server.sign = lambda question: signer.sign(question.tbs, question.algorithm)
        return self.tamper(self.server.run(action.exchange))

    def _connect(self, wanted: ConnectRequested) -> Link:
        shown = () if wanted.identity is None else (wanted.identity,)
        return Link(
            client=server_channel(
                version=TlsVersion.TLS_1_3,
                trust=TrustClass.EXPLICIT if wanted.trust else self.trust_class,
            ),
            server=Channel(
                version=TlsVersion.TLS_1_3,
                trust_class=TrustClass.EXPLICIT if shown else TrustClass.NONE,
                peer_chain=shown,
                can_challenge=True,
            ),
        )

    def look(self) -> x509.Certificate | None:
        """Return the certificate in use; its key fits, or this raises."""
        if not (self.directory / NAME).exists():
            return None
        with PairDirectory.open(self.directory / NAME, create=True) as pairs:
            running = pairs.running
            if running is None:
                return None
            assert running.identity().certificate == running.certificate
            return running.certificate

    def has_candidate(self) -> bool:
        """True if a key is on its way to a certificate."""
        with PairDirectory.open(self.directory / NAME) as pairs:
            return pairs.candidate is not None

    def run(self, days: float, *, reboot_every_s: float | None = None) -> Iterable[Outcome]:
        """Let so many days pass, with a process that lives on or ends now and then."""
        end, found = self.t + days * DAY_S, []
        while self.t < end:
            reboot_at = end if reboot_every_s is None else min(end, self.t + reboot_every_s)
            with PairDirectory.open(self.directory / NAME, create=True) as pairs:
                agent = CertificateAgent(
                    self.settings, pairs, clock=self.now, entropy=self.chance.randbytes
                )
                while self.t < reboot_at:
                    found.append(outcome := self.drive(agent))
                    self.t = min(max(outcome.until.mono, self.t + 1.0), reboot_at)
        return found
