"""`est csrattrs`: what a server wants to see in a certificate request."""

from __future__ import annotations

import click

from est_transports.cli.client.bootstrap import established
from est_transports.cli.client.conversation import Conversation
from est_transports.cli.client.target import Target
from est_transports.cli.client.target_options import client_options
from est_transports.cli.describe import csrattrs_rows, csrattrs_values
from est_transports.cli.errors import ExitCode
from est_transports.cli.output import print_json, print_line, print_pairs


@click.command("csrattrs")
@client_options
def csrattrs(target: Target, *, as_json: bool) -> ExitCode:
    """Show what the server at URL wants to see in a certificate request.

    URL is https://HOST[:PORT][/LABEL], or coaps:// in place of https:// (EST over CoAP and DTLS;
    needs --cert and --key).
    """
    with Conversation(established(target)) as conversation:
        found = conversation.csr_attrs()
    if as_json:
        print_json({"csrattrs": None if found is None else csrattrs_values(found)})
    elif found is None:
        print_line("the server has no opinion")
    else:
        print_pairs(csrattrs_rows(found))
    return ExitCode.DONE
