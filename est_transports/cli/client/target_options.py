"""The options of every client command: which server, by whom it is trusted, and who we are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from cryptography import x509

from est_core import (
    EstUri,
    Label,
    LinkWith,
    LocalProtocolError,
    PopMode,
    TlsVersion,
)
from est_transports import _clock
from est_transports.cli.client.coap_paths import coap_path_options
from est_transports.cli.client.crl_options import CRL_NAMES, CRL_OPTIONS, revocation_of
from est_transports.cli.client.hints import remedy
from est_transports.cli.client.login_options import CODE_OPTIONS, LOGIN_OPTIONS, LoginOptions
from est_transports.cli.client.proxy_options import PROXY_NAMES, PROXY_OPTIONS, proxy_of
from est_transports.cli.client.system_trust import system_anchors
from est_transports.cli.client.target import Fingerprint, Target
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.keys import load_key
from est_transports.cli.options import json_option, verbose_option
from est_transports.cli.output import is_watched, log_as_warnings, warn
from est_transports.cli.paths import KEY_PLACE, PATH
from est_transports.client_config import ClientTimeouts
from est_transports.pki.clock_floor import read_clock_floor
from est_transports.pki.trust import (
    CredentialFileError,
    TlsIdentity,
    TrustAnchors,
    load_pem_certificates,
)

if TYPE_CHECKING:
    from est_transports.pki.pkcs11_uri import Pkcs11Uri

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

NO_CLIENT_AUTH: Final = "token/no-client-auth"
"""TLS was to show a certificate whose key is in a token."""
TLS_VERSIONS: Final = {"1.2": TlsVersion.TLS_1_2, "1.3": TlsVersion.TLS_1_3}


WHOM_TO_TRUST: Final = (
    "give --trust CA.pem or --fingerprint SHA256 for the EST CA, or --system-trust for every CA"
    " that this machine trusts"
)


# A file that may not be read is no error of usage: `readable` would make it one.

_OPTIONS: Final = (
    click.argument("url"),
    click.option("--trust", type=PATH, metavar="CA.pem",
                 help="Trust servers certified by these CAs and no others."),
    click.option("--fingerprint", metavar="SHA256",
                 help="Fetch the CA certificates first and trust the root with this fingerprint "
                 "(SHA-256, SHA-384 or SHA-512), and no other CA."),
    click.option("--system-trust", is_flag=True,
                 help="Trust servers certified by any of the CAs that this machine trusts."),
    *CRL_OPTIONS,
    *LOGIN_OPTIONS,
    click.option("--cert", type=PATH, metavar="CERT.pem",
                 help="Show this certificate (with intermediates, if any) to the server."),
    click.option("--key", type=KEY_PLACE, metavar="KEY.pem",
                 help="Its private key, in a file: TLS cannot use one in a token here."),
    click.option("--key-password-file", type=PATH, metavar="FILE",
                 help="Password of an encrypted private key; without it you are asked."),
    click.option("--label", metavar="LABEL", help="Label of the CA or profile at the server."),
    click.option("--root", metavar="PATH",
                 help="With coaps://: where the server has its EST resources, such as /est. "
                 "Without it they are below /.well-known/est, or where the server's list of "
                 "resources says, if they are not."),
    click.option("--discover", is_flag=True,
                 help="With coaps://: ask for the list of resources first."),
    *PROXY_OPTIONS,
    click.option("--tls-max", type=click.Choice(list(TLS_VERSIONS)), help="Newest TLS version."),
    click.option("--clock-floor", metavar="DATE",
                 help="A moment that has passed for certain, such as 2026-11-27 or "
                 "2026-11-27T12:00:00Z: while this machine's clock shows less, it is not believed, "
                 "and certificates are judged by this."),
    click.option("--timeout", type=click.FloatRange(min=0.1, max=3600), metavar="SECONDS",
                 help="For connecting, the handshake, and each answer, instead of 10, 10 and 75."),
    json_option,
    verbose_option,
)  # fmt: skip

_SIGNING: Final = (
    click.option("--digest", type=click.Choice(["sha256", "sha384", "sha512"]),
                 help="Hash to sign the request with."),
    click.option("--pop", type=click.Choice([mode.value for mode in PopMode]), default="auto",
                 show_default=True,
                 help="Link the request to the connection: where possible, always, or never."),
    click.option("--link-with", type=click.Choice([each.value for each in LinkWith]),
                 default="auto", show_default=True,
                 help="Attribute that links the request: what the server lists, or this one."),
    click.option("--tls-exporter", is_flag=True,
                 help="Link on TLS 1.3 too, by RFC 9266; the server must have been told the same."),
)  # fmt: skip

_LOGIN_NAMES: Final = tuple(each.name for each in fields(LoginOptions))
_NAMES: Final = ("url", "trust", "fingerprint", "system_trust", *_LOGIN_NAMES, "cert",
                 "key", "key_password_file", "label", "pop", "tls_exporter",
                 "tls_max", "root", "discover", "timeout")  # fmt: skip


def client_options(command: Decorated) -> Decorated:
    """Add the options of all client commands; the command gets a Target first, and `as_json`."""
    return _with_options(command, _OPTIONS)


def asking_client_options(command: Decorated) -> Decorated:
    """Add the options of a client command that asks whom to trust, as client_options does."""
    return _with_options(command, _OPTIONS, asks=True)


def signing_client_options(command: Decorated) -> Decorated:
    """Add the options of client commands that send a signed request, as client_options does."""
    return _with_options(command, (*_OPTIONS[:-2], *_SIGNING, *_OPTIONS[-2:]))


def enrolling_client_options(command: Decorated) -> Decorated:
    """Add the options of client commands that may enroll with a code, as asking_client_options."""
    added = (*_OPTIONS[:-2], *CODE_OPTIONS, *_SIGNING, *_OPTIONS[-2:])
    return _with_options(command, added, asks=True)


def force_option(command: Decorated) -> Decorated:
    """Add --force, for commands that write files; the command gets `force`."""
    return click.option("--force", is_flag=True, help="Replace files that are there.")(command)


def _with_options(
    command: Decorated, added: Sequence[Callable[[Any], Any]], *, asks: bool = False
) -> Decorated:
    """Add options. A command that `asks` has a person decide whom to trust, if there is one."""

    @functools.wraps(command)
    def with_target(**options: Any) -> Any:
        trust_file = options["trust"]
        over_coap = options["url"].lower().startswith("coaps:")  # RFC 9148 3
        with log_as_warnings():
            target = make_target(
                **{name: options.pop(name) for name in _NAMES if name in options},
                ask=asks and not over_coap and not options["as_json"] and is_watched(),
            )
            target = replace(
                target,
                revocation=revocation_of(*(options.pop(name) for name in CRL_NAMES)),
                link_with=LinkWith(options.pop("link_with", LinkWith.AUTO.value)),
                digest=options.pop("digest", None),
                proxy=proxy_of(target.uri, *(options.pop(name) for name in PROXY_NAMES)),
                clock_floor=_clock_floor(options.pop("clock_floor")),
                trust_file=trust_file,
            )
            return command(target, **options)

    decorated: Any = with_target
    for option in reversed(added):
        decorated = option(decorated)
    # functools.wraps keeps the signature for readers; click calls with its own keywords.
    result: Decorated = decorated
    return result


def make_target(
    *,
    url: str,
    trust: Path | None = None,
    fingerprint: str | None = None,
    system_trust: bool = False,
    cert: Path | None = None,
    key: Path | Pkcs11Uri | None = None,
    key_password_file: Path | None = None,
    label: str | None = None,
    pop: str = "auto",
    tls_exporter: bool = False,
    tls_max: str | None = None,
    root: str | None = None,
    discover: bool = False,
    timeout: float | None = None,
    ask: bool = False,
    **login_options: Any,
) -> Target:
    """Return what the options mean; `login_options` are those of LoginOptions.

    Raises CliError: USAGE, or LOCAL for files.
    """
    uri = parse_url(url, label)
    given = _logins(uri, login_options, cert=cert, tls_max=tls_max, fingerprint=fingerprint)
    identity, password = identity_of_options(cert, key, key_password_file)
    explicit, implicit = _anchors(trust, fingerprint, given, system_trust=system_trust, ask=ask)
    login, code, srp = given.read(uri, implicit=bool(implicit))
    return Target(
        uri=uri,
        trust=explicit,
        implicit=implicit,
        fingerprint=fingerprint_of_option(fingerprint),
        identity=identity,
        key_password=password,
        login=login,
        srp=srp,
        code=code,
        pop=PopMode(pop),
        tls_exporter=tls_exporter,
        max_version=_max_version(tls_max, uri, tls_exporter=tls_exporter),
        coap_paths=coap_path_options(uri, root, discover=discover),
        timeouts=timeouts_of_option(timeout),
    )


def _anchors(
    trust: Path | None,
    fingerprint: str | None,
    login: LoginOptions,
    *,
    system_trust: bool,
    ask: bool,
) -> tuple[tuple[x509.Certificate, ...], tuple[x509.Certificate, ...]]:
    """Return the explicit and the implicit trust anchors."""
    is_given = trust is not None or fingerprint is not None or system_trust
    if not is_given and login.srp_user is None and not ask:
        raise CliError("by which CA must the server be certified?", ExitCode.USAGE, WHOM_TO_TRUST)
    anchors = trust_of_options(trust, fingerprint, system_trust=system_trust)
    return anchors.explicit, anchors.implicit


def trust_of_options(
    trust: Path | None, fingerprint: str | None, *, system_trust: bool
) -> TrustAnchors:
    """Return the trust anchors that were given, perhaps none. Raises CliError."""
    ways = {
        "--trust": trust is not None,
        "--fingerprint": fingerprint is not None,
        "--system-trust": system_trust,
    }
    given = [name for name, is_given in ways.items() if is_given]
    if len(given) > 1:  # RFC 7030 3.6: explicit anchors disable the implicit ones
        raise CliError(f"{given[0]} and {given[1]} exclude each other", ExitCode.USAGE)
    return TrustAnchors(
        explicit=() if trust is None else _of_option("--trust", trust),
        implicit=system_anchors() if system_trust else (),
    )


def _max_version(text: str | None, uri: EstUri, *, tls_exporter: bool) -> TlsVersion | None:
    if tls_exporter and (uri.scheme == "coaps" or text == "1.2"):
        raise CliError("--tls-exporter is about TLS 1.3", ExitCode.USAGE)
    return None if text is None else TLS_VERSIONS[text]


def fingerprint_of_option(text: str | None) -> Fingerprint | None:
    """Return what decides by the fingerprint that was given. Raises CliError (USAGE)."""
    try:
        return None if text is None else Fingerprint(text)
    except LocalProtocolError as exc:
        raise CliError(
            f"--fingerprint: {exc.message}", ExitCode.USAGE, "`est init` prints the CA's"
        ) from exc


def timeouts_of_option(seconds: float | None) -> ClientTimeouts:
    """Return the times that --timeout gives."""
    if seconds is None:
        return ClientTimeouts()
    return ClientTimeouts(connect_s=seconds, handshake_s=seconds, response_s=seconds)


def parse_url(url: str, label: str | None) -> EstUri:
    """Return the server that URL and label name. Raises CliError (USAGE)."""
    try:
        uri = EstUri.parse(url)
        if label is not None:
            named = Label(label)
            if uri.label not in (None, named):
                raise LocalProtocolError("--label names another label than the URL")
            uri = replace(uri, label=named)
    except LocalProtocolError as exc:
        raise CliError(
            f"{url}: {exc.message}",
            ExitCode.USAGE,
            "a server is https://HOST[:PORT][/LABEL], or coaps:// in place of https://",
        ) from exc
    return uri


def _clock_floor(text: str | None) -> datetime | None:
    """Return the moment that an option means, and warn where the clock is behind it."""
    if text is None:
        return None
    try:
        floor = read_clock_floor(text)
    except LocalProtocolError as exc:
        raise CliError(f"--clock-floor: {text} {exc.message}", ExitCode.USAGE) from exc
    now = _clock.instant().wall
    if now < floor:
        warn(
            f"this machine's clock shows {moment(now)}, which is behind {moment(floor)}: "
            "certificates are judged by that"
        )
    return floor


def _check_coaps(
    uri: EstUri,
    given: LoginOptions,
    *,
    cert: Path | None,
    tls_max: str | None,
    fingerprint: str | None,
) -> None:
    """Refuse what there is not over CoAP. RFC 9148 1, 3."""
    if uri.scheme != "coaps":
        return
    if fingerprint is not None:
        raise CliError(
            f"{uri}: over CoAP nobody is spoken to who does not verify",
            ExitCode.USAGE,
            "use --trust, or --fingerprint with https:// first",
        )
    if given.logs_in or given.srp_user is not None:
        raise CliError(
            f"{uri}: there are no passwords over CoAP", ExitCode.USAGE, "use --cert and --key"
        )
    if cert is None:
        raise CliError(
            f"{uri}: over CoAP a client shows a certificate",
            ExitCode.USAGE,
            "give --cert and --key: the manufacturer's, or one from an earlier enrollment",
        )
    if tls_max is not None:
        raise CliError(f"{uri}: --tls-max is about TLS; this is DTLS 1.2", ExitCode.USAGE)


def _logins(
    uri: EstUri,
    login_options: dict[str, Any],
    *,
    cert: Path | None,
    tls_max: str | None,
    fingerprint: str | None,
) -> LoginOptions:
    """Return what there is to log in with. Refuse what does not go together with that."""
    given = LoginOptions(**login_options)
    _check_coaps(uri, given, cert=cert, tls_max=tls_max, fingerprint=fingerprint)
    if given.srp_user is not None and (cert is not None or fingerprint is not None):
        raise CliError(
            "--srp-user goes without --cert and without --fingerprint",
            ExitCode.USAGE,
            "the password is what proves both sides to each other",
        )
    return given


def _of_option(
    option: str, path: Path, *, needs_first: bool = False
) -> tuple[x509.Certificate, ...]:
    """Return the certificates of the file that an option names. Raises CredentialFileError."""
    try:
        return load_pem_certificates(path, left_out=warn, needs_first=needs_first)
    except CredentialFileError as exc:
        raise CredentialFileError(path, f"{exc.reason} ({option})") from exc


def identity_of_options(
    cert: Path | None, key: Path | Pkcs11Uri | None, password_file: Path | None
) -> tuple[TlsIdentity | None, bytes | None]:
    """Return who we are, and the password of the key. Raises CliError, CredentialFileError."""
    if cert is None or key is None:
        if cert is not None or key is not None:
            raise CliError("--cert and --key go together", ExitCode.USAGE)
        if password_file is not None:
            raise CliError("--key-password-file goes with --key", ExitCode.USAGE)
        return None, None
    if not isinstance(key, Path):
        raise CliError(
            "the key of --cert is in a token, and TLS cannot sign with it here",
            ExitCode.LOCAL,
            remedy(NO_CLIENT_AUTH),
            error_code=NO_CLIENT_AUTH,
        )
    chain = _of_option("--cert", cert, needs_first=True)
    private_key, password = load_key(key, password_file)
    try:
        return TlsIdentity(chain=chain, key=private_key), password
    except LocalProtocolError as exc:
        reason = f"is not the key of the first certificate in {cert} (--key)"
        raise CredentialFileError(key, reason) from exc
