"""The reference CA as an application: who is let in, what is issued, and what trouble becomes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    BasicCredentials,
    BearerCredentials,
    CACertsRequested,
    Channel,
    ClientIdentity,
    Credentials,
    CSRAttrsPurpose,
    CSRAttrsRequested,
    Decision,
    Deny,
    DigestCredentials,
    EnrollRequested,
    Fail,
    Instant,
    Issue,
    Label,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    TlsVersion,
    TrustClass,
    Verified,
)
from est_core.asn1.csrattrs import CsrAttr, CsrAttrs, ObjectId
from est_core.asn1.template import KeyTypeWanted
from est_transports.authority.application import Authority
from est_transports.authority.profiles import Profile
from est_transports.authority.stores import (
    PREPARED,
    IssuedRecord,
    StoreBusy,
    StoreError,
    UserRecord,
)
from est_transports.authority.stores.passwords import (
    PasswordBusy,
    PasswordChecks,
    Users,
    hash_password,
)
from est_transports.drive.application import ask
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import LocalSigner, SignerError
from tests.transports.ca_fakes import (
    NOW,
    MemoryStore,
    RemoteSigner,
    dns,
    ec_key,
    make_authenticator,
    make_ca,
    request,
)

PASSWORD = "correct horse"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
LABEL = Label("web")
CHANNEL = Channel(version=TlsVersion.TLS_1_3)


def authority(
    store: MemoryStore | None = None,
    *,
    passwords: PasswordChecks | None = None,
    now: Callable[[], Instant] = lambda: Instant(mono=1.0, wall=NOW),
    csrattrs: dict[Label | None, CsrAttrs | None] | None = None,
    key_types: dict[Label | None, CsrAttr | None] | None = None,
) -> Authority:
    """Return an authority with user alice and a label for servers."""
    memory = MemoryStore() if store is None else store
    memory.add_user("alice", hash_password(PASSWORD, bytes(16)))
    web = Profile(name="web", extended_key_usage=(SERVER_AUTH,))
    return Authority(
        ca=make_ca(memory, profiles=[web]),
        store=memory,
        authenticator=make_authenticator(memory, passwords=passwords),
        clock=now,
        csrattrs=csrattrs or {},
        key_types=key_types or {},
    )


def login(credentials: Credentials) -> AuthenticateRequested:
    return AuthenticateRequested(
        operation=SIMPLEENROLL, label=None, credentials=credentials, channel=CHANNEL
    )


def basic(user: str = "alice", password: str = PASSWORD) -> AuthenticateRequested:
    return login(BasicCredentials(user=user, password=password))


def enrollment(
    *extensions: x509.ExtensionType,
    identity: ClientIdentity | None = None,
    label: Label | None = None,
) -> EnrollRequested:
    return EnrollRequested(
        label=label,
        identity=identity or ClientIdentity(user="alice"),
        channel=CHANNEL,
        csr=request(*extensions),
        linked=False,
    )


def renewal(current: x509.Certificate) -> ReenrollRequested:
    channel = Channel(
        version=TlsVersion.TLS_1_3, trust_class=TrustClass.EXPLICIT, peer_chain=(current,)
    )
    return ReenrollRequested(
        label=None,
        identity=ClientIdentity(certificate=current),
        channel=channel,
        csr=request(),
        linked=False,
        current=current,
        rekey=False,
    )


def issued(decision: Decision) -> x509.Certificate:
    assert isinstance(decision, Issue), decision
    return decision.certificate


# Passwords


def test_the_right_password_verifies_the_user() -> None:
    assert ask(authority(), basic()) == Verified(user="alice")


class FoldingStore(MemoryStore):
    """A store that knows its users in whatever case they write their names."""

    def find_user(self, name: str) -> UserRecord | None:
        """Return the user by the name in lower case."""
        return super().find_user(name.lower())


def test_a_user_is_known_by_the_name_that_the_store_has() -> None:
    assert ask(authority(FoldingStore()), basic("Alice")) == Verified(user="alice")


@pytest.mark.parametrize(
    "user,password", [("alice", "wrong"), ("bob", PASSWORD), ("", PASSWORD), ("alice", "")]
)
def test_anything_else_is_rejected(user: str, password: str) -> None:
    assert ask(authority(), basic(user, password)) == Rejected()


@pytest.mark.parametrize(
    "credentials",
    [
        BearerCredentials(token=PASSWORD),
        DigestCredentials(user="alice", parameters=(("response", "x"),)),
    ],
)
def test_schemes_that_are_not_offered_are_rejected(credentials: Credentials) -> None:
    assert ask(authority(), login(credentials)) == Rejected()


def test_too_many_passwords_at_once_are_put_off() -> None:
    class Full(PasswordChecks):
        def submit(
            self,
            user: str,
            password: str,
            users: Users,
            *,
            peer: str = "",
            go_ahead: Callable[[], None] = lambda: None,
        ) -> Future[UserRecord | None]:
            refused: Future[UserRecord | None] = Future()
            refused.set_exception(PasswordBusy("34 passwords are being checked"))
            return refused

    decision = ask(authority(passwords=Full()), basic())
    assert isinstance(decision, Postpone)
    assert decision.retry_after_s == 2


def test_passwords_are_shared_out_by_the_address_of_the_connection() -> None:
    peers: list[str] = []

    class Watched(PasswordChecks):
        def submit(
            self,
            user: str,
            password: str,
            users: Users,
            *,
            peer: str = "",
            go_ahead: Callable[[], None] = lambda: None,
        ) -> Future[UserRecord | None]:
            peers.append(peer)
            return super().submit(user, password, users, peer=peer, go_ahead=go_ahead)

    channel = Channel(version=TlsVersion.TLS_1_3, peer_address="192.0.2.1:4711")
    subject = authority(passwords=Watched())
    assert ask(subject, replace(basic(), channel=channel)) == Verified(user="alice")
    assert peers == ["192.0.2.1:4711"]


def test_nobody_waits_in_the_authority_for_the_turn_of_a_password() -> None:
    found: Future[UserRecord | None] = Future()

    class Queued(PasswordChecks):
        def submit(
            self,
            user: str,
            password: str,
            users: Users,
            *,
            peer: str = "",
            go_ahead: Callable[[], None] = lambda: None,
        ) -> Future[UserRecord | None]:
            return found

    decision = authority(passwords=Queued()).authenticate(basic())
    assert isinstance(decision, Future)
    assert not decision.done()
    found.set_exception(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        decision.result()


def test_a_damaged_password_record_is_a_failure_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    subject = authority(store)
    store.add_user("alice", "scrypt$1$1$1$x$y", replace=True)
    assert ask(subject, basic()) == Fail(code="server/store")
    assert "not a password record" in caplog.text
    assert PASSWORD not in caplog.text


# CA certificates and CSR attributes


@pytest.mark.req("EST-119")
def test_the_ca_certificates_are_the_cas() -> None:
    subject = authority()
    question = CACertsRequested(label=None, identity=ClientIdentity(), channel=CHANNEL)
    assert subject.ca_certs(question) == ProvideCACerts(certificates=(subject.ca.certificate,))


def test_csr_attributes_are_those_of_the_label_or_the_usual_ones() -> None:
    usual, web = (CsrAttrs(items=(ObjectId(oid=f"1.2.3.{n}"),)) for n in (1, 2))
    subject = authority(csrattrs={None: usual, LABEL: web})

    def answer(label: Label | None) -> Decision:
        return subject.csr_attrs(
            CSRAttrsRequested(label=label, identity=ClientIdentity(), channel=CHANNEL)
        )

    assert answer(None) == ProvideCSRAttrs(csrattrs=usual)
    assert answer(LABEL) == ProvideCSRAttrs(csrattrs=web)
    assert answer(Label("other")) == ProvideCSRAttrs(csrattrs=usual)


@pytest.mark.req("EST-242")
def test_the_kind_of_key_is_told_with_what_is_asked_for_and_not_enforced() -> None:
    p256, p384 = (
        KeyTypeWanted(algorithm="1.2.840.10045.2.1", curve=curve).attribute()
        for curve in ("1.2.840.10045.3.1.7", "1.3.132.0.34")
    )
    usual = ObjectId(oid="1.2.3.1")
    subject = authority(
        csrattrs={None: CsrAttrs(items=(usual,)), LABEL: CsrAttrs(items=(p384,))},
        key_types={None: p256, LABEL: p256, Label("free"): None},
    )

    def told(label: Label | None, purpose: CSRAttrsPurpose) -> tuple[object, ...]:
        asked = CSRAttrsRequested(
            label=label, identity=ClientIdentity(), channel=CHANNEL, purpose=purpose
        )
        answer = subject.csr_attrs(asked)
        assert isinstance(answer, ProvideCSRAttrs)
        return () if answer.csrattrs is None else answer.csrattrs.items

    assert told(None, CSRAttrsPurpose.ANSWER) == (usual, p256)
    assert told(None, CSRAttrsPurpose.ENFORCE) == (usual,)
    assert told(LABEL, CSRAttrsPurpose.ANSWER) == (p384,), "there is a kind of key already"
    assert told(Label("free"), CSRAttrsPurpose.ANSWER) == (usual,)
    subject = authority(key_types={None: p256})
    assert told(None, CSRAttrsPurpose.ANSWER) == (p256,), "with nothing else to ask for"


def test_there_may_be_no_csr_attributes() -> None:
    question = CSRAttrsRequested(label=None, identity=ClientIdentity(), channel=CHANNEL)
    assert authority().csr_attrs(question) == ProvideCSRAttrs(csrattrs=None)


# Enrollment


def test_a_certificate_is_on_record_with_who_asked() -> None:
    store = MemoryStore()
    certificate = issued(authority(store).enroll(enrollment()))
    record = store.records[serial_text(certificate.serial_number)]
    assert (record.operation, record.user, record.label) == ("simpleenroll", "alice", None)
    assert (record.profile, record.client_subject, record.peer) == ("default", None, None)


def test_the_record_has_the_address_that_asked() -> None:
    store = MemoryStore()
    channel = Channel(version=TlsVersion.TLS_1_3, peer_address="192.0.2.1:4711")
    certificate = issued(authority(store).enroll(replace(enrollment(), channel=channel)))
    assert store.records[serial_text(certificate.serial_number)].peer == "192.0.2.1:4711"


def test_the_label_selects_the_profile() -> None:
    store = MemoryStore()
    certificate = issued(authority(store).enroll(enrollment(label=LABEL)))
    record = store.records[serial_text(certificate.serial_number)]
    assert (record.label, record.profile) == ("web", "web")
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [purpose.dotted_string for purpose in usage] == [SERVER_AUTH]


def test_what_the_profile_forbids_is_refused_as_content() -> None:
    store = MemoryStore()
    decision = authority(store).enroll(enrollment(dns("est.example.com")))
    assert isinstance(decision, Deny)
    assert (decision.code, decision.content) == ("profile/own-name", True)
    assert store.records == {}


def test_a_label_without_a_profile_is_refused() -> None:
    decision = authority().enroll(enrollment(label=Label("other")))
    assert isinstance(decision, Deny)
    assert (decision.code, decision.content) == ("profile/label", False)


def test_a_certificate_that_was_taken_back_enrolls_nobody() -> None:
    store = MemoryStore()
    subject = authority(store)
    shown = issued(subject.enroll(enrollment()))
    question = enrollment(identity=ClientIdentity(certificate=shown))
    issued(subject.enroll(question))
    store.revoke_certificate(serial_text(shown.serial_number), at=NOW, reason="key-compromise")
    before = store.list_certificates()
    decision = subject.enroll(question)
    assert isinstance(decision, Deny)
    assert decision.code == "auth/certificate-revoked"
    assert store.list_certificates() == before  # refused before anything was issued


class RevokingStore(MemoryStore):
    """A store in which everything is revoked just before a record is written."""

    is_late = False

    def record_certificate(self, record: IssuedRecord, **options: Any) -> None:
        if self.is_late:
            self.revoke_certificates(tuple(self.records), at=NOW, reason="keyCompromise")
        super().record_certificate(record, **options)


@pytest.mark.req("EST-165")
@pytest.mark.parametrize("renews", [False, True])
def test_what_is_revoked_after_it_was_looked_at_is_refused_with_the_record(renews: bool) -> None:
    store = RevokingStore()
    subject = authority(store)
    shown = issued(subject.enroll(enrollment()))
    store.is_late = True
    if renews:
        decision = subject.reenroll(renewal(shown))
    else:
        decision = subject.enroll(enrollment(identity=ClientIdentity(certificate=shown)))
    assert isinstance(decision, Deny)
    assert (decision.code, decision.content) == ("auth/certificate-revoked", False)
    assert len(store.records) == 1


def test_a_certificate_of_another_ca_with_the_serial_of_a_revoked_one_was_not_revoked() -> None:
    store = MemoryStore()
    subject = authority(store)
    revoked = issued(subject.enroll(enrollment()))
    store.revoke_certificate(serial_text(revoked.serial_number), at=NOW, reason="superseded")
    foreign = issued(authority().enroll(enrollment(dns("device-1.example"))))
    assert foreign.serial_number == revoked.serial_number
    assert foreign != revoked
    question = enrollment(identity=ClientIdentity(certificate=foreign))
    assert issued(subject.enroll(question)) != foreign


# Renewal


@pytest.mark.req("EST-165")
def test_a_renewal_is_recorded_as_the_successor() -> None:
    store = MemoryStore()
    subject = authority(store)
    first = issued(subject.enroll(enrollment()))
    second = issued(subject.reenroll(renewal(first)))
    record = store.records[serial_text(second.serial_number)]
    assert record.replaces == serial_text(first.serial_number)
    assert record.client_subject == "CN=device-1"
    assert record.operation == "simplereenroll"


@pytest.mark.req("EST-165")
def test_a_certificate_of_another_ca_is_not_renewed() -> None:
    foreign = issued(authority().enroll(enrollment()))
    decision = authority().reenroll(renewal(foreign))
    assert isinstance(decision, Deny)
    assert (decision.code, decision.content) == ("renewal/unknown-certificate", False)


def test_a_revoked_certificate_is_not_renewed() -> None:
    store = MemoryStore()
    subject = authority(store)
    first = issued(subject.enroll(enrollment()))
    store.revoke_certificate(serial_text(first.serial_number), at=NOW, reason="superseded")
    decision = subject.reenroll(renewal(first))
    assert isinstance(decision, Deny)
    assert not decision.content


# Trouble


class BrokenStore(MemoryStore):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def record_certificate(self, record: IssuedRecord, **_others: object) -> None:
        raise self._error

    def find_user(self, name: str) -> UserRecord | None:
        raise self._error


def test_a_busy_store_is_put_off() -> None:
    subject = authority(BrokenStore(StoreBusy("est.db: 1024 writers are waiting")))
    for decision in (subject.enroll(enrollment()), ask(subject, basic())):
        assert isinstance(decision, Postpone)
        assert decision.code == "server/busy"


def test_a_broken_store_is_a_failure_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    subject = authority(BrokenStore(StoreError("est.db: disk full")))
    assert subject.enroll(enrollment()) == Fail(code="server/store")
    assert ask(subject, basic()) == Fail(code="server/store")
    lines = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert lines == ["the store failed: est.db: disk full"] * 2


def test_a_ca_past_its_own_end_is_away(caplog: pytest.LogCaptureFixture) -> None:
    much_later = NOW + timedelta(days=20 * 365)
    subject = authority(now=lambda: Instant(mono=1.0, wall=much_later))
    decision = subject.enroll(enrollment())
    assert isinstance(decision, Postpone)
    assert decision.code == "server/ca-unavailable"
    assert decision.reason == "the certificate of CN=Test CA expired on 2037-02-28"
    assert "the CA cannot issue" in caplog.text


def test_what_a_signer_says_of_itself_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Away(RemoteSigner):
        def sign(self, tbs: bytes, algorithm: object) -> bytes:
            raise SignerError("slot 7: PIN locked")

    store = MemoryStore()
    subject = authority(store)
    subject.ca = make_ca(store, signer=Away(LocalSigner(ec_key("ca"))))
    decision = subject.enroll(enrollment())
    assert decision == Postpone(
        retry_after_s=60, code="server/ca-unavailable", reason="the CA cannot sign now"
    )
    assert "the CA cannot issue: slot 7: PIN locked" in caplog.text
    assert [record.state for record in store.records.values()] == [PREPARED]


def test_what_keeps_the_ca_busy_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    subject = authority(BrokenStore(StoreBusy("est.db: 1024 writers are waiting")))
    subject.enroll(enrollment())
    ask(subject, basic())
    assert [entry.getMessage() for entry in caplog.records] == [
        "too busy with records: est.db: 1024 writers are waiting",
        "too busy with users: est.db: 1024 writers are waiting",
    ]


def test_a_name_that_openssl_takes_and_nobody_can_read_does_no_harm() -> None:
    store = MemoryStore()
    subject = authority(store)
    shown = issued(subject.enroll(enrollment()))
    certificate = issued(
        subject.enroll(enrollment(identity=ClientIdentity(certificate=_unreadable(shown))))
    )
    record = store.records[serial_text(certificate.serial_number)]
    assert record.client_subject == "?"


def _unreadable(certificate: x509.Certificate) -> x509.Certificate:
    """Return the certificate with a common name that is no UTF-8; its signature is broken too."""
    der = certificate.public_bytes(Encoding.DER)
    assert der.count(b"device-1") == 1
    return x509.load_der_x509_certificate(der.replace(b"device-1", b"device-\xff"))
