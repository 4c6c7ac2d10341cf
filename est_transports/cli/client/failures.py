"""What a failed exchange means to the caller of a command: exit code, one sentence, one hint."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from est_core import (
    CACERTS,
    CSRATTRS,
    RENEWAL_INFO,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthScheme,
    Challenged,
    Failed,
    Operation,
    RefusalTag,
)
from est_transports.cli.client.hints import CHECK_CERT, LOG, expired_identity, hint_for
from est_transports.cli.client.target import Fingerprint, Target
from est_transports.cli.describe import subject_text
from est_transports.cli.errors import CliError, ExitCode

_AREAS: Final = {
    "coap": ExitCode.NETWORK,
    "connect": ExitCode.NETWORK,
    "connection": ExitCode.NETWORK,
    "http": ExitCode.NETWORK,
    "proxy": ExitCode.NETWORK,
    "server": ExitCode.NETWORK,
    "tls": ExitCode.NETWORK,
}
"""Exit codes by the first half of an error code; what is not here is a refusal."""

_LOGIN: Final = (
    "auth/no-challenge",
    "auth/no-credentials",
    "auth/refused",
    "auth/scheme-not-offered",
)
_OF_PASSWORDS: Final = frozenset({AuthScheme.BASIC, AuthScheme.DIGEST})
_MAX_SHOWN: Final = 3  # CA certificates that were refused

DOING: Final[Mapping[Operation, str]] = {
    CACERTS: "cannot fetch the CA certificates",
    CSRATTRS: "cannot fetch the CSR attributes",
    SIMPLEENROLL: "cannot enroll",
    SIMPLEREENROLL: "cannot renew",
    RENEWAL_INFO: "cannot ask when to renew",
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
        code = "auth/refused" if target.login.refused else code
    elif code == "trust/refused" and target.fingerprint is not None:
        message, hint = _mismatch(target.fingerprint)
    elif exit_code_of(code) is ExitCode.REFUSED:
        hint = expired_identity(target) or hint
    status = failed.response.status if failed.response else None
    tag = failed.response.tag if failed.response else None
    if status is not None:
        message = f"{message} ({_status_text(status, target)})"
    message = f"{DOING[operation]}: {target.uri}: {message}"
    return CliError(
        message,
        exit_code_of(code),
        _with_log(hint, tag),
        error_code=code,
        server_code="" if tag is None else tag.code,
        refusal="" if tag is None else tag.id,
    )


def _with_log(hint: str, tag: RefusalTag | None) -> str:
    """Return the hint, and how the server's operator finds out more where the server said how."""
    if tag is None:
        return hint
    why = f"the server's operator finds out why with: est why DIR {tag.id}"
    return "; ".join([*(part for part in hint.split("; ") if part not in ("", LOG)), why])


def _status_text(status: int, target: Target) -> str:
    if target.uri.scheme == "coaps":
        return f"CoAP {status // 100}.{status % 100:02}"
    return f"HTTP {status}"


def _login_failure(failed: Failed, target: Target) -> tuple[str, str]:
    """Return what became of a login, and what to do that was not done yet."""
    login = target.login
    said = f": {failed.response.reason}" if failed.response and failed.response.reason else ""
    challenges = failed.response.challenges if isinstance(failed.response, Challenged) else ()
    offered = ", ".join(dict.fromkeys(each.scheme for each in challenges))
    known = frozenset(each.known_scheme for each in challenges if each.known_scheme)
    if challenges and not known:
        message = f"the server takes only {offered} authentication, which est does not speak{said}"
        return message, _without_login(target)
    if login.is_given and known and not known & login.schemes:
        goes_by = " or ".join(scheme.value for scheme in AuthScheme if scheme in login.schemes)
        message = f"the server takes {offered}, and {login.text} goes by {goes_by}{said}"
        return message, _other_way_in(known, target)
    if failed.code == "auth/scheme-not-offered":
        message = f"the server takes {offered}, and {login.text} was sent unasked by Basic{said}"
        return message, "leave --send-password out: a password answers Digest where it is asked"
    if failed.code == "auth/refused" or (login.is_given and login.sent):
        return f"the server refuses {login.text}{said}", login.remedy
    if target.code is not None:
        message = f"the server does not accept the code in the request{said}"
        return message, "check the code: it may be used up or expired; or try another --code-in"
    if target.identity is not None:
        message = f"the server does not accept the certificate given with --cert{said}"
        return message, _other_way_in(known, target)
    if failed.code == "auth/no-challenge":
        message = f"the server asks for credentials and does not say of which kind{said}"
        return message, _other_way_in(known, target)
    return f"the server wants to know who is asking{said}", _other_way_in(known, target)


def _without_login(target: Target) -> str:
    if expired := expired_identity(target):
        return expired
    if target.identity is None:
        return "use --cert and --key, if the server takes certificates"
    return (
        "the certificate given with --cert does not do; ask the server's operator for Digest, "
        "Basic or Bearer"
    )


def _other_way_in(known: Set[AuthScheme], target: Target) -> str:
    """Return what else than was given may let this client in, by the schemes that are asked for."""
    if expired := expired_identity(target):
        return expired
    ways = []
    login = target.login
    takes_password = known & _OF_PASSWORDS if known else not login.is_given
    if target.uri.scheme == "https" and takes_password and AuthScheme.DIGEST not in login.schemes:
        ways.append("--user NAME")
    if AuthScheme.BEARER in known and AuthScheme.BEARER not in login.schemes:
        ways.append("a token with --token-file FILE")
    if target.identity is None:
        ways.append("--cert and --key")
    if ways:
        check = "" if target.identity is None else f"{CHECK_CERT}; or "
        return f"{check}give {', or '.join(ways)}"
    return f"the certificate given with --cert does not do; {LOG}"


def _mismatch(wanted: Fingerprint) -> tuple[str, str]:
    sent = [f"{subject_text(root)} {wanted.of(root)}" for root in wanted.refused[:_MAX_SHOWN]]
    more = f" and {len(wanted.refused) - _MAX_SHOWN} more" * (len(wanted.refused) > _MAX_SHOWN)
    return (
        f"no root that the server sent has the fingerprint given; it sent {', '.join(sent)}{more}",
        "nothing was trusted; ask the operator of the CA which fingerprint is right",
    )
