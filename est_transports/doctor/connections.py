"""Connections to the server that is examined: each is counted, and there is a bound on them.

One at a time, and none longer than the timeouts say.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from cryptography import x509
from OpenSSL import SSL

from est_core import Channel, Entropy, Instant
from est_core.values import unchecked_value_class
from est_transports.channel.engines import client_engine
from est_transports.channel.errors import UNTRUSTED_SERVER, TlsError, tls_error
from est_transports.channel.sockets import RECEIVE_BYTES
from est_transports.channel.tls_context import ClientTlsConfig, client_context
from est_transports.client_config import ClientConfig
from est_transports.doctor.budget import Budget
from est_transports.doctor.config import DoctorConfig
from est_transports.doctor.findings import NotJudged
from est_transports.doctor.hello import GOODBYE, Flight, FlightReader, NotTls, client_hello
from est_transports.drive.client import ConnectError
from est_transports.on_sockets.tls import TlsSocket
from est_transports.pki.certificates import read_der
from est_transports.pki.host_verification import ip_literal
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from est_transports.tunnels.proxy import Proxy

ADDRESSES_MAX: Final = 8
_STATES_MAX: Final = 100
_HANDSHAKE_BYTES: Final = 256 * 1024


@unchecked_value_class
class Address:
    """One address of the server, and what became of connecting to it; "" is a connection."""

    family: socket.AddressFamily
    place: tuple[object, ...]
    problem: str

    @property
    def text(self) -> str:
        """The address."""
        return str(self.place[0])


@unchecked_value_class
class Handshake:
    """What a whole handshake without verification told, besides the Channel.

    `asks_certificate`: the server sent a CertificateRequest. `ca_names` are of it. `failure` is
    why there was no handshake.
    """

    version: str = ""
    cipher: str = ""
    asks_certificate: bool = False
    ca_names: int = 0
    failure: str = ""
    code: str = ""


class Connector:
    """Opens connections, counted. `at` is the address to use, once it is known."""

    def __init__(
        self,
        config: DoctorConfig,
        budget: Budget,
        clock: Callable[[], Instant],
        entropy: Entropy,
    ) -> None:
        self.at: Address | None = None
        self._config = config
        self._budget = budget
        self._clock = clock
        self._entropy = entropy

    def addresses(self) -> tuple[Address, ...]:
        """Connect to each address of the server, once. Raises NotJudged where there is none."""
        uri = self._config.uri
        kind = socket.SOCK_DGRAM if uri.scheme == "coaps" else socket.SOCK_STREAM
        try:
            found = socket.getaddrinfo(uri.host, uri.port, type=kind)
        except (OSError, UnicodeError) as exc:
            text = exc.strerror if isinstance(exc, OSError) and exc.strerror else "no such name"
            raise NotJudged(f"the name {uri.host} has no address: {text}") from exc
        places = dict.fromkeys((family, place) for family, _, _, _, place in found)
        return tuple(self._tried(*each) for each in list(places)[:ADDRESSES_MAX])

    def _tried(self, family: socket.AddressFamily, place: tuple[object, ...]) -> Address:
        if self._config.uri.scheme == "coaps":  # nothing is connected in UDP
            return Address(family=family, place=place, problem="")
        address = Address(family=family, place=place, problem="")
        try:
            self._open(address).close()
        except OSError as exc:
            problem = "no answer" if isinstance(exc, TimeoutError) else exc.strerror or "failed"
            return Address(family=family, place=place, problem=problem)
        return address

    def _open(self, address: Address) -> socket.socket:
        self._budget.connect()
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._config.timeouts.connect_s)
            sock.connect(address.place)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connected(self) -> socket.socket:
        if self._config.proxy is not None:
            return self._tunnel(self._config.proxy)
        if self.at is None:
            raise NotJudged("no address of the server takes a connection")
        try:
            return self._open(self.at)
        except OSError as exc:
            raise NotJudged(f"no connection: {exc.strerror or 'no answer'}") from exc

    def _tunnel(self, proxy: Proxy) -> socket.socket:
        # Not before: most servers are reached directly.
        from est_transports.on_sockets.tunnels import reach

        self._budget.connect()
        settings = ClientConfig(entropy=self._entropy, limits=self._config.limits)
        deadline = self._clock().mono + self._config.timeouts.connect_s
        try:
            return reach(self._config.uri, proxy, deadline, clock=self._clock, config=settings)
        except ConnectError as exc:
            raise NotJudged(exc.message, exc.code) from exc

    def open_once(self) -> None:
        """Make a connection and close it. Raises NotJudged where there is none."""
        self._connected().close()

    @property
    def _handshake_ends(self) -> float:
        return self._clock().mono + self._config.timeouts.handshake_s

    def flight(self, suites: tuple[int, ...], version: int) -> Flight:
        """Say a ClientHello and return what the server answers. Raises NotJudged."""
        host = self._config.uri.host
        name = "" if ip_literal(host) else host.rstrip(".")
        hello = client_hello(self._entropy(32), suites, version=version, server_name=name)
        reader, deadline = FlightReader(), self._handshake_ends
        with self._connected() as sock:
            try:
                sock.sendall(hello)
                while True:
                    sock.settimeout(max(0.001, deadline - self._clock().mono))
                    if (flight := reader.receive(sock.recv(RECEIVE_BYTES))) is not None:
                        break
                    if self._clock().mono >= deadline:
                        raise TimeoutError
                if flight.alert is None:
                    sock.sendall(GOODBYE)
            except TimeoutError as exc:
                raise NotJudged("no answer to the ClientHello in time") from exc
            except NotTls as exc:
                raise NotJudged(str(exc)) from exc
            except ConnectionError as exc:
                raise NotJudged("it reset the connection in the handshake") from exc
        return flight

    def secure(
        self, trust: TrustAnchors, *, identity: TlsIdentity | None, provisional: bool
    ) -> tuple[TlsSocket, Channel]:
        """Return a TLS connection. Raises TlsError, NotJudged.

        A provisional one may be with anybody; otherwise the server is verified, by name too.
        """
        config = ClientTlsConfig(
            server_name=self._config.uri.host,
            trust=trust,
            identity=identity,
            provisional=provisional,
        )
        engine = client_engine(client_context(config))
        stream = TlsSocket(self._connected(), engine, self._clock)
        try:
            channel = stream.do_handshake(self._handshake_ends)
        except BaseException as exc:
            stream.close()
            if isinstance(exc, TimeoutError):
                raise NotJudged("no TLS handshake in time") from exc
            if isinstance(exc, OSError):
                raise NotJudged("the connection broke in the TLS handshake") from exc
            raise
        if not provisional and not channel.name_matches:
            stream.close()
            raise TlsError(UNTRUSTED_SERVER, "the server's certificate has another name")
        return stream, channel

    def handshake(self, version: int) -> Handshake:
        """Return what a whole handshake of one version tells; nobody is verified in it."""
        states: list[bytes] = []
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_verify(SSL.VERIFY_NONE)
        context.set_alpn_protos([b"http/1.1"])
        context.set_info_callback(lambda each, _where, _what: _keep(states, each))
        connection = SSL.Connection(context, None)
        host = self._config.uri.host
        if not ip_literal(host):
            connection.set_tlsext_host_name(host.rstrip(".").encode("ascii"))
        connection.set_connect_state()
        try:
            with self._connected() as sock:
                self._shake(connection, sock)
                connection.shutdown()
                sock.sendall(connection.bio_read(RECEIVE_BYTES))
        except SSL.Error as exc:
            error = tls_error(exc, handshaking=True)
            return Handshake(failure=error.message, code=error.code)
        except OSError as exc:
            raise NotJudged("the connection broke in the TLS handshake") from exc
        return Handshake(
            version=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            asks_certificate=any(b"certificate request" in state for state in states),
            ca_names=len(connection.get_client_ca_list()),
        )

    def _shake(self, connection: SSL.Connection, sock: socket.socket) -> None:
        deadline, received = self._handshake_ends, 0
        while True:
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                is_over = False
            else:
                is_over = True
            with suppress(SSL.WantReadError):  # there is nothing to be sent
                sock.sendall(connection.bio_read(RECEIVE_BYTES))
            if is_over:
                return
            sock.settimeout(max(0.001, deadline - self._clock().mono))
            data = sock.recv(RECEIVE_BYTES)
            received += len(data)
            if not data:
                connection.bio_shutdown()
            else:
                connection.bio_write(data)
            if received > _HANDSHAKE_BYTES or self._clock().mono > deadline:
                raise TimeoutError


def _keep(states: list[bytes], connection: SSL.Connection) -> None:
    if len(states) < _STATES_MAX:
        states.append(connection.get_state_string())


def certificates_of(flight: Flight) -> tuple[x509.Certificate, ...]:
    """Return the chain of a flight, as far as it can be read. Raises NotJudged for its first."""
    read = [read_der(der) for der in flight.certificates]
    if read and read[0] is None:
        raise NotJudged("the server's certificate cannot be read")
    return tuple(each for each in read if each is not None)
