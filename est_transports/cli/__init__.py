"""The `est` command: its name for every subcommand, each loaded when it is wanted."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Final

import click

from est_transports.cli.examples import examples
from est_transports.cli.options import verbose_option
from est_transports.cli.runner import Commands, run

COMMANDS: Final = {
    "demo": ("demo.command", "demo", "Show a whole certificate's life on this machine."),
    "init": ("server.init", "init", "Create a certification authority in a directory."),
    "serve": ("server.serve", "serve", "Serve EST from such a directory."),
    "user": ("server.users", "user", "Add, list and remove users."),
    "token": ("server.tokens", "token", "Add, list and remove bearer tokens."),
    "otp": ("server.codes", "otp", "Add, list and remove one-time codes."),
    "device": ("server.devices", "device", "Register devices: who may have which names."),
    "srp": ("server.srp", "srp", "Add, list and remove users of TLS-SRP."),
    "certs": ("server.certs", "certs", "List, show and revoke issued certificates."),
    "ca": ("server.ca", "ca", "Give the CA a new key, and see how its keys stand."),
    "crl": ("server.crl", "crl", "Make a new revocation list."),
    "check": ("server.check", "check", "Look whether a CA's directory is in order."),
    "profile": ("server.profiles", "profile", "Show profiles, and try a request on one."),
    "backup": ("server.backup", "backup", "Write a CA's directory to one file."),
    "restore": ("server.restore", "restore", "Make a CA's directory of such a file."),
    "why": ("server.why", "why", "Explain why a client was refused."),
    "provision": ("client.commands", "provision", "Give a new device trust and a certificate."),
    "cacerts": ("client.cacerts", "cacerts", "Fetch a server's CA certificates."),
    "csrattrs": ("client.csrattrs", "csrattrs", "Show what a server wants in a request."),
    "renewal-info": ("client.renewal_info", "renewal_info", "Show when to renew a certificate."),
    "enroll": ("client.commands", "enroll", "Get a certificate."),
    "reenroll": ("client.commands", "reenroll", "Renew a certificate."),
    "doctor": ("client.doctor", "doctor", "Examine a server, of whatever make."),
    "agent": ("agent.agent", "agent", "Renew certificates by itself, in time."),
    "agent-init": ("agent.init", "agent_init", "Begin with the agent: write its settings."),
    "renew": ("agent.renew", "renew", "Do once what the agent would do now."),
    "status": ("agent.status", "status", "Show how the agent's certificates stand."),
    "roll-back": ("agent.by_hand", "roll_back", "Use the certificate before the last one again."),
    "discard": ("agent.by_hand", "discard", "Give up a certificate that is on its way."),
}
"""Name: module in this package, attribute there, one line of help."""


class LazyCommands(Commands):
    """The group of all commands. `est cacerts` does not pay for importing the server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing its module; None for a name that is not in the table."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        with _collecting_nothing():
            command = getattr(import_module(f"{__name__}.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is not a command")
        _show_examples(command, f"est {cmd_name}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Look for no cyclic garbage: what is imported stays."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _show_examples(command: click.Command, path: str) -> None:
    command.epilog = examples(path)
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            _show_examples(each, f"{path} {name}")


@click.command(
    cls=LazyCommands,
    name="est",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("est"),
)
@click.version_option(None, "-V", "--version", prog_name="est", package_name="est-sansio")
@verbose_option
def group() -> None:
    """EST, RFC 7030: certificates for devices, from a CA of your own or to one of others."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the process's arguments, or these, and return its exit code."""
    return run(group, arguments)
