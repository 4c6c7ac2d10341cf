"""`--permit` and `--exclude` of `est init`: the name constraints of a new CA. RFC 5280 4.2.1.10."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from cryptography import x509

from est_transports.cli.errors import CliError, ExitCode

_HOST: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_HOSTS: Final = re.compile(r"\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_MAILBOX: Final = re.compile(rf"(?:[A-Za-z0-9_+.-]+@{_HOST.pattern})|{_HOSTS.pattern}")
_WORDS: Final = "dns:HOST, ip:NETWORK, email:HOST, uri:HOST"


def name_constraints(permit: Iterable[str], exclude: Iterable[str]) -> x509.NameConstraints | None:
    """Return what the options say, None where they say nothing. Raises CliError (USAGE)."""
    permitted = [_subtree(text, "--permit") for text in permit]
    excluded = [_subtree(text, "--exclude") for text in exclude]
    if not permitted and not excluded:
        return None
    return x509.NameConstraints(
        permitted_subtrees=permitted or None, excluded_subtrees=excluded or None
    )


def _subtree(text: str, option: str) -> x509.GeneralName:
    kind, _, base = text.partition(":")
    try:
        match kind.lower():
            case "ip":
                return x509.IPAddress(ipaddress.ip_network(base))
            case "dns" if _HOST.fullmatch(base):
                return x509.DNSName(base)
            case "email" if _MAILBOX.fullmatch(base):
                return x509.RFC822Name(base)
            case "uri" if _HOSTS.fullmatch(base):
                return x509.UniformResourceIdentifier(base)
            case _:
                pass
    except ValueError as exc:
        raise CliError(f"{option} {text}: {exc}", ExitCode.USAGE) from exc
    raise CliError(f"{option} {text}: is none of {_WORDS}", ExitCode.USAGE)
