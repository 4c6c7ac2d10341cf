"""The path validation cases of C2SP/x509-limbo, shown to our ends of a handshake in memory.

A case has trusted certificates, what a peer sends, revocation lists, a time, and what a validator
is expected to say of it. `Run` shows it to a client as its server and to a server as its client,
with these anchors and lists at this time, and returns what either says.

A case without its private key cannot be shown in a handshake: OpenSSL verifies its path with a
store of the same anchors, and the verifier is asked for the facts of that path.
"""

from __future__ import annotations

import gzip
import json
import warnings
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, unique
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL, crypto

from est_core.channel import Channel, TrustClass
from est_transports.channel.tls import ServerContext, TlsError
from est_transports.channel.verification import PeerVerifier, VerificationRecord
from est_transports.pki.certificate_checks import Purpose
from est_transports.pki.host_verification import names_host
from est_transports.pki.library_warnings import ignore_library_warnings
from est_transports.pki.openssl_store import fill_store
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.transports.tls_pair import a_client, a_server, connected

FILE: Final = Path(__file__).parent / "vectors" / "x509-limbo" / "limbo.json.gz"
NO_NAME: Final = "does not name the host"
NOT_SHOWN: Final = "no certificate was shown"
_ANY_HOST: Final = "est.example"
_PURPOSES: Final = {"SERVER": Purpose.TLS_SERVER, "CLIENT": Purpose.TLS_CLIENT}


@unique
class End(Enum):
    """Who judges the peer's certificate."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case, as its file has it."""

    id: str
    purpose: Purpose
    is_accepted: bool
    host: str
    anchors: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    leaf: bytes
    key: bytes
    others: tuple[bytes, ...]
    time: datetime | None

    @property
    def trust(self) -> TrustAnchors:
        """The anchors and revocation lists, all of them explicit."""
        ignore_library_warnings()  # of serial numbers that are not positive
        return TrustAnchors(
            explicit=tuple(x509.load_pem_x509_certificate(each) for each in self.anchors),
            revocation=Revocation(crls=tuple(map(x509.load_pem_x509_crl, self.crls))),
        )

    @property
    def ends(self) -> tuple[End, ...]:
        """Who can be shown the case: a certificate of a client is for servers only."""
        return tuple(End) if self.purpose is Purpose.TLS_SERVER else (End.SERVER,)


@cache
def cases() -> dict[str, Case]:
    """Return all cases by their names."""
    with gzip.open(FILE) as opened:
        return {each["id"]: _case(each) for each in json.load(opened)["testcases"]}


def _case(fields: dict[str, Any]) -> Case:
    time = fields["validation_time"]
    return Case(
        id=fields["id"],
        purpose=_PURPOSES[fields["validation_kind"]],
        is_accepted=fields["expected_result"] == "SUCCESS",
        host=(fields["expected_peer_name"] or {}).get("value", ""),
        anchors=tuple(each.encode() for each in fields["trusted_certs"]),
        crls=tuple(each.encode() for each in fields["crls"]),
        leaf=fields["peer_certificate"].encode(),
        key=(fields["peer_certificate_key"] or "").encode(),
        others=tuple(each.encode() for each in fields["untrusted_intermediates"]),
        time=datetime.fromisoformat(time) if time else None,
    )


@cache
def said(name: str, end: End) -> str:
    """Return why our end refuses the peer of a case, "" where it takes it."""
    case = cases()[name]
    if not case.key:
        return _said_of_path(case, end)
    return _said_by_client(case) if end is End.CLIENT else _said_by_server(case)


def _said_by_client(case: Case) -> str:
    client = a_client(trust=case.trust, server_name=case.host or _ANY_HOST)
    _set_time(client.openssl, case)
    server = replace(a_server(), openssl=_presenting(SSL.TLS_SERVER_METHOD, case))
    try:
        channel = connected(client, server).client.channel()
    except TlsError as exc:
        return exc.message
    return _said_in(channel) or ("" if channel.name_matches or not case.host else NO_NAME)


def _said_by_server(case: Case) -> str:
    """Return what a server says of the certificate as a client's.

    It is judged for the purpose of the case: nearly all of them have certificates for servers,
    and the path that leads to one would not be looked at for a purpose that it has not.
    """
    context = a_server().openssl
    verifier = PeerVerifier(case.trust, case.purpose, tolerant=True)
    verifier.install(context)
    _set_time(context, case)
    server = a_server()
    server = replace(server, openssl=context, rules=replace(server.rules, verifier=verifier))
    return _said_by(server, case)


def said_by_a_server_of_est(name: str) -> str:
    """Return what a server says of the certificate as a client's, for that purpose."""
    case = cases()[name]
    server = a_server(trust=case.trust)
    _set_time(server.openssl, case)
    return _said_by(server, case)


def _said_by(server: ServerContext, case: Case) -> str:
    client = replace(a_client(provisional=True), openssl=_presenting(SSL.TLS_CLIENT_METHOD, case))
    try:
        return _said_in(connected(client, server).server.channel())
    except TlsError as exc:
        return exc.message


def _said_in(channel: Channel) -> str:
    if channel.trust_class is TrustClass.NONE:
        return NOT_SHOWN
    return channel.failure


def _presenting(method: int, case: Case) -> SSL.Context:
    """Return the context of a peer that shows what the case has, however weak."""
    context = SSL.Context(method)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # some have no other way in
        context.use_certificate(_openssl(case.leaf))
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, case.key))
        for each in case.others:
            context.add_extra_chain_cert(_openssl(each))
    return context


def _set_time(context: SSL.Context, case: Case) -> None:
    store = context.get_cert_store()
    assert store is not None
    if case.time is not None:
        store.set_time(case.time)


def _openssl(pem: bytes) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_PEM, pem)


# --- Without a key -------------------------------------------------------------------------------


class _Path:
    """A connection whose handshake is over, with a path that OpenSSL verified before."""

    def __init__(self, sent: list[crypto.X509], verified: list[crypto.X509], problem: str) -> None:
        self._sent = sent
        self._verified = verified
        self._record = VerificationRecord()
        if problem:
            self._record.note(problem)

    def get_app_data(self) -> VerificationRecord:
        return self._record

    def get_peer_certificate(self) -> crypto.X509:
        return self._sent[0]

    def get_peer_cert_chain(self) -> list[crypto.X509]:
        return self._sent

    def get_verified_chain(self) -> list[crypto.X509]:
        return self._verified


def _said_of_path(case: Case, end: End) -> str:
    store = crypto.X509Store()
    fill_store(store, case.trust)
    if case.time is not None:
        store.set_time(case.time)
    sent = [_openssl(each) for each in (case.leaf, *case.others)]
    verified, problem = [], ""
    try:
        verified = crypto.X509StoreContext(store, sent[0], sent[1:]).get_verified_chain()
    except crypto.X509StoreContextError as exc:
        problem = str(exc)
    connection: Any = _Path(sent, verified, problem)
    verifier = PeerVerifier(case.trust, case.purpose, tolerant=end is End.SERVER)
    facts = verifier.facts(connection, resumed=False)
    if facts.failure or end is End.SERVER:
        return facts.failure
    return "" if names_host(facts.chain[0], case.host) else NO_NAME
