"""What is natural is taken for what is meant, and everything else is refused where it is given."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    AuthChallenge,
    CertRequest,
    CertRequestInfo,
    Challenge,
    Channel,
    ClientSession,
    ConnectRequested,
    CSRAttrsRequested,
    Deny,
    EstUri,
    Fail,
    Instant,
    Label,
    Limits,
    LocalProtocolError,
    PolicyRow,
    Postpone,
    ProvideCACerts,
    RemoteProtocolError,
    Request,
    ServerPolicy,
    ServerSession,
    TlsVersion,
    TrustClass,
    default_policy,
    renewal_request_info,
    request_info,
)
from est_core.arguments import checked, checked_throughout
from est_core.operation import Authentication
from est_core.testing import FIXED_INSTANT
from tests.pki import pki

KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SUBJECT = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "device-1")])
CSR = x509.CertificateSigningRequestBuilder().subject_name(SUBJECT).sign(KEY, hashes.SHA256())
URI = "https://est.example/printers"


def given(value: object) -> Any:
    """Of any type, for the type checker: what programs without one may pass."""
    return value


# Natural values


@pytest.mark.parametrize("labels", [{"web"}, ["web"], ("web",), {Label("web")}, frozenset({"web"})])
def test_labels_may_be_texts_in_any_collection(labels: Collection[Label | str]) -> None:
    policy = default_policy(labels=labels)
    assert policy.labels == {Label("web")}
    assert policy.row(CACERTS, Label("web")) is not None
    assert ServerPolicy(rows=policy.rows, labels=given(labels)).labels == {Label("web")}


def test_the_label_of_a_row_or_a_request_may_be_a_text() -> None:
    row = PolicyRow(operation=CACERTS, authentication=Authentication.OPEN, label=given("web"))
    assert row.label == Label("web")
    assert Request(operation=CACERTS, label=given("web")).label == Label("web")
    assert EstUri(host="h", port=1, label=given("web")) == EstUri.parse("https://h:1/web")


def test_a_uri_may_be_a_text() -> None:
    assert ClientSession(URI).uri == EstUri.parse(URI)
    asked = ConnectRequested(uri=given(URI), trust=(), identity=None, max_version=None)
    assert asked.uri == EstUri.parse(URI)


def test_a_list_may_stand_for_a_tuple() -> None:
    anchors = [pki().ca.certificate]
    assert ClientSession(URI, trust=anchors).trust == tuple(anchors)
    assert ProvideCACerts(certificates=given(anchors)).certificates == tuple(anchors)
    challenge = AuthChallenge(scheme="Basic", parameters=given([["realm", "est"]]))
    assert challenge.parameters == (("realm", "est"),)
    hash(challenge)


def test_a_set_may_stand_for_a_frozen_one() -> None:
    row = PolicyRow(
        operation=CACERTS,
        authentication=Authentication.CERT,
        certificate_trust=given({TrustClass.EXPLICIT}),
    )
    assert row.certificate_trust == frozenset({TrustClass.EXPLICIT})


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_that_may_change_are_copied(kind: Callable[[bytes], object]) -> None:
    request = Request(operation=SIMPLEENROLL, payload=given(kind(b"der")))
    assert request.payload == b"der"
    assert type(request.payload) is bytes


def test_a_public_key_may_stand_for_its_spki() -> None:
    key = KEY.public_key()
    expected = request_info(subject=SUBJECT, key=SPKI)
    assert request_info(subject=SUBJECT, key=key) == expected
    assert CertRequestInfo(subject=SUBJECT, spki=given(key)).spki == SPKI
    current = pki().client.certificate
    assert renewal_request_info(current=current, key=key) == renewal_request_info(
        current=current, key=SPKI
    )


def test_a_request_object_of_cryptography_is_taken_by_a_session() -> None:
    session = ClientSession(URI, identity=pki().client.certificate)
    known = CertRequest.from_argument(CSR)
    assert known is not None
    assert known.der == CSR.public_bytes(Encoding.DER)
    assert repr(session.enroll(CSR)) == repr(session.enroll(known))
    mine = pki().client
    renewal = x509.CertificateSigningRequestBuilder().subject_name(mine.certificate.subject)
    session.reenroll(renewal.sign(mine.key, hashes.SHA256()))


def test_a_request_that_nobody_would_read_is_refused_where_it_is_given() -> None:
    huge = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 60)] * 200)
    )
    with pytest.raises(LocalProtocolError, match="no certificate request: csr/"):
        ClientSession(URI).enroll(huge.sign(KEY, hashes.SHA256()))


# The rest


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: ClientSession(URI).enroll(given(None)), "csr must be a CertRequestInfo"),
    (lambda: ClientSession(URI).enroll(given(b"der")), "not bytes"),
    (lambda: ClientSession(URI).enroll(given(KEY)), "csr must be"),
    (lambda: ClientSession(given(None)), "uri must be an EstUri"),
    (lambda: ClientSession("http://h"), "'http' is not one of"),
    (lambda: ClientSession(URI, trust=given(pki().ca.certificate)), "trust must be a list"),
    (lambda: ClientSession(URI, trust=given(["ca.pem"])), "trust must be a list"),
    (lambda: ClientSession(URI, identity=given(pki().client)), "identity must be a Certificate"),
    (lambda: ClientSession(URI, credentials=given(("u", "p"))), "credentials must be"),
    (lambda: ClientSession(URI, pop=given("always")), "pop must be a PopMode"),
    (lambda: ClientSession(URI).cacerts(bootstrap=given("yes")), "bootstrap must be a bool"),
    (
        lambda: ServerSession(policy=given({}), channel=Channel(version=TlsVersion.TLS_1_3)),
        "policy must be a ServerPolicy, not dict",
    ),
    (
        lambda: default_policy(labels=given("web")),
        "labels must be a collection of Label or a str, not a single str",
    ),
    (lambda: default_policy(labels=[given(5)]), "labels must be a collection"),
    (lambda: default_policy(labels=["cacerts"]), "the name of an operation"),
    (lambda: default_policy(realm=given(5)), "realm must be"),
    (lambda: Label(given(5)), "text must be a str"),
    (lambda: Deny(code="bad", reason=""), "a code is area/reason"),
    (lambda: Deny(code="Area/Reason", reason=""), "a code is area/reason"),
    (lambda: Deny(code="a/b/c", reason=""), "a code is area/reason"),
    (lambda: Deny(code="a/b\n", reason=""), "a code is area/reason"),
    (lambda: Challenge(code=""), "a code is area/reason"),
    (lambda: Postpone(retry_after_s=1, code="busy"), "a code is area/reason"),
    (lambda: Fail(code="internal"), "a code is area/reason"),
    (lambda: request_info(subject=given("CN=x"), key=SPKI), "subject must be a Name"),
    (lambda: request_info(subject=SUBJECT, key=given(KEY)), "key must be bytes or"),
    (lambda: request_info(subject=SUBJECT, key=given(None)), "key must be"),
    (
        lambda: request_info(subject=SUBJECT, key=X25519PrivateKey.generate().public_key()),
        "not a key to be certified",
    ),
    (lambda: request_info(subject=SUBJECT, key=SPKI, names=given("a.example")), "names must be"),
    (lambda: Instant(mono=given("1"), wall=FIXED_INSTANT.wall), "mono must be a number"),
    (lambda: Instant(mono=given(True), wall=FIXED_INSTANT.wall), "mono must be a number"),
    (lambda: Instant(mono=1, wall=given(5.0)), "wall must be an aware datetime"),
    (lambda: Limits(body_bytes=given(True)), "body_bytes must be a whole number"),
    (lambda: Limits(body_bytes=given(1.5)), "body_bytes must be a whole number"),
    (lambda: RemoteProtocolError(given(5), "text"), "code must be a str"),
    (lambda: EstUri.parse(given(None)), "text must be a str"),
    (lambda: EstUri(host=given(b"h"), port=1), "host must be a str"),
    (lambda: EstUri(host="h", port=given("443")), "port must be a whole number"),
]


@pytest.mark.parametrize(("call", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_is_not_natural_is_refused(call: Callable[[], object], text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda exchange: exchange.connected(given(None)),
        lambda exchange: exchange.connect_failed(given(None), "text"),
        lambda exchange: exchange.connection_lost(sent=given(None)),
        lambda exchange: exchange.provide_signature(given("text")),
        lambda exchange: exchange.receive_response(given(None), FIXED_INSTANT),
        lambda exchange: exchange.receive_fault(given(ValueError())),
        lambda exchange: exchange.provide_credentials(given("user:password")),
        lambda exchange: exchange.provide_redirect(follow=given(None)),
        lambda exchange: exchange.provide_trust(given(None)),
        lambda exchange: exchange.provide_trust([given("ca.pem")]),
        lambda exchange: exchange.handle_timeout(given(5.0)),
    ],
)
def test_a_wrong_argument_leaves_an_exchange_as_it_was(misuse: Callable[[Any], None]) -> None:
    exchange = ClientSession(URI).cacerts()
    before = repr(exchange)
    with pytest.raises(LocalProtocolError):
        misuse(exchange)
    assert repr(exchange) == before
    assert isinstance(exchange.next_event(), ConnectRequested)


def test_a_server_session_takes_requests_only() -> None:
    session = ServerSession(policy=default_policy(), channel=Channel(version=TlsVersion.TLS_1_3))
    with pytest.raises(LocalProtocolError, match="request must be a Request, not bytes"):
        session.receive_request(given(b"GET"), FIXED_INSTANT)
    exchange = session.receive_request(Request(operation=CSRATTRS), FIXED_INSTANT)
    assert isinstance(exchange.next_event(), CSRAttrsRequested)
    for wrong in (None, "yes", Deny):
        with pytest.raises(LocalProtocolError):
            exchange.decide(given(wrong))
    with pytest.raises(LocalProtocolError):
        exchange.handle_timeout(given(5.0))
    assert exchange.is_open


# The annotations that `checked` understands


class Speaker(Protocol):
    """Has a method and a property."""

    @property
    def name(self) -> str:
        """A name."""

    def speak(self, text: str) -> None:
        """Say it."""


class Person:
    """One of those."""

    @property
    def name(self) -> str:
        """Nobody reads it to find out that it is there."""
        raise AssertionError("read")

    def speak(self, text: str) -> None:
        """Say nothing."""


class Mute:
    """Has a name only."""

    name = "mute"


class Colour(enum.Enum):
    """Not a number."""

    RED = 1


class Size(enum.IntEnum):
    """A number."""

    SMALL = 1


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """A field of every kind."""

    number: float = 0
    count: int = 0
    flag: bool = False
    text: str | None = None
    colour: Colour = Colour.RED
    size: int = 0
    path: PurePosixPath | None = None
    speaker: Speaker | None = None
    call: Callable[[int], None] = print
    pairs: tuple[tuple[str, int], ...] = ()
    table: Mapping[str, Label] | None = None
    several: Iterable[str] = ()
    row: Sequence[int] = ()
    word: Literal["a", "b"] = "a"
    noted: Annotated[int, lambda value: len(value) if isinstance(value, str) else None] = 0
    unclear: Annotated[int, "seconds"] = 0
    kind: type[Exception] = ValueError
    anything: Any = None


TAKEN: list[tuple[str, object, object]] = [
    ("number", 1, 1),
    ("number", 1.5, 1.5),
    ("size", Size.SMALL, Size.SMALL),
    ("text", None, None),
    ("path", "a/b", PurePosixPath("a/b")),
    ("pairs", [["a", 1], ("b", 2)], (("a", 1), ("b", 2))),
    ("pairs", (("a", 1),), (("a", 1),)),
    ("table", {"a": "web"}, {"a": Label("web")}),
    ("table", {"a": Label("web")}, {"a": Label("web")}),
    ("several", {"a"}, {"a"}),
    ("row", (1, 2), (1, 2)),
    ("word", "b", "b"),
    ("noted", "four", 4),
    ("noted", 4, 4),
    ("unclear", 4, 4),
    ("kind", OSError, OSError),
    ("anything", object, object),
]


@pytest.mark.parametrize(("name", "value", "expected"), TAKEN)
def test_it_is_taken(name: str, value: object, expected: object) -> None:
    found = getattr(Everything(**given({name: value})), name)
    assert found == expected
    assert getattr(replace(Everything(), **given({name: value})), name) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", "1"),
        ("number", True),
        ("count", 1.0),
        ("count", False),
        ("flag", 1),
        ("text", b"bytes"),
        ("colour", 1),
        ("colour", "RED"),
        ("path", 5),
        ("path", b"a"),
        ("speaker", Person),
        ("speaker", Mute()),
        ("speaker", object()),
        ("call", None),
        ("pairs", {"a": 1}),
        ("pairs", [("a", 1, 2)]),
        ("pairs", [("a", "1")]),
        ("pairs", "ab"),
        ("pairs", {("a", 1)}),
        ("table", [("a", "web")]),
        ("table", {"a": 5}),
        ("table", {5: "web"}),
        ("several", "text"),
        ("several", [5]),
        ("several", 5),
        ("row", {1, 2}),
        ("row", [1, "2"]),
        ("word", "c"),
        ("noted", 1.5),
        ("unclear", "4"),
        ("kind", ValueError()),
    ],
)
def test_it_is_not_taken(name: str, value: object) -> None:
    with pytest.raises(LocalProtocolError, match=f"^Everything: {name} must be ") as caught:
        Everything(**given({name: value}))
    assert str(caught.value).count("\n") == 0


def test_a_speaker_is_known_by_its_methods_and_no_property_is_read() -> None:
    person = Person()
    assert Everything(speaker=person).speaker is person


def test_what_is_right_stays_the_same_object() -> None:
    pairs, table = (("a", 1),), {"a": Label("web")}
    made = Everything(pairs=pairs, table=table)
    assert made.pairs is pairs
    assert made.table is table


def test_a_proxy_is_looked_at_each_time() -> None:
    class Proxy:
        """Says that it is what it stands for."""

        def __init__(self, kind: type) -> None:
            self.kind = kind

        @property  # type: ignore[misc]  # as proxies do
        def __class__(self) -> type:
            return self.kind

    class Other(Person):
        """Of a kind that is taken."""

    @checked
    def greet(person: Person) -> object:
        return person

    proxy: Any = Proxy(Person)
    assert greet(proxy) is proxy
    assert isinstance(greet(Other()), Other)
    with pytest.raises(LocalProtocolError):
        greet(Proxy(str))  # type: ignore[arg-type]


def test_what_a_value_has_of_its_own_is_looked_at_each_time() -> None:
    class Trained:
        """Speaks once it was taught to."""

    @checked
    def greet(speaker: Speaker, call: Callable[[], None] = print) -> object:
        return speaker

    taught: Any = Trained()
    taught.speak = taught.name = lambda: "hello"
    for _ in range(2):
        assert greet(taught) is taught
        with pytest.raises(LocalProtocolError, match="speaker must be"):
            greet(Trained())  # type: ignore[arg-type]
        assert isinstance(greet(Person(), lambda: None), Person)
        with pytest.raises(LocalProtocolError, match="call must be something to call"):
            greet(Person(), 5)  # type: ignore[arg-type]
        with pytest.raises(LocalProtocolError, match="not the class Person"):
            greet(Person)  # type: ignore[arg-type]


def test_an_iterator_is_not_read_ahead() -> None:
    def letters() -> Iterator[str]:
        raise AssertionError("read")
        yield "a"

    Everything(several=letters())


def test_no_value_is_shown() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Everything(count=given("a secret"))
    assert "secret" not in str(caught.value)


def test_functions_and_methods_are_checked_by_position_and_by_name() -> None:
    @checked
    def double(number: int, *, times: int = 2) -> int:
        return number * times

    @checked_throughout
    class Counter:
        """Counts."""

        def __init__(self, start: int) -> None:
            self.value = start

        def add(self, number: int) -> int:
            """Return the sum."""
            self.value += number
            return self.value

    assert double(2) == double(number=2) == 4
    assert Counter(1).add(2) == Counter(start=1).add(number=2) == 3
    for wrong in (
        lambda: double(given("2")),
        lambda: double(number=given("2")),
        lambda: double(2, times=given(None)),
        lambda: Counter(given(None)),
        lambda: Counter(1).add(given("2")),
    ):
        with pytest.raises(LocalProtocolError):
            wrong()
    for call, arguments in ((double, ()), (double, (1, 2)), (Counter, ()), (Counter, (1, 2))):
        with pytest.raises(TypeError):
            given(call)(*arguments)
    assert double.__name__ == "double"
    assert Counter.add.__doc__ == "Return the sum."
