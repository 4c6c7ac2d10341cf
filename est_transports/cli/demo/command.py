"""`est demo`: a CA, its server and a client on this machine, through a certificate's whole life."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import click
import trio
from cryptography.exceptions import InvalidSignature

from est_core import RetryLater
from est_core.values import unchecked_value_class
from est_transports import _clock
from est_transports.authority.stores.passwords import SALT_BYTES, hash_password
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.client.conversation import Conversation
from est_transports.cli.client.enrollment import Order, carry_out
from est_transports.cli.client.received_certificate import Destination
from est_transports.cli.client.requested_names import names_from_options, names_of_certificate
from est_transports.cli.client.target import Target
from est_transports.cli.client.target_options import make_target
from est_transports.cli.demo.revocation import revoke
from est_transports.cli.demo.status import ask_status
from est_transports.cli.describe import csrattrs_rows, fingerprint, moment, subject_text
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import CERTIFICATE, KEY
from est_transports.cli.keys import NewKey, load_key
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import print_json, print_table, progress, say
from est_transports.cli.paths import PATH
from est_transports.cli.server.directory import local_errors
from est_transports.cli.server.serve import overridden
from est_transports.drive.records import Record
from est_transports.on_trio.coap_server import CoapServer
from est_transports.on_trio.publication_server import PublicationServer
from est_transports.on_trio.server import Server
from est_transports.pki.serials import printed_serial
from est_transports.pki.trust import load_pem_certificates
from est_transports.service.config.listen import ListenAddress
from est_transports.service.config.publication import PublicationConfig
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.initialisation import CA_CERTIFICATE, CaSpec, initialise
from est_transports.service.listening import open_datagram_sockets, open_sockets
from est_transports.service.loading import CredentialChecks, Service, load_service

ADDRESS: Final = "127.0.0.1"
USER: Final = "device-1"
STOP_S: Final = 5.0
OPENSSL_S: Final = 30.0


@unchecked_value_class
class Step:
    """One step that was done: what, how long it took, and what there is to tell."""

    name: str
    ms: float
    detail: str


@dataclass(slots=True, kw_only=True)
class Demo:
    """What the steps hand on to each other."""

    directory: Path
    records: list[Record] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)
    store: SqliteStore | None = None
    service: Service | None = None
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    url: str = ""
    published_port: int = 0
    coap_url: str = ""

    @property
    def authority(self) -> Path:
        """The directory of the CA and its server."""
        return self.directory / "ca"

    @property
    def device(self) -> Path:
        """The directory of the device."""
        return self.directory / "device"

    @property
    def over_coap(self) -> Path:
        """The directory of the device's other pair, which it enrolls for over CoAP."""
        return self.directory / "device-coap"

    def target(self, url: str = "", *, as_device: bool = False, log_in: bool = False) -> Target:
        """Return the server, with the CA as the only trust anchor and linking demanded."""
        return make_target(
            url=url or self.url,
            trust=self.authority / CA_CERTIFICATE,
            user=f"{USER}:{self.password}" if log_in else None,
            cert=self.device / CERTIFICATE if as_device else None,
            key=self.device / KEY if as_device else None,
            pop="always",
        )

    def open_store(self) -> SqliteStore:
        """Return the CA's store, opened once."""
        if self.store is None:
            config = load_config(self.authority / CONFIG_FILE)
            self.store = SqliteStore(config.ca.store)
            self.stack.callback(self.store.close)
        return self.store


@click.command("demo")
@click.option(
    "--dir",
    "directory",
    type=PATH,
    metavar="DIR",
    help="Keep everything there; without it everything is removed afterwards.",
)
@json_option
@verbose_option
def demo(*, directory: Path | None, as_json: bool) -> ExitCode:
    """Run a CA, an EST server and a client on this machine, and show what they do.

    Nothing but loopback is used. The CA is the one of `est init`, the server the one of
    `est serve`, over HTTPS and over CoAP, the client the one of `est enroll`.
    """
    steps: list[Step] = []
    with _place(directory) as place:
        run = Demo(directory=place)
        try:
            with run.stack:
                for name, do in STEPS.items():
                    with progress(f"{name} ..."):
                        steps.append(_timed(name, do, run))
        except CliError as exc:
            if not as_json:
                _print(steps)
            name = list(STEPS)[len(steps)]
            message = f"demo: step {name}: {exc.message}"
            hint = "choose another with --dir" if name == "init" and directory else exc.hint
            raise CliError(
                message, exc.code, hint, error_code=exc.error_code, server_code=exc.server_code,
                refusal=exc.refusal,
            ) from exc  # fmt: skip
    if as_json:
        kept = None if directory is None else str(directory.absolute())
        values = [{"step": s.name, "ms": round(s.ms, 1), "detail": s.detail} for s in steps]
        print_json({"steps": values, "directory": kept})
    else:
        _print(steps)
        if directory is not None:
            say(f"kept in {directory}; next: est serve {directory / 'ca'}")
    return ExitCode.DONE


@contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="est-demo-") as temporary:
        yield Path(temporary)


def _timed(name: str, do: Callable[[Demo], str], run: Demo) -> Step:
    start = time.perf_counter()
    with local_errors():
        detail = do(run)
    return Step(name=name, ms=(time.perf_counter() - start) * 1000, detail=detail)


def _print(steps: list[Step]) -> None:
    rows = [(step.name, f"{step.ms:.1f}", step.detail) for step in steps]
    print_table(("step", "ms", "what happened"), rows, title="est demo")


# The steps


def _init(run: Demo) -> str:
    spec = CaSpec(hosts=("localhost", ADDRESS))
    made = initialise(run.authority, spec, now=_clock.instant(), entropy=_clock.entropy)
    certificate = made.root
    return f"{subject_text(certificate)}, SHA-256 {fingerprint(certificate)}"


def _add_user(run: Demo) -> str:
    record = hash_password(run.password, _clock.entropy(SALT_BYTES))
    run.open_store().add_user(USER, record)
    return f"{USER}, with a random password"


def _serve(run: Demo) -> str:
    config = overridden(
        load_config(run.authority / CONFIG_FILE),
        listen=ListenAddress(host=ADDRESS, port=0),
        coap=ListenAddress(host=ADDRESS, port=0),
        require_pop=True,
    )
    free = ListenAddress(host=ADDRESS, port=0)
    config = replace(
        config,
        publication=PublicationConfig(listen=(free,)),
        ocsp=replace(config.ocsp, enabled=True),
    )
    service = load_service(config, store=run.open_store(), checks=CredentialChecks())
    run.service = service
    sockets, published = open_sockets(config.listen), open_sockets(free)
    run.published_port = published[0].getsockname()[1]
    ((datagrams,),) = open_datagram_sockets(ListenAddress(host=ADDRESS, port=0), 1)
    run.url = f"https://{ADDRESS}:{sockets[0].getsockname()[1]}"
    run.coap_url = f"coaps://{ADDRESS}:{datagrams.getsockname()[1]}"
    run.stack.enter_context(_serving(service, sockets, datagrams, published, run.records.append))
    return f"{run.url} and {run.coap_url}, requests must be linked to their connection"


def _ca_certs(run: Demo) -> str:
    with Conversation(run.target()) as conversation:
        certificates = conversation.ca_certs()
    return ", ".join(subject_text(certificate) for certificate in certificates)


def _csr_attrs(run: Demo) -> str:
    with Conversation(run.target()) as conversation:
        csrattrs = conversation.csr_attrs()
    if csrattrs is None:
        return "the server has no opinion"
    return "; ".join(f"{what}: {which}" for what, which in csrattrs_rows(csrattrs)[1:])


def _enroll(run: Demo) -> str:
    order = Order(
        destination=Destination(directory=run.device, force=False, with_key=True),
        requested=names_from_options(USER, ()),
    )
    return _certified(run.target(log_in=True), order)


def _reenroll(run: Demo) -> str:
    (current,) = load_pem_certificates(run.device / CERTIFICATE)
    key, _ = load_key(run.device / KEY, None)
    order = Order(
        destination=Destination(directory=run.device, force=True, with_key=False),
        requested=names_of_certificate(current),
        key=NewKey(key=key),
        current=current,
    )
    return _certified(run.target(as_device=True), order)


def _enroll_over_coap(run: Demo) -> str:
    order = Order(
        destination=Destination(directory=run.over_coap, force=False, with_key=True),
        requested=names_from_options(USER, ()),
    )
    return _certified(run.target(run.coap_url, as_device=True), order)


def _certified(target: Target, order: Order) -> str:
    received = carry_out(target, order)
    if isinstance(received, RetryLater):
        raise CliError("the CA wants to be asked later", ExitCode.PENDING)
    certificate = received.certificate
    how = "password" if target.identity is None else "certificate"
    serial, until = certificate.serial_number, moment(certificate.not_valid_after_utc)
    return f"{subject_text(certificate)} by {how}, serial {printed_serial(serial)}, until {until}"


def _verify(run: Demo) -> str:
    anchor = run.authority / CA_CERTIFICATE
    leaves = [directory / CERTIFICATE for directory in (run.device, run.over_coap)]
    openssl = shutil.which("openssl")
    if openssl is None:
        for leaf in leaves:
            (certificate,), (issuer, *_) = map(load_pem_certificates, (leaf, anchor))
            try:
                certificate.verify_directly_issued_by(issuer)
            except (ValueError, TypeError, InvalidSignature) as exc:
                raise CliError(f"{leaf}: not issued by {anchor}", ExitCode.REFUSED) from exc
        return "signatures verified with cryptography; there is no openssl on PATH"
    command = [openssl, "verify", "-CAfile", str(anchor), *map(str, leaves)]
    try:
        done = subprocess.run(  # noqa: S603  # our own files, no shell
            command, capture_output=True, text=True, timeout=OPENSSL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CliError(f"{openssl} does not run", ExitCode.LOCAL) from exc
    if done.returncode != 0:
        raise CliError(f"openssl verify says: {done.stderr.strip()}", ExitCode.REFUSED)
    verdicts = ", ".join(line.rpartition(": ")[2] for line in done.stdout.splitlines())
    return f"openssl verify: {verdicts}"


def _revoke(run: Demo) -> str:
    if run.service is None:
        raise CliError("nothing is served", ExitCode.INTERNAL)
    ca, anchor = run.service.authority.ca, run.authority / CA_CERTIFICATE
    return revoke(ca, run.device / CERTIFICATE, anchor, lambda: _reenroll(run))


def _ocsp(run: Demo) -> str:
    leaf, anchor = run.device / CERTIFICATE, run.authority / CA_CERTIFICATE
    return ask_status(ADDRESS, run.published_port, leaf, anchor)


def _stop(run: Demo) -> str:
    run.stack.close()
    challenges = sum(record.status == 401 for record in run.records)
    return f"{len(run.records)} requests served, {challenges} of them with a challenge"


STEPS: Final[dict[str, Callable[[Demo], str]]] = {
    "init": _init,
    "user add": _add_user,
    "serve": _serve,
    "cacerts": _ca_certs,
    "csrattrs": _csr_attrs,
    "enroll": _enroll,
    "reenroll": _reenroll,
    "enroll coaps": _enroll_over_coap,
    "verify": _verify,
    "revoke": _revoke,
    "ocsp": _ocsp,
    "stop": _stop,
}
"""What is done, in order, by the name of the command that does it."""


@contextmanager
def _serving(
    service: Service,
    sockets: tuple[socket.socket, ...],
    datagrams: socket.socket,
    published: tuple[socket.socket, ...],
    observe: Callable[[Record], None],
) -> Iterator[None]:
    """Serve in a thread until the block ends."""
    if (coap := service.coap) is None:
        raise CliError("EST-coaps is not configured", ExitCode.INTERNAL)
    server = Server(
        context_source=lambda: service.context,
        application=service.authority,
        config=service.http,
        observe=observe,
    )
    coap_server = CoapServer(source=lambda: coap, observe=observe)
    publication_server = PublicationServer(source=lambda: service.publication)
    ready = threading.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in sockets]
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, listeners)
            await nursery.start(coap_server.serve, datagrams)
            await nursery.start(publication_server.serve, published)
            tokens.append(trio.lowlevel.current_trio_token())
            ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,), name="est-demo-server", daemon=True)
    thread.start()
    if not ready.wait(STOP_S):
        raise CliError("the server does not start", ExitCode.INTERNAL)
    try:
        yield
    finally:
        for each in (server, coap_server, publication_server):
            tokens[0].run_sync_soon(partial(each.stop, STOP_S))
        thread.join(2 * STOP_S)
