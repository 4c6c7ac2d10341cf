"""`est cacerts`: the CA certificates of a server."""

from __future__ import annotations

import sys
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
from est_transports.cli.errors import ExitCode
from est_transports.cli.files import (
    CA_CERTIFICATES,
    Output,
    certificates_pem,
    refuse_existing,
    write_files,
)
from est_transports.cli.output import print_blocks, print_json, print_text, say
from est_transports.cli.paths import PATH

_STDOUT: Final = Path("-")


@click.command("cacerts")
@asking_client_options
@click.option(
    "--out",
    type=PATH,
    metavar="DIR|-",
    help="Write cacerts.pem there; - writes PEM to standard output.",
)
@click.option("--pem", is_flag=True, help="Print PEM, as is done where the output is no terminal.")
@force_option
def cacerts(target: Target, *, out: Path | None, pem: bool, force: bool, as_json: bool) -> ExitCode:
    """Fetch the CA certificates of the server at URL.

    URL is https://HOST[:PORT][/LABEL], or coaps:// in place of https:// (EST over CoAP and DTLS;
    needs --cert and --key).
    """
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
    if as_json:
        print_json([_with_pem(certificate) for certificate in certificates])
    elif pem or out == _STDOUT or (out is None and not sys.stdout.isatty()):
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
    return ExitCode.DONE


def _with_pem(certificate: x509.Certificate) -> dict[str, object]:
    pem = certificate.public_bytes(Encoding.PEM).decode("ascii")
    return {**certificate_values(certificate), "pem": pem}
