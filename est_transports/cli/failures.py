"""What a failed exchange means to the caller of a command: exit code, one sentence, one hint."""

from __future__ import annotations

from typing import Final

from est_core import Failed, Operation
from est_transports import _clock
from est_transports.cli._common import CliError, ExitCode
from est_transports.cli.client_options import Fingerprint, Target
from est_transports.cli.describe import moment, subject_text

AGAIN: Final = "run the command again: the same key will be used"
"""What to do after a request may have got through and no answer came."""

_AREAS: Final = {
    "coap": ExitCode.NETWORK,
    "connect": ExitCode.NETWORK,
    "connection": ExitCode.NETWORK,
    "http": ExitCode.NETWORK,
    "server": ExitCode.NETWORK,
    "tls": ExitCode.NETWORK,
}
"""Exit codes by the first half of an error code; what is not here is a refusal."""

_TRUST: Final = "name the CA that certified the server with --trust CA.pem"
_OTHER_TRUST: Final = (
    "none of the CAs that you trust is this server's; take the CA file from the server's operator"
)
_PORT: Final = "check host and port; is the server running?"

_HINTS: Final = {
    "connect/refused": _PORT,
    "connect/timeout": "check host and port, or wait longer with --timeout",
    "connect/unknown-host": "check the name of the host",
    "connect/unreachable": "check the network",
    "coap/timeout": "check host and port; on a slow link, wait longer with --timeout",
    "connection/lost": AGAIN,
    "http/timeout": "wait longer with --timeout",
    "server/name-mismatch": "use a name that stands in the server's certificate",
    "tls/not-tls": "check the port: this one does not speak TLS",
    "tls/closed": _PORT,
    "tls/peer-refused-certificate": "check --cert: the server's CA must have issued it",
    "auth/no-challenge": "the server wants a client certificate: give --cert and --key",
    "pop/cannot-relink": "give the key of the CSR with --new-key",
    "pop/no-binding": "the server must speak (D)TLS 1.2 with extended master secret",
    "redirect/refused": "give that address if you trust it",
    "trust/no-root": "the server's operator must add the root to its CA certificates",
}
"""What to do about it, by the whole error code."""

_MAX_SHOWN: Final = 3  # CA certificates that were refused

_UNTRUSTED: Final = ("server/untrusted", "tls/untrusted-server")

_CERTIFICATE: Final = (
    "check --cert: a CA that the server accepts must have issued it; a manufacturer's enrols, "
    "it does not renew; the server's log says why"
)

_STATUS_HINTS: Final = {
    403: "the server's log says why",
    404: "check the URL and its label; not every server has every operation",
    500: "the server's log says why",
    503: "the server is busy: try again later",
}

DOING: Final = {
    Operation.CACERTS: "cannot fetch the CA certificates",
    Operation.CSRATTRS: "cannot fetch the CSR attributes",
    Operation.SIMPLEENROLL: "cannot enrol",
    Operation.SIMPLEREENROLL: "cannot renew",
}
"""What failed, by operation."""


def exit_code_of(code: str) -> ExitCode:
    """Return the exit code for an error code "area/reason"."""
    return _AREAS.get(code.partition("/")[0], ExitCode.REFUSED)


def failure(failed: Failed, operation: Operation, target: Target) -> CliError:
    """Return the error for an exchange that ended in Failed."""
    code, message, hint = failed.code, failed.message, _hint(failed, target)
    if code in ("auth/no-credentials", "auth/refused"):
        message, hint = _login_failure(target)
        # To the core it is the same whether a wrong password was the last one or there was none.
        code = "auth/refused" if target.passwords.refused else code
    if code == "trust/refused" and target.fingerprint is not None:
        message, hint = _mismatch(target.fingerprint)
    status = failed.response.status if failed.response else None
    if status is not None:
        message = f"{message} ({_status_text(status, target)})"
    return CliError(
        f"{DOING[operation]}: {target.uri}: {message} [{code}]",
        exit_code_of(code),
        hint,
    )


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


def _hint(failed: Failed, target: Target) -> str:
    expired = _expired_identity(target)
    if expired and exit_code_of(failed.code) is ExitCode.REFUSED:
        return expired
    if failed.code == "auth/no-challenge" and target.identity is not None:
        return "the server does not accept the certificate given with --cert"
    if failed.code in _HINTS:
        return _HINTS[failed.code]
    if failed.code in _UNTRUSTED:
        return _untrusted_hint(failed, target)
    status = failed.response.status if failed.response else None
    if status == 403 and target.identity is not None:
        return _CERTIFICATE
    return _STATUS_HINTS.get(status or 0, "")


def _untrusted_hint(failed: Failed, target: Target) -> str:
    """Return what to do about a server's certificate; where nothing is sure to help, nothing."""
    if "trust anchor" in failed.message:
        if target.ca_certificates is not None:
            return "the CA that it sent did not certify it: `est enroll` with --trust may help"
        return _OTHER_TRUST if target.trust else _TRUST
    return "the server's operator must renew it" if failed.message.endswith("expired") else ""


def _login_failure(target: Target) -> tuple[str, str]:
    passwords = target.passwords
    if passwords.unknown_schemes:
        schemes = ", ".join(passwords.unknown_schemes)
        return f"the server offers only {schemes} authentication", "use --cert and --key"
    if passwords.user is None:
        expired = _expired_identity(target)
        if expired:
            return "the server does not accept the certificate given with --cert", expired
        if target.identity is not None:
            return "the server does not accept the certificate given with --cert", "try --user NAME"
        return "the server wants to know who is asking", "give --user NAME, or --cert and --key"
    return f"the server refuses user {passwords.user}", "check the name and the password"


def _mismatch(wanted: Fingerprint) -> tuple[str, str]:
    sent = [f"{subject_text(root)} {wanted.of(root)}" for root in wanted.refused[:_MAX_SHOWN]]
    more = f" and {len(wanted.refused) - _MAX_SHOWN} more" * (len(wanted.refused) > _MAX_SHOWN)
    return (
        f"no root that the server sent has the fingerprint given; it sent {', '.join(sent)}{more}",
        "nothing was trusted; ask the operator of the CA which fingerprint is right",
    )


def _expired_identity(target: Target) -> str:
    if target.identity is None:
        return ""
    end = target.identity.certificate.not_valid_after_utc
    if end > _clock.instant().wall:
        return ""
    return f"the certificate given with --cert expired on {moment(end)}; enrol again"
