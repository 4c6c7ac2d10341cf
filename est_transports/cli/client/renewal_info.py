"""`est renewal-info`: when a server suggests to renew a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from cryptography import x509

from est_core import RenewalInfoReceived, RenewalWindow
from est_transports import _clock
from est_transports.cli.client.bootstrap import established
from est_transports.cli.client.conversation import Conversation
from est_transports.cli.client.target import Target
from est_transports.cli.client.target_options import client_options
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.output import print_json, print_line, print_pairs
from est_transports.cli.paths import PATH
from est_transports.pki.credential_files import load_pem_certificates


@click.command("renewal-info")
@client_options
@click.option(
    "--of",
    "of",
    type=PATH,
    metavar="CERT.pem",
    help="The certificate that is asked about, instead of that of --cert.",
)
def renewal_info(target: Target, *, of: Path | None, as_json: bool) -> ExitCode:
    """Show when the server at URL suggests to renew a certificate.

    URL is https://HOST[:PORT][/LABEL], or coaps:// in place of https:// (EST over CoAP and DTLS;
    needs --cert and --key). Over https:// --of alone will do: most servers tell everybody.
    """
    certificate = _certificate(target, of)
    with Conversation(established(target)) as conversation:
        found = conversation.renewal_info(certificate)
    window = found.window
    if as_json:
        ends = None
        if window is not None:
            ends = {"start": moment(window.start), "end": moment(window.end)}
        print_json(
            {
                "window": ends,
                "retry_after_s": found.retry_after_s,
                "explanation_url": found.explanation_url or None,
            }
        )
    elif window is None:
        print_line("the server does not say when to renew it")
    else:
        print_pairs(tuple(_rows(found, window)))
    return ExitCode.DONE


def _certificate(target: Target, of: Path | None) -> x509.Certificate:
    if of is not None:
        return load_pem_certificates(of, needs_first=True)[0]
    if target.identity is None:
        raise CliError("which certificate? name it with --of", ExitCode.USAGE)
    return target.identity.certificate


def _rows(found: RenewalInfoReceived, window: RenewalWindow) -> Iterator[tuple[str, str]]:
    now = _clock.instant().wall
    yield "renew from", moment(window.start)
    yield "until", moment(window.end)
    if now >= window.end:
        yield "that is", "over: renew now"
    elif now >= window.start:
        yield "that is", "now"
    yield "ask again", f"in {found.retry_after_s} seconds"
    if found.explanation_url:
        yield "explanation", found.explanation_url
