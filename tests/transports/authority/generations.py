"""A CA that is rolled over as often as a test wants, with all its keys."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from est_transports.authority.ca import ReferenceCA
from est_transports.authority.former_cas import FormerCa, published_certificates
from est_transports.authority.new_ca import new_root
from est_transports.authority.profiles import Profile
from est_transports.authority.rollover import RootRollover, roll_root_over
from est_transports.authority.stores import Store
from est_transports.pki.signers import LocalSigner
from tests.transports.ca_fakes import CA_NAME, MemoryStore, counting_entropy


class Generations:
    """The roots, the oldest first, their keys and the links between them."""

    def __init__(self, now: datetime, store: Store | MemoryStore | None = None) -> None:
        self._entropy = counting_entropy()
        key = ec.generate_private_key(ec.SECP256R1())
        root = new_root(CA_NAME, LocalSigner(key), key.public_key(), now=now, entropy=self._entropy)
        self.store = MemoryStore() if store is None else store
        self.keys, self.roots = [key], [root]
        self.links: list[RootRollover] = []
        self.former: tuple[FormerCa, ...] = ()

    def roll_over(self, now: datetime, until: datetime | None = None) -> None:
        """Add a generation; what the present one issued counts `until`, or until its end."""
        key, old = ec.generate_private_key(ec.SECP256R1()), self.roots[-1]
        made = roll_root_over(
            old,
            old_signer=LocalSigner(self.keys[-1]),
            signer=LocalSigner(key),
            public_key=key.public_key(),
            now=now,
            entropy=self._entropy,
        )
        trusted = old.not_valid_after_utc if until is None else until
        former = FormerCa(certificate=old, links=made.links, trusted_until=trusted)
        self.former = (former, *self.former)
        self.keys.append(key)
        self.roots.append(made.root)
        self.links.append(made)

    def published(self) -> tuple[x509.Certificate, ...]:
        """Return what /cacerts has."""
        return published_certificates(self.roots[-1:], self.former)

    def ca(self) -> ReferenceCA:
        """Return the CA as it issues now."""
        return ReferenceCA(
            certificate=self.roots[-1],
            signer=LocalSigner(self.keys[-1]),
            store=self.store,
            profiles={"": Profile(name="client")},
            default_profile="",
            former=self.former,
            entropy=self._entropy,
        )
