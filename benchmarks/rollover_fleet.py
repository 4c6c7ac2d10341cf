"""A fleet over three generations of a CA, in simulated time: who follows, who renews, who is lost.

    python -m benchmarks.rollover_fleet [devices]

The CA is rolled over by the code that `est ca rollover` runs; each device keeps its trust by
`est_core.trust.follow`, and a server's path is judged under it. A device comes up now and then;
some lie in a drawer for one whole generation or more. At each contact it verifies the server,
follows /cacerts, and renews its certificate, or enrolls anew where that has expired meanwhile. It
is lost when it does not verify the server: then somebody has to visit it.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_core.trust import TrustedAnchors, follow
from est_transports.authority.former_cas import FormerCa, linked_chain, published_certificates
from est_transports.authority.new_ca import new_root
from est_transports.authority.rollover import roll_root_over
from est_transports.pki.chains import chain_problem, is_issued_by
from est_transports.pki.signers import LocalSigner

BEGIN: Final = datetime(2027, 1, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
_LIFE: Final = YEAR
"""Of a device's certificate; that of a root is ten years."""


@dataclass(frozen=True)
class Plan:
    """The CA is rolled over `every` so often, twice; its roots last ten years.

    Of the devices, one in `drawer_of` is away from just after its first contact for `drawer`.
    """

    devices: int = 300
    every: timedelta = 4 * YEAR
    drawer: timedelta = 8 * YEAR
    drawer_of: int = 10
    seed: int = 1


@dataclass
class Outcome:
    """What became of the fleet, and how many roots it followed."""

    devices: int = 0
    contacts: int = 0
    followed: int = 0
    renewed: int = 0
    enrolled_anew: int = 0
    lost: int = 0


@dataclass
class _Ca:
    """A simulated CA with its server."""

    entropy: random.Random
    now: datetime
    keys: list[ec.EllipticCurvePrivateKey] = field(default_factory=list)
    roots: list[x509.Certificate] = field(default_factory=list)
    former: tuple[FormerCa, ...] = ()
    server: tuple[x509.Certificate, ...] = ()

    def begin(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plant 7")])
        root = new_root(
            name, LocalSigner(key), key.public_key(), now=self.now, entropy=self.entropy.randbytes
        )
        self.keys, self.roots = [key], [root]

    def roll_over(self) -> None:
        key, old = ec.generate_private_key(ec.SECP256R1()), self.roots[-1]
        made = roll_root_over(
            old,
            old_signer=LocalSigner(self.keys[-1]),
            signer=LocalSigner(key),
            public_key=key.public_key(),
            now=self.now,
            entropy=self.entropy.randbytes,
        )
        until = old.not_valid_after_utc
        former = FormerCa(certificate=old, links=made.links, trusted_until=until)
        self.former = (former, *self.former)
        self.keys.append(key)
        self.roots.append(made.root)

    @property
    def bag(self) -> tuple[x509.Certificate, ...]:
        return published_certificates(self.roots[-1:], self.former)

    def chain(self) -> tuple[x509.Certificate, ...]:
        """Return what the server shows, by a certificate of the newest root."""
        if not self.server or not is_issued_by(self.server[0], self.roots[-1]) or (
            self.server[0].not_valid_after_utc <= self.now
        ):  # fmt: skip
            key = ec.generate_private_key(ec.SECP256R1()).public_key()
            self.server = linked_chain([self._server(key)], self.roots[-1], self.former)
        return self.server

    def _server(self, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        root = self.roots[-1]
        own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "est")]))
            .issuer_name(root.subject)
            .public_key(key)
            .serial_number(int.from_bytes(self.entropy.randbytes(15), "big") + 1)
            .not_valid_before(self.now - timedelta(minutes=5))
            .not_valid_after(min(self.now + YEAR, root.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("est")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False
            )
            .sign(self.keys[-1], SHA256())
        )


@dataclass
class _Device:
    contacts: list[datetime]
    trust: TrustedAnchors | None = None
    expires: datetime = BEGIN
    is_lost: bool = False


def simulated(plan: Plan) -> Outcome:
    """Return what becomes of a fleet until a generation after the second rollover."""
    draw = random.Random(plan.seed)
    ca = _Ca(entropy=draw, now=BEGIN)
    ca.begin()
    outcome = Outcome(devices=plan.devices)
    devices = [_device(number, plan, draw) for number in range(plan.devices)]
    events = sorted((at, number) for number, each in enumerate(devices) for at in each.contacts)
    rollovers = [BEGIN + plan.every, BEGIN + 2 * plan.every]
    for at, number in events:
        while rollovers and rollovers[0] <= at:
            ca.now = rollovers.pop(0)
            ca.roll_over()
        ca.now = at
        _meet(devices[number], ca, outcome)
    return outcome


def _device(number: int, plan: Plan, draw: random.Random) -> _Device:
    """Return a device that is up every half year or so, or one that is in a drawer for long."""
    at = BEGIN + timedelta(days=draw.uniform(1, 30))
    end = BEGIN + 3 * plan.every - timedelta(days=1)
    contacts = [at]
    if number % plan.drawer_of == 0:
        at += plan.drawer
        contacts.append(at)
    while (at := at + timedelta(days=draw.uniform(90, 250))) < end:
        contacts.append(at)
    return _Device(contacts=contacts)


def _meet(device: _Device, ca: _Ca, outcome: Outcome) -> None:
    """Let a device contact the server once."""
    if device.is_lost:
        return
    outcome.contacts += 1
    now = ca.now
    if device.trust is None:  # it is given the root of the day by hand, as a new one
        device.trust = TrustedAnchors.of(ca.roots[-1:], now=now)
        device.expires = now + _LIFE
        return
    leaf, *links = ca.chain()
    if chain_problem(leaf, anchors=device.trust.certificates, others=links, now=now):
        device.is_lost = True
        outcome.lost += 1
        return
    followed = follow(device.trust, ca.bag, now=now, in_use=(leaf, *links))
    device.trust = followed.trust
    outcome.followed += len(followed.added)
    if device.expires >= now:
        outcome.renewed += 1
    else:
        outcome.enrolled_anew += 1
    device.expires = now + _LIFE


if __name__ == "__main__":
    print(simulated(Plan(devices=int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
