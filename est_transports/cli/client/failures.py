"""What a failed exchange means to the caller of a command: exit code, one sentence, one hint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from est_core import CACERTS, CSRATTRS, SIMPLEENROLL, SIMPLEREENROLL, Failed, Operation
from est_transports.cli.client.hints import CHECK_CERT, LOG, expired_identity, hint_for
from est_transports.cli.client.target import Fingerprint, Target
from est_transports.cli.describe import subject_text
from est_transports.cli.errors import CliError, ExitCode

_AREAS: Final = {
    "coap": ExitCode.NETWORK,
    "connect": ExitCode.NETWORK,
    "connection": ExitCode.NETWORK,
    "http": ExitCode.NETWORK,
    "server": ExitCode.NETWORK,
    "tls": ExitCode.NETWORK,
}
"""Exit codes by the first half of an error code; what is not here is a refusal."""

_LOGIN: Final = ("auth/no-challenge", "auth/no-credentials", "auth/refused")
_MAX_SHOWN: Final = 3  # CA certificates that were refused

DOING: Final[Mapping[Operation, str]] = {
    CACERTS: "cannot fetch the CA certificates",
    CSRATTRS: "cannot fetch the CSR attributes",
    SIMPLEENROLL: "cannot enroll",
    SIMPLEREENROLL: "cannot renew",
}
"""What failed, by operation."""


def exit_code_of(code: str) -> ExitCode:
    """Return the exit code for an error code "area/reason"."""
    return _AREAS.get(code.partition("/")[0], ExitCode.REFUSED)


def failure(failed: Failed, operation: Operation, target: Target) -> CliError:
    """Return the error for an exchange that ended in Failed."""
    code, message, hint = failed.code, failed.message, hint_for(failed, operation, target)
    if code in _LOGIN:
        message, hint = _login_failure(failed, target)
        # To the core it is the same whether a wrong password was the last one or there was none.
        code = "auth/refused" if target.passwords.refused else code
    elif code == "trust/refused" and target.fingerprint is not None:
        message, hint = _mismatch(target.fingerprint)
    elif exit_code_of(code) is ExitCode.REFUSED:
        hint = expired_identity(target) or hint
    status = failed.response.status if failed.response else None
    if status is not None:
        message = f"{message} ({_status_text(status, target)})"
    message = f"{DOING[operation]}: {target.uri}: {message}"
    return CliError(message, exit_code_of(code), hint, error_code=code)


def _status_text(status: int, target: Target) -> str:
    if target.uri.scheme == "coaps":
        return f"CoAP {status // 100}.{status % 100:02}"
    return f"HTTP {status}"


def may_have_been_issued(failed: Failed) -> bool:
    """True if the server may have issued a certificate although the exchange failed.

    So it is where the request may have arrived and no answer that can be read came back.
    """
    area = failed.code.partition("/")[0]
    if failed.response is not None:
        return False
    return area not in ("connect", "tls", "server", "auth", "pop", "redirect") and (
        failed.code != "connection/too-many"
    )


def _login_failure(failed: Failed, target: Target) -> tuple[str, str]:
    """Return what became of a login, and what to do that was not done yet."""
    passwords = target.passwords
    said = f": {failed.response.reason}" if failed.response and failed.response.reason else ""
    if passwords.unknown_schemes:
        schemes = ", ".join(passwords.unknown_schemes)
        message = f"the server offers only {schemes} authentication, and est speaks Basic{said}"
        return message, _other_way_in(target, "ask the server's operator for Basic")
    if failed.code == "auth/refused" or (passwords.user is not None and passwords.sent):
        return f"the server refuses user {passwords.user}{said}", "check the name and the password"
    if target.identity is not None:
        message = f"the server does not accept the certificate given with --cert{said}"
        return message, _other_way_in(target, LOG)
    if failed.code == "auth/no-challenge":
        message = f"the server asks for credentials and does not say of which kind{said}"
        return message, "give --user NAME, or --cert and --key"
    return (
        f"the server wants to know who is asking{said}",
        "give --user NAME, or --cert and --key",
    )


def _other_way_in(target: Target, otherwise: str) -> str:
    """Return what else than was given may let this client in."""
    if expired := expired_identity(target):
        return expired
    if target.identity is None:
        return "use --cert and --key, if the server takes certificates"
    if target.passwords.user is None and not target.passwords.unknown_schemes:
        return "try --user NAME" if target.uri.scheme == "https" else CHECK_CERT
    return f"the certificate given with --cert does not do; {otherwise}"


def _mismatch(wanted: Fingerprint) -> tuple[str, str]:
    sent = [f"{subject_text(root)} {wanted.of(root)}" for root in wanted.refused[:_MAX_SHOWN]]
    more = f" and {len(wanted.refused) - _MAX_SHOWN} more" * (len(wanted.refused) > _MAX_SHOWN)
    return (
        f"no root that the server sent has the fingerprint given; it sent {', '.join(sent)}{more}",
        "nothing was trusted; ask the operator of the CA which fingerprint is right",
    )
