"""What a new CA issues with: keys of every kind, a root of its own, or a CA that was there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from est_core import (
    CACertsRequested,
    Channel,
    ClientIdentity,
    LocalProtocolError,
    ProvideCACerts,
    TlsVersion,
)
from est_core.asn1.pkcs10 import CertRequest
from est_transports import _clock
from est_transports.authority import issuers
from est_transports.authority.ca import Enrollment
from est_transports.authority.issuers import CA_KEYS, IssuerError, given_issuer, make_issuer
from est_transports.authority.new_ca import new_intermediate
from est_transports.pki.chains import chain_problem
from est_transports.pki.openssl_store import MAX_CHAIN_DEPTH
from est_transports.pki.signers import LocalSigner, SigningKey
from est_transports.pki.trust import load_pem_certificates
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.initialisation import (
    CA_CERTIFICATE,
    CA_KEY,
    ISSUING_CERTIFICATES,
    ROOT_KEY,
    SERVER_CERTIFICATE,
    CaSpec,
    InitialisationError,
    InitialisedCa,
    initialise,
)
from est_transports.service.loading import CredentialChecks, Service, load_service
from tests.odd_certificates import UNKNOWN_KEYS, rebuilt
from tests.pki import (
    YESTERDAY,
    Authority,
    Subject,
    new_key,
    pki,
    self_signed,
    signed_with_sha1,
)
from tests.transports.ca_fakes import MemoryStore, counting_entropy, request

KINDS = [kind for kind in CA_KEYS if kind != "RSA 4096"]  # which takes seconds


def make(directory: Path, spec: CaSpec) -> InitialisedCa:
    return initialise(directory, spec, now=_clock.instant(), entropy=_clock.entropy)


def served(directory: Path) -> Service:
    return load_service(
        load_config(directory / CONFIG_FILE), store=MemoryStore(), checks=CredentialChecks()
    )


def issued(service: Service, csr: CertRequest | None = None) -> x509.Certificate:
    enrollment = Enrollment(operation="simpleenroll")
    return service.authority.ca.issue(csr or request(), enrollment, now=_clock.instant().wall)


def given(authority: Authority, *others: x509.Certificate) -> issuers.Issuer:
    key: SigningKey = authority.key
    return given_issuer((authority.certificate, *others), key, now=_clock.instant().wall)


# Kinds of keys


@pytest.mark.parametrize("kind", KINDS)
def test_a_ca_of_every_kind_of_key_issues_what_verifies(kind: str, tmp_path: Path) -> None:
    made = make(tmp_path / "ca", CaSpec(ca_key=kind))
    service = served(tmp_path / "ca")
    certificate = issued(service)
    assert chain_problem(certificate, anchors=[made.root], now=_clock.instant().wall) == ""
    assert (
        chain_problem(service.identity.certificate, anchors=[made.root], now=_clock.instant().wall)
        == ""
    )


@pytest.mark.parametrize("kind", ["EC P-384", "ML-DSA-65"])
def test_the_key_is_of_the_kind_asked_for_and_that_of_the_server_is_p256(
    kind: str, tmp_path: Path
) -> None:
    make(tmp_path / "ca", CaSpec(ca_key=kind))
    key = load_pem_private_key((tmp_path / "ca" / CA_KEY).read_bytes(), None)
    assert type(key) is type(CA_KEYS[kind]())
    service = served(tmp_path / "ca")
    assert type(service.identity.key) is type(new_key())
    assert service.identity.key.curve.name == "secp256r1"


def test_a_kind_of_key_that_is_not_made_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="RSA 1024"):
        CaSpec(ca_key="RSA 1024")


# A root above


@pytest.fixture
def two_levels(tmp_path: Path) -> InitialisedCa:
    return make(tmp_path / "ca", CaSpec(intermediate=True, name="Plant"))


def test_an_intermediate_issues_and_its_root_is_what_clients_trust(
    two_levels: InitialisedCa, tmp_path: Path
) -> None:
    directory = tmp_path / "ca"
    root, issuing = two_levels.root, two_levels.issuing
    assert [c.subject.rfc4514_string() for c in two_levels.chain] == ["CN=Plant", "CN=Plant Root"]
    assert load_pem_certificates(directory / CA_CERTIFICATE) == (root,)
    assert load_pem_certificates(directory / ISSUING_CERTIFICATES) == (issuing, root)
    assert two_levels.certificates_file == directory / ISSUING_CERTIFICATES
    certificate = issued(served(directory))
    assert certificate.issuer == issuing.subject
    assert (
        chain_problem(certificate, anchors=[root], others=[issuing], now=_clock.instant().wall)
        == ""
    )


def test_the_root_allows_one_ca_below_it_and_that_one_none(two_levels: InitialisedCa) -> None:
    lengths = [
        each.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        for each in two_levels.chain
    ]
    assert lengths == [0, 1]
    ends = [each.not_valid_after_utc for each in two_levels.chain]
    assert ends[0] + timedelta(days=3650) < ends[1] + timedelta(days=30)


@pytest.mark.req("EST-119", "EST-120")
def test_the_server_sends_its_intermediate_and_cacerts_the_root_too(
    two_levels: InitialisedCa, tmp_path: Path
) -> None:
    service = served(tmp_path / "ca")
    assert service.identity.chain[1:] == (two_levels.issuing,)
    channel = Channel(version=TlsVersion.TLS_1_3)
    question = CACertsRequested(label=None, identity=ClientIdentity(), channel=channel)
    answer = service.authority.ca_certs(question)
    assert answer == ProvideCACerts(certificates=two_levels.chain)
    assert len(load_pem_certificates(tmp_path / "ca" / SERVER_CERTIFICATE)) == 2


def test_only_what_the_issuing_ca_has_certified_is_explicitly_trusted(
    two_levels: InitialisedCa, tmp_path: Path
) -> None:
    trust = served(tmp_path / "ca").context.config.trust
    assert trust.explicit == (two_levels.issuing,)


def test_the_key_of_the_root_is_apart_and_the_server_asks_for_it_to_be_taken_away(
    two_levels: InitialisedCa, tmp_path: Path
) -> None:
    directory = tmp_path / "ca"
    assert two_levels.root_key == directory / ROOT_KEY
    assert (directory / ROOT_KEY).stat().st_mode & 0o777 == 0o600
    key = load_pem_private_key((directory / ROOT_KEY).read_bytes(), None)
    assert key.public_key() == two_levels.root.public_key()
    (notice,) = served(directory).notices
    assert notice == f"{directory / ROOT_KEY}: the root's key is still here; take it away"
    (directory / ROOT_KEY).unlink()
    assert served(directory).notices == ()


def test_the_two_keys_have_passwords_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("one")
    spec = CaSpec(
        intermediate=True,
        key_password=b"one",
        password_file=tmp_path / "password",
        root_key_password=b"two",
    )
    made = make(tmp_path / "ca", spec)
    for name, password in ((CA_KEY, b"one"), (ROOT_KEY, b"two")):
        load_pem_private_key((tmp_path / "ca" / name).read_bytes(), password)
    assert served(tmp_path / "ca").authority.ca.certificate == made.issuing
    assert "b'" not in repr(spec)


def test_an_intermediate_ends_before_its_issuer() -> None:
    key = new_key()
    root = Authority("Root")
    signer = LocalSigner(root.key)
    late = root.certificate.not_valid_after_utc - timedelta(days=10)
    facts = {"issuer": root.certificate, "signer": signer, "entropy": counting_entropy()}
    below = new_intermediate(pki().ca.name, key.public_key(), now=late, **facts)  # type: ignore[arg-type]
    assert below.not_valid_after_utc <= root.certificate.not_valid_after_utc
    with pytest.raises(LocalProtocolError, match="expired"):
        new_intermediate(
            pki().ca.name,
            key.public_key(),
            now=late + timedelta(days=10),
            **facts,  # type: ignore[arg-type]
        )


# A CA that was there


def test_a_given_ca_is_put_in_order_and_what_does_not_belong_to_it_left_out() -> None:
    root, rogue = pki().ca.certificate, pki().rogue.certificate
    key: SigningKey = pki().intermediate.key
    certificates = (rogue, root, pki().intermediate.certificate)
    made = given_issuer(certificates, key, now=_clock.instant().wall)
    assert made.certificates == (pki().intermediate.certificate, root)
    assert (made.root, made.root_key) == (root, None)


def test_a_given_root_is_its_own_chain() -> None:
    assert given(pki().ca).certificates == (pki().ca.certificate,)


def test_a_given_ca_may_have_a_root_that_is_signed_with_sha1() -> None:
    """Nobody relies on the signature of a trust anchor, and many of them are that old."""
    entity = self_signed(Subject(name="Old root", ca=True, eku=None))
    root = Authority("Old root", key=entity.key)
    old = signed_with_sha1(entity, root).certificate
    issuing = Authority("Issuing", root)
    assert given(issuing, old).certificates == (issuing.certificate, old)


@pytest.mark.parametrize("below", [False, True], ids=["root", "intermediate"])
def test_a_given_ca_is_served(below: bool, tmp_path: Path) -> None:
    authority = pki().intermediate if below else pki().ca
    made = make(tmp_path / "ca", CaSpec(given=given(authority, pki().ca.certificate)))
    service = served(tmp_path / "ca")
    assert service.authority.ca.certificate == authority.certificate
    assert load_pem_certificates(tmp_path / "ca" / CA_CERTIFICATE) == (pki().ca.certificate,)
    assert made.root_key is None
    certificate = issued(service)
    root = [pki().ca.certificate]
    others = [authority.certificate]
    assert chain_problem(certificate, anchors=root, others=others, now=_clock.instant().wall) == ""


def test_a_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(IssuerError, match="none of the certificates"):
        given_issuer((pki().ca.certificate,), new_key(), now=_clock.instant().wall)


def test_a_certificate_that_is_no_cas_is_refused() -> None:
    client = pki().client
    with pytest.raises(IssuerError, match="CN=device-1 cannot be used: is not that of a CA"):
        given_issuer(
            (client.certificate, pki().ca.certificate), client.key, now=_clock.instant().wall
        )


def test_a_chain_without_its_root_is_refused() -> None:
    with pytest.raises(IssuerError, match=r"to a root: .* CN=Test EST CA is missing"):
        given(pki().intermediate)


@pytest.mark.parametrize("days, reason", [(-9, "not valid yet"), (5000, "expired on 2")])
def test_a_ca_that_is_not_valid_now_is_refused(days: int, reason: str) -> None:
    key: SigningKey = pki().ca.key
    with pytest.raises(IssuerError, match=reason):
        given_issuer((pki().ca.certificate,), key, now=_clock.instant().wall + timedelta(days=days))


def test_an_expired_ca_above_is_named() -> None:
    root = Authority("Root")
    ended = Subject(name="Old", ca=True, eku=None, not_after=YESTERDAY,
                    not_before=YESTERDAY - timedelta(days=1))  # fmt: skip
    middle = root.issue(ended)
    low = Authority("Low", issuer=root)
    low.issuer = None
    signer = Authority("Old", key=middle.key)
    issuing = signer.issue(Subject(name="Low", ca=True, eku=None, key=low.key))
    with pytest.raises(IssuerError, match="CN=Old expired on"):
        given_issuer(
            (issuing.certificate, middle.certificate, root.certificate),
            issuing.key,
            now=_clock.instant().wall,
        )


def test_of_two_certificates_with_the_key_the_one_that_is_valid_is_taken() -> None:
    ended = Subject(name="Test intermediate", ca=True, eku=None, key=pki().intermediate.key,
                    not_before=YESTERDAY - timedelta(days=1), not_after=YESTERDAY)  # fmt: skip
    certificates = (pki().ca.issue(ended).certificate, pki().intermediate.certificate)
    made = given_issuer(
        (*certificates, pki().ca.certificate),
        pki().intermediate.key,
        now=_clock.instant().wall,
    )
    assert made.certificate == pki().intermediate.certificate


def test_a_ca_without_a_name_is_refused() -> None:
    key = new_key()
    nobody, now = x509.Name([]), _clock.instant().wall
    builder = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    with pytest.raises(IssuerError, match="without a subject"):
        given_issuer((builder.sign(key, hashes.SHA256()),), key, now=now)


def test_a_path_length_that_leaves_no_room_is_refused() -> None:
    low = Authority("Too low", issuer=pki().intermediate)
    with pytest.raises(IssuerError, match="path length exceeded"):
        given(low, pki().intermediate.certificate, pki().ca.certificate)


def test_a_ca_that_may_not_certify_the_servers_name_is_refused(tmp_path: Path) -> None:
    only = x509.NameConstraints([x509.DNSName("plant.example")], None)
    ca = pki().ca.issue(Subject(name="Bound", ca=True, eku=None, extra=(only,)))
    issuer = given_issuer((ca.certificate, pki().ca.certificate), ca.key, now=_clock.instant().wall)
    with pytest.raises(InitialisationError, match=r"is outside of DNS:plant\.example"):
        make(tmp_path / "ca", CaSpec(given=issuer))
    assert list(tmp_path.iterdir()) == []
    make(tmp_path / "ca", CaSpec(given=issuer, hosts=("est.plant.example",)))


def test_a_root_that_another_one_certified_too_is_still_the_root() -> None:
    cross = pki().rogue.issue(Subject(name="Test EST CA", ca=True, eku=None, key=pki().ca.key))
    made = given(pki().intermediate, cross.certificate, pki().ca.certificate)
    assert made.root == pki().ca.certificate


@pytest.mark.parametrize("own", [False, True], ids=["above", "the only one"])
def test_a_certificate_with_a_key_of_an_unknown_kind_is_told(own: bool) -> None:
    odd = x509.load_der_x509_certificate(
        rebuilt(pki().client.certificate, pki().ca, subject_public_key_info=UNKNOWN_KEYS["GOST"])
    )
    certificates = (odd,) if own else (odd, pki().ca.certificate)
    with pytest.raises(IssuerError, match="a key of an unknown kind"):
        given_issuer(certificates, pki().ca.key, now=_clock.instant().wall)


def test_a_chain_of_cas_that_certify_each_other_has_no_root() -> None:
    one, other = new_key(), new_key()
    by_other = Authority("Other", key=other).issue(Subject(name="One", ca=True, eku=None, key=one))
    by_one = Authority("One", key=one).issue(Subject(name="Other", ca=True, eku=None, key=other))
    with pytest.raises(IssuerError, match="does not lead to a root"):
        given_issuer((by_other.certificate, by_one.certificate), one, now=_clock.instant().wall)


def test_a_way_to_the_root_is_found_past_a_ca_that_certifies_the_one_above_it() -> None:
    one, other, root = new_key(), new_key(), Authority("Root")
    named_one = Subject(name="One", ca=True, eku=None, key=one)
    by_other = Authority("Other", key=other).issue(named_one).certificate
    by_one = Authority("One", key=one).issue(Subject(name="Other", ca=True, eku=None, key=other))
    by_root = root.issue(named_one).certificate
    certificates = (by_other, by_one.certificate, by_root, root.certificate)
    assert given_issuer(certificates, one, now=_clock.instant().wall).root == root.certificate


@pytest.mark.parametrize("above, fits", [(MAX_CHAIN_DEPTH, True), (MAX_CHAIN_DEPTH + 1, False)])
def test_a_given_chain_is_as_long_as_one_that_is_verified(above: int, fits: bool) -> None:
    authorities = [pki().ca]
    for number in range(above):
        authorities.append(Authority(f"CA {number}", issuer=authorities[-1]))
    last = authorities.pop()
    certificates = [each.certificate for each in authorities]
    if fits:
        assert len(given(last, *certificates).chain) == above
    else:
        with pytest.raises(IssuerError, match="does not lead to a root"):
            given(last, *certificates)


def test_a_ca_is_valid_from_its_first_second_to_its_last() -> None:
    first = pki().ca.certificate.not_valid_before_utc
    last = pki().ca.certificate.not_valid_after_utc
    second = timedelta(seconds=1)
    key: SigningKey = pki().ca.key
    for now in (first, last):
        assert given_issuer((pki().ca.certificate,), key, now=now).root == pki().ca.certificate
    for now, words in ((first - second, "not valid yet"), (last + second, "expired on")):
        with pytest.raises(IssuerError, match=words):
            given_issuer((pki().ca.certificate,), key, now=now)


@pytest.mark.parametrize("edge", ["first", "last"])
def test_a_certificate_is_taken_in_its_first_and_last_second_before_one_that_ended(
    edge: str,
) -> None:
    key = new_key()
    now = YESTERDAY.replace(microsecond=0)
    times = {
        "first": (now, now + timedelta(days=9)),
        "last": (now - timedelta(days=1), now),
    }[edge]
    ended, good = (
        self_signed(
            Subject(name="CA", ca=True, eku=None, key=key, not_before=start, not_after=end)
        ).certificate
        for start, end in ((now - timedelta(days=9), now - timedelta(days=8)), times)
    )
    assert given_issuer((ended, good), key, now=now).certificate == good


def test_a_kind_of_key_that_openssl_does_not_have_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> SigningKey:
        raise UnsupportedAlgorithm("no ML-DSA here")

    monkeypatch.setattr(issuers, "CA_KEYS", {"ML-DSA-44": unknown})
    with pytest.raises(IssuerError, match="cannot make ML-DSA-44 keys"):
        make_issuer(
            "CA",
            "ML-DSA-44",
            intermediate=False,
            now=_clock.instant().wall,
            entropy=counting_entropy(),
        )


# What does not go together


@pytest.mark.parametrize(
    "changes",
    [{"name": "x"}, {"ca_key": "EC P-384"}, {"intermediate": True}],
    ids=["name", "key", "intermediate"],
)
def test_a_given_ca_has_its_name_key_and_root(changes: dict[str, object]) -> None:
    with pytest.raises(LocalProtocolError, match="has its name"):
        CaSpec(given=given(pki().ca), **changes)  # type: ignore[arg-type]  # by name


def test_a_root_without_an_intermediate_has_one_key(tmp_path: Path) -> None:
    with pytest.raises(LocalProtocolError, match="only an intermediate"):
        CaSpec(root_key_password=b"x")


def test_a_name_leaves_room_for_that_of_its_root() -> None:
    CaSpec(name="x" * 59, intermediate=True)
    with pytest.raises(LocalProtocolError, match="1 to 59"):
        CaSpec(name="x" * 60, intermediate=True)


@pytest.mark.parametrize("size", [0, 1024])
def test_a_password_that_openssl_cannot_use_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(LocalProtocolError, match="1 to 1023 bytes"):
        CaSpec(key_password=b"x" * size, password_file=tmp_path / "password")


@pytest.mark.parametrize("name", ["pass\nword", "pass\udcffword"])
def test_a_password_file_that_the_configuration_cannot_name_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"est\.toml cannot hold"):
        CaSpec(key_password=b"x", password_file=Path(name))


def test_a_password_file_that_would_be_moved_aside_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "ca", CaSpec())
    file = tmp_path / "ca" / "password"
    file.write_text("x")
    with pytest.raises(InitialisationError, match="moved aside"):
        initialise(
            tmp_path / "ca",
            CaSpec(key_password=b"x", password_file=file),
            now=_clock.instant(),
            entropy=_clock.entropy,
            replace=True,
        )
    assert file.exists()


def test_a_new_ca_is_the_same_for_the_same_key_moment_and_chance() -> None:
    made = [
        make_issuer(
            "CA",
            "Ed25519",
            intermediate=False,
            now=_clock.instant().wall,
            entropy=counting_entropy(),
        )
        for _ in range(2)
    ]
    assert made[0].root.serial_number == made[1].root.serial_number
    assert made[0].root.public_bytes(Encoding.DER) != made[1].root.public_bytes(Encoding.DER)
