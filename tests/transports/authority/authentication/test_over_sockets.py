"""Every way a client proves who it is, right and wrong, on each TLS version, over real sockets.

The server is the reference CA with its store on disk, on blocking sockets and on trio; the client
is ours on blocking sockets.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Final

import pytest
import trio

from est_core import (
    AuthScheme,
    BasicCredentials,
    BearerCredentials,
    ClientResult,
    ClientSession,
    CodeCredentials,
    CodeSource,
    CredentialsRequested,
    DigestAlgorithm,
    DigestCredentials,
    Enrolled,
    Failed,
    ForeignChallenge,
    Label,
    Login,
    Password,
    PopMode,
    RetryLater,
    ServerPolicy,
    TlsVersion,
    default_policy,
)
from est_core.auth.digest import digest_answer, digest_secret
from est_core.auth.scheme import DigestScheme
from est_core.codec.authheader import basic_challenge, bearer_challenge
from est_transports import _clock
from est_transports.authority import (
    Authenticator,
    Authority,
    CodeRecord,
    LookUps,
    PasswordChecks,
    Profile,
    ReferenceCA,
    Scheme,
    ServerSecret,
    SqliteStore,
    SrpRecord,
    TokenRecord,
    digest_record,
    hash_password,
    make_issuer,
    new_code,
    new_token,
)
from est_transports.channel.srp_users import SrpLogin, SrpServerConfig
from est_transports.channel.tls import ServerContext, server_context
from est_transports.client_config import ClientConfig
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets import Client, Server
from est_transports.on_trio import Server as TrioServer
from est_transports.pki.signers import LocalSigner
from est_transports.pki.srp_verifiers import srp_verifier
from tests.pki import Entity, pki
from tests.transports.https_site import Log, identity_of, new_device, tls_context
from tests.transports.sockets_site import TIMEOUT_S, in_trio_thread, until

REALM: Final = "est"
SECRET: Final = ServerSecret(key=bytes(range(32)))
CODES_IN_CHALLENGE: Final = Label("codes")
NUMBERS: Final = count(1)
WEEK: Final = timedelta(days=7)
Ended = ClientResult | RetryLater
TLS_1_2, TLS_1_3 = TlsVersion.TLS_1_2, TlsVersion.TLS_1_3


@dataclass
class Site:
    """A server, and what an operator can do at its store."""

    store: SqliteStore
    port: int
    log: Log = field(default_factory=Log)

    def code(self, **changed: object) -> str:
        """A new one-time code for a week, or as it is wanted."""
        code, now = new_code(_clock.entropy), _clock.instant().wall
        digest = SECRET.code_digest(code)
        assert digest is not None
        record = CodeRecord(
            name=f"device-{next(NUMBERS)}", digest=digest, created_at=now, expires_at=now + WEEK
        )
        assert self.store.add_codes([replace(record, **changed)]) == ()  # type: ignore[arg-type]
        return code

    def token(self, **changed: object) -> str:
        """A new token."""
        token, now = new_token(_clock.entropy), _clock.instant().wall
        record = TokenRecord(
            name=f"sensor-{next(NUMBERS)}", digest=SECRET.token_digest(token), created_at=now
        )
        assert self.store.add_token(replace(record, **changed))  # type: ignore[arg-type]
        return token

    def enroll(
        self,
        version: TlsVersion,
        *,
        up_front: Login | None = None,
        asked: Callable[[CredentialsRequested], Login | None] = lambda _: None,
        code: CodeCredentials | None = None,
        identity: Entity | None = None,
        srp: SrpLogin | None = None,
        label: Label | None = None,
    ) -> Ended:
        """How an enrollment of a new key ends."""
        device = new_device()
        identities = () if identity is None else (identity_of(identity),)
        config = ClientConfig(
            signer=device.signer, credentials=asked, identities=identities, srp=srp
        )
        where = f"https://localhost:{self.port}"
        session = ClientSession(
            where if label is None else f"{where}/{label.text}",
            trust=() if srp else (pki().ca.certificate,),
            identity=None if identity is None else identity.certificate,
            credentials=up_front,
            pop=PopMode.AUTO if version is TLS_1_2 else PopMode.NEVER,
            max_version=version,
        )
        with Client(config) as client:
            return client.run(session.enroll(device.info, code=code))


def policy() -> ServerPolicy:
    """All schemes at once; under one label, challengePassword may be a code."""
    rows = default_policy().rows
    own = tuple(
        replace(row, label=CODES_IN_CHALLENGE, foreign_challenge=ForeignChallenge.CODE)
        for row in rows
        if row.operation.is_enrollment
    )
    return ServerPolicy(
        rows=(*rows, *own),
        challenges=(basic_challenge(REALM), bearer_challenge(REALM)),
        digest=DigestScheme(realm=REALM, key=SECRET.nonce_key(), entropy=_clock.entropy),
        labels=frozenset({CODES_IN_CHALLENGE}),
        otp_challenge=True,
    )


def authority(store: SqliteStore) -> Authority:
    store.add_user(
        "alice",
        hash_password("correct horse", bytes(16)),
        digest_record=digest_record("alice", REALM, "correct horse"),
    )
    salt = bytes(range(16))
    verifier = srp_verifier("gate", "correct horse", salt=salt, bits=2048)
    store.add_srp_user(SrpRecord(name="gate", salt=salt, verifier=verifier, bits=2048))
    authenticator = Authenticator(
        store=store,
        schemes=frozenset(Scheme),
        passwords=PasswordChecks(),
        look_ups=LookUps(),
        now=lambda: _clock.instant().wall,
        secret=SECRET,
    )
    issuer = make_issuer(
        "CA", "EC P-256", intermediate=False, now=_clock.instant().wall, entropy=_clock.entropy
    )
    ca = ReferenceCA(
        certificate=issuer.certificate,
        signer=LocalSigner(issuer.key),
        store=store,
        profiles={"client": Profile(name="client"), CODES_IN_CHALLENGE.text: Profile(name="codes")},
        default_profile="client",
        entropy=_clock.entropy,
    )
    return Authority(ca=ca, store=store, authenticator=authenticator, clock=_clock.instant)


def context(store: SqliteStore) -> ServerContext:
    srp = SrpServerConfig(find=store.find_srp_user, secret=SECRET.simulation_key())
    return server_context(replace(tls_context().config, srp=srp))


@contextmanager
def on_sockets(listener: socket.socket, config: ServiceConfig, store: SqliteStore) -> Iterator[Log]:
    log, tls = Log(), context(store)
    server = Server(
        context_source=lambda: tls, application=authority(store), config=config, observe=log
    )
    thread = threading.Thread(target=server.serve, args=([listener],))
    thread.start()
    yield log
    server.stop(drain_s=0)
    thread.join(TIMEOUT_S)


@contextmanager
def on_trio(listener: socket.socket, config: ServiceConfig, store: SqliteStore) -> Iterator[Log]:
    log, tls = Log(), context(store)

    async def begin() -> tuple[TrioServer, object]:
        server = TrioServer(
            context_source=lambda: tls, application=authority(store), config=config, observe=log
        )
        return server, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]

    with in_trio_thread(begin):
        yield log


@pytest.fixture(scope="module", params=[on_sockets, on_trio], ids=["sockets", "trio"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0))
    store = SqliteStore.create(tmp_path_factory.mktemp("authority") / "est.db")
    with request.param(listener, ServiceConfig(policy=policy()), store) as log:
        yield Site(store, listener.getsockname()[1], log)
    listener.close()
    store.close()


# What each means comes to: how it is tried, and with which code it is refused

Try = Callable[[Site, TlsVersion], Ended]
Case = tuple[Try, str]
"""The second is the code of the server's record where it refuses, "" where it accepts."""


def by_password(password: str) -> Try:
    return lambda site, version: site.enroll(
        version, up_front=BasicCredentials(user="alice", password=password)
    )


def by_digest(algorithm: DigestAlgorithm, password: str = "correct horse") -> Try:
    """With the challenge of that algorithm alone, as a client that knows no other."""

    def enroll(site: Site, version: TlsVersion) -> Ended:
        return site.enroll(version, asked=lambda question: answer(question, algorithm, password))

    return enroll


def answer(
    question: CredentialsRequested, algorithm: DigestAlgorithm, password: str
) -> DigestCredentials | None:
    if question.attempt > 1:
        return None
    challenges = [each for each in question.challenges if each.known_scheme is AuthScheme.DIGEST]
    nonce = challenges[0].get("nonce") or ""
    return digest(algorithm, nonce, password)


def digest(algorithm: DigestAlgorithm, nonce: str, password: str) -> DigestCredentials:
    target = "/.well-known/est/simpleenroll"
    given = {
        "realm": REALM,
        "nonce": nonce,
        "uri": target,
        "algorithm": algorithm.value,
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "ours",
    }
    draft = DigestCredentials(user="alice", parameters=tuple(given.items()), method="POST")
    response = digest_answer(digest_secret(algorithm, "alice", REALM, password), draft)
    return replace(draft, parameters=(*given.items(), ("response", response)))


def digest_again(algorithm: DigestAlgorithm) -> Try:
    """The answer that was good once, a second time."""

    def enroll(site: Site, version: TlsVersion) -> Ended:
        scheme = DigestScheme(realm=REALM, key=SECRET.nonce_key(), entropy=_clock.entropy)
        nonce = scheme.challenges(_clock.instant())[0].get("nonce") or ""
        credentials = digest(algorithm, nonce, "correct horse")
        assert isinstance(site.enroll(version, up_front=credentials), Enrolled)
        return site.enroll(version, up_front=credentials)

    return enroll


def by_any_password(password: str) -> Try:
    """As people use it: the strongest scheme of the challenges."""
    return lambda site, version: site.enroll(
        version, up_front=Password(user="alice", password=password)
    )


def by_token(**changed: object) -> Try:
    return lambda site, version: site.enroll(
        version, up_front=BearerCredentials(token=site.token(**changed))
    )


def as_password(site: Site, version: TlsVersion, code: str) -> Ended:
    return site.enroll(version, up_front=BasicCredentials(user="", password=code))


def in_challenge(site: Site, version: TlsVersion, code: str) -> Ended:
    credentials = CodeCredentials(code=code, source=CodeSource.CHALLENGE_PASSWORD)
    return site.enroll(version, code=credentials, label=CODES_IN_CHALLENGE)


def in_otp_challenge(site: Site, version: TlsVersion, code: str) -> Ended:
    return site.enroll(version, code=CodeCredentials(code=code, source=CodeSource.OTP_CHALLENGE))


Sent = Callable[[Site, TlsVersion, str], Ended]


def by_code(sent: Sent, **changed: object) -> Try:
    return lambda site, version: sent(site, version, site.code(**changed))


def code_again(sent: Sent) -> Try:
    """The code of one device, from another one."""

    def enroll(site: Site, version: TlsVersion) -> Ended:
        code = site.code()
        assert isinstance(sent(site, version, code), Enrolled)
        return sent(site, version, code)

    return enroll


def wrong_code(sent: Sent) -> Try:
    return lambda site, version: sent(site, version, new_code(_clock.entropy))


def by_certificate(entity: Callable[[], Entity]) -> Try:
    return lambda site, version: site.enroll(version, identity=entity())


def by_srp(name: str, password: str) -> Try:
    return lambda site, version: site.enroll(version, srp=SrpLogin(name=name, password=password))


def nothing(site: Site, version: TlsVersion) -> Ended:
    return site.enroll(version)


LONG_AGO: Final = _clock.instant().wall - timedelta(days=1)
MD5, SHA_256 = DigestAlgorithm.MD5, DigestAlgorithm.SHA_256
WRONG: Final = "auth/wrong-credentials"
MATRIX: Final[dict[str, dict[str, Case]]] = {
    "basic": {
        "accepted": (by_password("correct horse"), ""),
        "wrong": (by_password("guess"), WRONG),
        "missing": (nothing, "auth/missing"),
    },
    "password": {
        "accepted": (by_any_password("correct horse"), ""),
        "wrong": (by_any_password("guess"), WRONG),
    },
    **{
        name: {
            "accepted": (by_digest(algorithm), ""),
            "wrong": (by_digest(algorithm, "guess"), WRONG),
            "replayed": (digest_again(algorithm), "auth/replayed"),
        }
        for name, algorithm in {"digest-md5": MD5, "digest-sha-256": SHA_256}.items()
    },
    "bearer": {
        "accepted": (by_token(), ""),
        "wrong": (
            lambda site, version: site.enroll(
                version, up_front=BearerCredentials(token=new_token(_clock.entropy))
            ),
            WRONG,
        ),
        "expired": (by_token(expires_at=LONG_AGO), "auth/token-expired"),
        "of-another-label": (by_token(labels=frozenset({"web"})), "auth/token-scope"),
        "of-another-operation": (by_token(operations=frozenset({"cacerts"})), "auth/token-scope"),
    },
    **{
        name: {
            "accepted": (by_code(sent), ""),
            "wrong": (wrong_code(sent), WRONG),
            "replayed": (code_again(sent), "auth/code-spent"),
            "expired": (by_code(sent, expires_at=LONG_AGO), "auth/code-expired"),
            "of-another-label": (by_code(sent, label="web"), "auth/code-label"),
        }
        for name, sent in {
            "code-as-password": as_password,
            "code-in-challenge-password": in_challenge,
            "code-in-otp-challenge": in_otp_challenge,
        }.items()
    },
    "certificate": {
        "accepted": (by_certificate(lambda: pki().client), ""),
        "wrong": (by_certificate(lambda: pki().rogue_client), "auth/missing"),
        "expired": (by_certificate(lambda: pki().expired_client), "auth/missing"),
    },
    "srp": {
        "accepted": (by_srp("gate", "correct horse"), ""),
        "wrong": (by_srp("gate", "guess"), "tls/srp-refused"),
        "unknown": (by_srp("nobody", "correct horse"), "tls/srp-refused"),
    },
}


@pytest.mark.req("EST-035", "EST-036", "EST-047", "EST-049", "EST-050", "EST-069", "EST-196")
@pytest.mark.parametrize(
    ("means", "case", "version"),
    [
        pytest.param(means, case, version, id=f"{means}-{case}-{version.value}")
        for means, cases in MATRIX.items()
        for case in cases
        for version in (TLS_1_2, TLS_1_3)
        if means != "srp" or version is TLS_1_2  # there is no other
    ],
)
def test_a_client_proves_who_it_is_or_is_refused(
    site: Site, means: str, case: str, version: TlsVersion
) -> None:
    enroll, code = MATRIX[means][case]
    site.log.records.clear()
    result = enroll(site, version)
    assert isinstance(result, Failed if code else Enrolled), result
    # The record comes when the client has its answer.
    until(lambda: code in [record.code for record in site.log.records])
