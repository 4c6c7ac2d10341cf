"""`est cacerts`: the CA certificates of a server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.cli.client.bootstrap import established
from est_transports.cli.client.conversation import Conversation
from est_transports.cli.client.target import Target
from est_transports.cli.client.target_options import asking_client_options, force_option
from est_transports.cli.describe import certificate_values, fingerprint, moment, subject_text
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import CA_CERTIFICATES, Output, refuse_existing, write_files
from est_transports.cli.output import print_blocks, print_json, print_text, say
from est_transports.cli.paths import PATH
from est_transports.pki.credential_files import certificates_pem

_STDOUT: Final = Path("-")
_DAY_S: Final = 86400.0


@click.command("cacerts")
@asking_client_options
@click.option(
    "--out",
    type=PATH,
    metavar="DIR|-",
    help="Write cacerts.pem there; - writes PEM to standard output.",
)
@click.option("--pem", is_flag=True, help="Print PEM, as is done where the output is no terminal.")
@click.option(
    "--update",
    is_flag=True,
    help="Follow the CA to a new root that the old one certified: write to the file of --trust "
    "whom to trust from now on.",
)
@click.option(
    "--keep-old-days",
    type=click.IntRange(0, 36500),
    metavar="DAYS",
    help="With --update: keep an old root so long beside its successor.  [default: 365]",
)
@click.option(
    "--allow-renamed",
    is_flag=True,
    help="With --update: the new root may have another name than the old one. Any issuing CA "
    "below the old one may call itself its successor then.",
)
@force_option
def cacerts(
    target: Target,
    *,
    out: Path | None,
    pem: bool,
    update: bool,
    keep_old_days: int | None,
    allow_renamed: bool,
    force: bool,
    as_json: bool,
) -> ExitCode:
    """Fetch the CA certificates of the server at URL.

    URL is https://HOST[:PORT][/LABEL], or coaps:// in place of https:// (EST over CoAP and DTLS;
    needs --cert and --key).
    """
    if update:
        _refuse_beside_update(target, out, pem=pem)
        return _update(target, keep_old_days, allow_renamed=allow_renamed, as_json=as_json)
    if keep_old_days is not None or allow_renamed:
        raise CliError("--keep-old-days and --allow-renamed go with --update", ExitCode.USAGE)
    path = None if out in (None, _STDOUT) else out / CA_CERTIFICATES
    if path is not None and not force:
        refuse_existing([path])
    target = established(target)
    certificates = target.ca_certificates
    if certificates is None:
        with Conversation(target) as conversation:
            certificates = conversation.ca_certs()
    if path is not None:
        write_files([Output(path=path, content=certificates_pem(certificates))], overwrite=force)
        say(f"wrote {path}")
    as_pem = pem or out == _STDOUT or (out is None and not sys.stdout.isatty())
    _print(certificates, as_json=as_json, as_pem=as_pem)
    return ExitCode.DONE


def _print(certificates: Sequence[x509.Certificate], *, as_json: bool, as_pem: bool) -> None:
    if as_json:
        print_json([_with_pem(certificate) for certificate in certificates])
    elif as_pem:
        print_text(certificates_pem(certificates).decode("ascii"))
    else:
        print_blocks(
            ("subject", "not before", "not after", "SHA-256"),
            [
                (
                    subject_text(certificate),
                    moment(certificate.not_valid_before_utc),
                    moment(certificate.not_valid_after_utc),
                    fingerprint(certificate),
                )
                for certificate in certificates
            ],
        )


def _refuse_beside_update(target: Target, out: Path | None, *, pem: bool) -> None:
    if target.trust_file is None:
        raise CliError(
            "--update goes with --trust: it is about that file",
            ExitCode.USAGE,
            "a first file of trust anchors is written by `est provision`, or with --out",
        )
    if out is not None or pem:
        raise CliError("--update goes without --out and without --pem", ExitCode.USAGE)


def _update(
    target: Target, keep_old_days: int | None, *, allow_renamed: bool, as_json: bool
) -> ExitCode:
    # Not before: nobody else needs what it takes to follow a CA.
    from est_core.trust import TrustPolicy
    from est_transports.cli.client.trust_update import TrustUpdate, print_update

    if target.trust_file is None:
        raise TypeError("the options were checked")
    usual = TrustPolicy(renamed=allow_renamed)
    policy = usual if keep_old_days is None else replace(usual, keep_old_s=keep_old_days * _DAY_S)
    with Conversation(target) as conversation:
        received, shown = conversation.ca_certs_and_chain()
    followed = TrustUpdate(path=target.trust_file, policy=policy).carry_out(target, received, shown)
    print_update(followed, as_json=as_json)
    return ExitCode.DONE


def _with_pem(certificate: x509.Certificate) -> dict[str, object]:
    pem = certificate.public_bytes(Encoding.PEM).decode("ascii")
    return {**certificate_values(certificate), "pem": pem}
