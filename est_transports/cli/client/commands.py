"""The commands of a client that get a certificate: enroll, reenroll, provision."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from est_core import RetryLater
from est_core.asn1.pkcs10 import CertRequest
from est_transports import _clock
from est_transports.cli.client.bootstrap import established, provisioned
from est_transports.cli.client.conversation import MAX_WAIT_S
from est_transports.cli.client.enrollment import Order, Received, carry_out
from est_transports.cli.client.own_parts import OwnParts, own_part_options
from est_transports.cli.client.pending import find_pending
from est_transports.cli.client.received_certificate import Destination
from est_transports.cli.client.requested_names import (
    RequestedNames,
    load_csr,
    names_from_options,
    names_of_certificate,
)
from est_transports.cli.client.target import Target
from est_transports.cli.client.target_options import (
    enrolling_client_options,
    force_option,
    signing_client_options,
)
from est_transports.cli.describe import (
    fingerprint,
    moment,
    subject_text,
)
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.keys import NewKey, load_key, spki_of
from est_transports.cli.output import (
    print_json,
    print_pairs,
    say,
)
from est_transports.cli.paths import PATH
from est_transports.pki.new_keys import KEY_TYPES
from est_transports.pki.serials import printed_serial
from est_transports.pki.signers import SigningKey

_HERE: Final = Path()
_OUT = click.option(
    "--out",
    type=PATH,
    default=_HERE,
    metavar="DIR",
    help="Where key.pem, cert.pem, chain.pem and cacerts.pem go.  [default: this directory]",
)
_WAIT = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0, max=MAX_WAIT_S),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long where the server answers later; else exit with 3 at once.",
)
_ACCEPT_CHANGES = click.option(
    "--accept-changes",
    is_flag=True,
    help="Take a certificate with other names than asked for, or that of a CA, or an expired one.",
)
_STRICT = click.option(
    "--strict-csrattrs",
    is_flag=True,
    help="Send nothing that does not hold all that the server asks for.",
)
_KEY_TYPES = click.Choice(list(KEY_TYPES), case_sensitive=False)
_CN = click.option("--cn", metavar="NAME", help="Common name of the certificate.")
_SAN = click.option(
    "--san",
    multiple=True,
    metavar="KIND:NAME,...",
    help="Alternative names: dns:..., ip:..., email:..., uri:...",
)
_KEY_TYPE = click.option(
    "--key-type",
    type=_KEY_TYPES,
    help="Kind of key to make.  [default: what the server asks for, else ec:P-256]",
)


@click.command("enroll")
@enrolling_client_options
@_CN
@_SAN
@click.option("--csr", type=PATH, metavar="FILE", help="Send this request, PEM or DER.")
@click.option(
    "--new-key",
    type=PATH,
    metavar="FILE",
    help="Have this key certified: an existing one, or that of --csr.",
)
@click.option("--new-key-password-file", type=PATH, metavar="FILE", help="Its password.")
@_KEY_TYPE
@_OUT
@force_option
@_ACCEPT_CHANGES
@own_part_options
@_STRICT
@_WAIT
def enroll(
    target: Target,
    *,
    cn: str | None,
    san: tuple[str, ...],
    csr: Path | None,
    new_key: Path | None,
    new_key_password_file: Path | None,
    key_type: str | None,
    out: Path,
    force: bool,
    accept_changes: bool,
    own: OwnParts,
    strict_csrattrs: bool,
    wait_s: float,
    as_json: bool,
) -> ExitCode:
    """Get a certificate from the server at URL.

    URL is https://HOST[:PORT][/LABEL], or coaps:// in place of https:// (EST over CoAP and DTLS;
    needs --cert and --key).

    Give --cn or --csr; neither goes on with a request that is pending in --out. The new key is
    key.pem unless it came with --new-key.
    """
    _check_usage(parts=bool(cn or san or own), csr=csr, new_key=new_key, key_type=key_type)
    key = None if new_key is None else _new_key(new_key, new_key_password_file)
    request = None if csr is None else _foreign_request(csr, new_key, key)
    if request is not None:
        requested = RequestedNames(subject=request.subject)
    else:
        requested = own.added_to(_requested_names(cn, san, out, given_key=key is not None))
    order = Order(
        destination=Destination(
            directory=out, force=force, with_key=request is None and key is None
        ),
        requested=requested,
        csr=request,
        key=key,
        key_type=key_type,
        accept_changes=accept_changes,
        strict_csrattrs=strict_csrattrs,
        own=own,
        wait_s=wait_s,
    )
    order.destination.check()
    return _finish(carry_out(established(target), order), as_json=as_json)


@click.command("provision")
@enrolling_client_options
@_CN
@_SAN
@_KEY_TYPE
@_OUT
@force_option
@_ACCEPT_CHANGES
@own_part_options
@_STRICT
@_WAIT
def provision(
    target: Target,
    *,
    cn: str | None,
    san: tuple[str, ...],
    key_type: str | None,
    out: Path,
    force: bool,
    accept_changes: bool,
    own: OwnParts,
    strict_csrattrs: bool,
    wait_s: float,
    as_json: bool,
) -> ExitCode:
    """Give a new device its trust and its certificate, from the server at URL.

    URL is https://HOST[:PORT][/LABEL], or coaps:// in place of https:// (EST over CoAP and DTLS;
    needs --cert and --key).

    Fetches the CA certificates, believed by their --fingerprint or because --trust, or the
    system's trust store (--system-trust), verifies the server. From then on they are all that is
    trusted: a new connection is verified by them, gets the certificate, and leaves them in
    cacerts.pem. Without --cn and --san it goes on with a request that is pending in --out.
    """
    destination = Destination(directory=out, force=force, with_key=True, with_trust=True)
    order = Order(
        destination=destination,
        requested=own.added_to(_requested_names(cn, san, out, given_key=False)),
        key_type=key_type,
        accept_changes=accept_changes,
        strict_csrattrs=strict_csrattrs,
        own=own,
        wait_s=wait_s,
    )
    destination.check()
    return _finish(carry_out(provisioned(target), order), as_json=as_json)


@click.command("reenroll")
@signing_client_options
@click.option("--rekey", is_flag=True, help="Make a new key, instead of keeping the old one.")
@click.option(
    "--key-type",
    type=_KEY_TYPES,
    help="Kind of key to make with --rekey.  [default: the kind of the old key]",
)
@_OUT
@force_option
@_ACCEPT_CHANGES
@own_part_options
@_STRICT
@_WAIT
def reenroll(
    target: Target,
    *,
    rekey: bool,
    key_type: str | None,
    out: Path,
    force: bool,
    accept_changes: bool,
    own: OwnParts,
    strict_csrattrs: bool,
    wait_s: float,
    as_json: bool,
) -> ExitCode:
    """Renew the certificate given with --cert and --key at the server at URL.

    URL is https://HOST[:PORT][/LABEL], or coaps:// in place of https:// (EST over CoAP and DTLS;
    needs --cert and --key).

    The same names, and the same key unless --rekey; a new key is encrypted with the password of
    the old one, if it has one. With --force, --out may be where the old files are: they are
    replaced once the new ones are verified.
    """
    if target.identity is None:
        raise CliError("reenroll needs --cert and --key", ExitCode.USAGE)
    if key_type is not None and not rekey:
        raise CliError("--key-type goes with --rekey", ExitCode.USAGE)
    if own.subject:
        raise CliError("--attr: a renewal keeps the names it has", ExitCode.USAGE)
    key = target.identity.key
    current = target.identity.certificate
    order = Order(
        destination=Destination(directory=out, force=force, with_key=rekey),
        requested=names_of_certificate(current),
        key=None if rekey else NewKey(key=key),
        key_type=key_type or (_same_type(key) if rekey else None),
        key_password=target.key_password,
        current=current,
        accept_changes=accept_changes,
        strict_csrattrs=strict_csrattrs,
        own=own,
        wait_s=wait_s,
    )
    order.destination.check()
    return _finish(carry_out(established(target), order), as_json=as_json)


def _finish(result: Received | RetryLater, *, as_json: bool) -> ExitCode:
    """Print what came of it and return the exit code."""
    if isinstance(result, RetryLater):
        left_s = max(0, round(result.at.mono - _clock.instant().mono))
        if as_json:
            values = {"status": "pending", "retry_at": moment(result.at.wall)}
            print_json({**values, "retry_after_s": left_s})
        say(
            "est: pending: the server has not decided yet; run the same command again after "
            f"{moment(result.at.wall)} (in {left_s} s)"
        )
        return ExitCode.PENDING
    if as_json:
        print_json(result.values())
    else:
        certificate = result.certificate
        rows = [
            ("subject", subject_text(certificate)),
            ("serial", printed_serial(certificate.serial_number)),
            ("not after", moment(certificate.not_valid_after_utc)),
            ("SHA-256", fingerprint(certificate)),
            *(("file", file) for file in result.files),
        ]
        print_pairs(rows)
    return ExitCode.DONE


def _new_key(path: Path, password_file: Path | None) -> NewKey:
    key, password = load_key(path, password_file, "--new-key-password-file")
    return NewKey(key=key, password=password)


def _check_usage(
    *, parts: bool, csr: Path | None, new_key: Path | None, key_type: str | None
) -> None:
    if csr is not None and parts:
        raise CliError(
            "--csr goes without --cn, --san, --attr and --revocation-challenge-file", ExitCode.USAGE
        )
    if key_type is not None and (csr or new_key):
        raise CliError("--key-type is for keys that are made here", ExitCode.USAGE)


def _foreign_request(path: Path, key_path: Path | None, key: NewKey | None) -> CertRequest:
    """Return the request in a file, which is for this key where there is one."""
    request = load_csr(path)
    if key is not None and spki_of(key.key) != request.spki:
        raise CliError(f"{key_path}: is not the key of {path}", ExitCode.LOCAL)
    return request


def _same_type(key: SigningKey) -> str | None:
    """Return the name of a key's kind, None where --key-type has none for it."""
    name = NewKey(key=key).facts.name.lower().replace(" ", ":")
    return next((known for known in KEY_TYPES if known.lower() == name), None)


def _requested_names(
    cn: str | None, san: tuple[str, ...], directory: Path, *, given_key: bool
) -> RequestedNames:
    """Return what --cn and --san say, else what is pending in a directory."""
    if cn is not None or san:
        return names_from_options(cn, san)
    pending = None if given_key else find_pending(directory)
    if pending is None:
        raise CliError("nothing to enroll", ExitCode.USAGE, "give --cn NAME or --csr FILE")
    say(f"going on with the request for {pending.requested.text}")
    return pending.requested
