"""The commands of a client that get a certificate: enroll, reenroll, provision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from est_core import RetryLater
from est_core.asn1.pkcs10 import CertRequest
from est_transports import _clock
from est_transports.cli.client.bootstrap import established, provisioned
from est_transports.cli.client.changed_names import NameChange, name_change_options
from est_transports.cli.client.conversation import MAX_WAIT_S
from est_transports.cli.client.enrollment import Order, Received, carry_out
from est_transports.cli.client.key_options import KeyOptions, key_options
from est_transports.cli.client.own_parts import OwnParts, own_part_options
from est_transports.cli.client.pending import find_pending
from est_transports.cli.client.received_certificate import Destination
from est_transports.cli.client.requested_names import (
    RequestedNames,
    load_csr,
    names_from_options,
)
from est_transports.cli.client.target import Target
from est_transports.cli.client.target_options import (
    enrolling_client_options,
    force_option,
    signing_client_options,
)
from est_transports.cli.client.token_keys import TokenKey
from est_transports.cli.describe import (
    fingerprint,
    moment,
    subject_text,
)
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.keys import NewKey
from est_transports.cli.output import (
    print_json,
    print_pairs,
    say,
)
from est_transports.cli.paths import PATH
from est_transports.pki.new_keys import KEY_TYPES
from est_transports.pki.serials import printed_serial

if TYPE_CHECKING:
    from est_transports.pki.pkcs11_uri import Pkcs11Uri
    from est_transports.pki.token_keys import OpenToken

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
_CN = click.option("--cn", metavar="NAME", help="Common name of the certificate.")
_SAN = click.option(
    "--san",
    multiple=True,
    metavar="KIND:NAME,...",
    help="Alternative names: dns:..., ip:..., email:..., uri:...",
)


@click.command("enroll")
@enrolling_client_options
@_CN
@_SAN
@click.option("--csr", type=PATH, metavar="FILE", help="Send this request, PEM or DER.")
@key_options
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
    keys: KeyOptions,
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
    key.pem unless it came with --new-key, or is made in a token by --make-key.
    """
    _check_usage(parts=bool(cn or san or own), csr=csr, keys=keys)
    token, key = keys.token(), keys.key()
    request = None if csr is None else _foreign_request(csr, keys.new_key, key)
    if request is not None:
        requested = RequestedNames(subject=request.subject)
    else:
        requested = own.added_to(_requested_names(cn, san, out, keys, token))
    order = Order(
        destination=_destination(out, token, force=force, with_key=not (request or key)),
        requested=requested,
        csr=request,
        key=key,
        token=token,
        key_type=keys.key_type,
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
@key_options
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
    keys: KeyOptions,
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
    token, key = keys.token(), keys.key()
    destination = _destination(out, token, force=force, with_key=key is None, with_trust=True)
    order = Order(
        destination=destination,
        requested=own.added_to(_requested_names(cn, san, out, keys, token)),
        key=key,
        token=token,
        key_type=keys.key_type,
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
@name_change_options
@key_options
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
    new_names: NameChange,
    keys: KeyOptions,
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

    The same names, unless --new-subject or --new-san, which not every server grants; and the same
    key unless --rekey, --new-key or --make-key. A new key.pem is encrypted with the password of the
    old one, if it has one. With --force, --out may be where the
    old files are: they are replaced once the new ones are verified.
    """
    if target.identity is None:
        raise CliError("reenroll needs --cert and --key", ExitCode.USAGE)
    _check_renewal_usage(keys, own, rekey=rekey)
    current = target.identity.certificate
    requested, change = new_names.of(current)
    token, key = keys.token(), keys.key()
    makes = rekey or token is not None
    old = NewKey(key=target.identity.key)
    order = Order(
        destination=_destination(out, token, force=force, with_key=makes),
        requested=requested,
        key=None if makes else key or old,
        token=token,
        key_type=keys.key_type or (_same_type(old) if makes else None),
        key_password=target.key_password,
        current=current,
        change=change,
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


def _destination(
    directory: Path,
    token: OpenToken | None,
    *,
    force: bool,
    with_key: bool,
    with_trust: bool = False,
) -> Destination:
    return Destination(
        directory=directory,
        force=force,
        with_key=with_key,
        with_trust=with_trust,
        in_token=token is not None,
    )


def _check_usage(*, parts: bool, csr: Path | None, keys: KeyOptions) -> None:
    if csr is not None and parts:
        raise CliError(
            "--csr goes without --cn, --san, --attr and --revocation-challenge-file", ExitCode.USAGE
        )
    if csr is not None and keys.make_key is not None:
        raise CliError("--make-key goes without --csr", ExitCode.USAGE)
    if csr is not None and keys.key_type is not None:
        raise CliError("--key-type is for keys that are made here", ExitCode.USAGE)


def _check_renewal_usage(keys: KeyOptions, own: OwnParts, *, rekey: bool) -> None:
    if keys.key_type is not None and not (rekey or keys.make_key):
        raise CliError("--key-type goes with --rekey or --make-key", ExitCode.USAGE)
    if rekey and keys.are_given:
        raise CliError("--rekey goes without --new-key and --make-key", ExitCode.USAGE)
    if own.subject:
        raise CliError(
            "--attr: a renewal keeps the subject it has", ExitCode.USAGE, "use --new-subject"
        )


def _foreign_request(
    path: Path, key_path: Path | Pkcs11Uri | None, key: NewKey | TokenKey | None
) -> CertRequest:
    """Return the request in a file, which is for this key where there is one."""
    request = load_csr(path)
    if key is not None and key.spki != request.spki:
        raise CliError(f"{key_path}: is not the key of {path}", ExitCode.LOCAL)
    return request


def _same_type(key: NewKey) -> str | None:
    """Return the name of a key's kind, None where --key-type has none for it."""
    name = key.facts.name.lower().replace(" ", ":")
    return next((known for known in KEY_TYPES if known.lower() == name), None)


def _requested_names(
    cn: str | None,
    san: tuple[str, ...],
    directory: Path,
    keys: KeyOptions,
    token: OpenToken | None,
) -> RequestedNames:
    """Return what --cn and --san say, else what is pending in a directory."""
    if cn is not None or san:
        return names_from_options(cn, san)
    pending = None if keys.new_key else find_pending(directory, token=token)
    if pending is None:
        raise CliError("nothing to enroll", ExitCode.USAGE, "give --cn NAME or --csr FILE")
    say(f"going on with the request for {pending.requested.text}")
    return pending.requested
