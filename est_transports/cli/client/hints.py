"""What to do about a failed exchange: the remedy of its code, unless what was given says more.

A hint never advises what was given already, and never tells a user to do what only the operator of
the server can.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeGuard

from est_core import (
    SIMPLEENROLL,
    SIMPLEREENROLL,
    CodeSource,
    Failed,
    LinkWith,
    Operation,
    PopMode,
    Refused,
    Response,
)
from est_transports import _clock
from est_transports.channel.errors import PEER_REFUSED_CERTIFICATE
from est_transports.cli.client.target import Target
from est_transports.cli.describe import moment

LOG: Final = "the server's log says why"

_OWN_REQUEST: Final = ("pop", "connect", "proxy", "trust")
"""Areas of what the user has to do, whoever made the program that the remedy speaks of."""
_OF_WHAT_WAS_GIVEN: Final = ("csrattrs", "manufacturer", "profile")
"""Areas of what a program's author puts into a request, which here is what the user gave."""
_ENROLLING: Final = (SIMPLEENROLL, SIMPLEREENROLL)
_UNTRUSTED: Final = ("server/untrusted", "tls/untrusted-server")
_NO_NAME: Final = "names no host in subjectAltName"
_OPERATOR: Final = "the server's operator must replace that certificate"
CHECK_CERT: Final = "check --cert: a CA that the server accepts must have issued it"
_OTHER_TRUST: Final = (
    "none of the CAs that you trust is this server's; take the CA file from the server's operator"
)
_LINKING_WORDS: Final = ("linking", "proof of possession", "proof-of-possession", "challengepass",
                         "channel binding", "tls-unique")  # fmt: skip
"""What a refusal says that is about linking, in lower case."""
_OTHER_CA_WORDS: Final = ("explicit trust is required", "did not issue")
"""What our server says, in lower case, of the certificate of another CA."""
_STATUS_HINTS: Final = {
    404: "check the URL and its label; not every server has every operation",
    500: LOG,
    502: "what answered is a proxy; ask its operator, or the server's",
    504: "what answered is a proxy; ask its operator, or the server's",
}


def remedy(code: str) -> str:
    """Return what the table says to do about a code, "" for one that is not in it."""
    # The table is for those to whom something has happened.
    from est_core.error_codes import Audience
    from est_transports.error_codes import find_error_code

    entry = find_error_code(code)
    if entry is None:
        return ""
    text = _plain(entry.remedy)
    area = code.partition("/")[0]
    given = entry.audience is Audience.AUTHOR and area in _OF_WHAT_WAS_GIVEN
    if given or entry.audience is Audience.USER or area in _OWN_REQUEST:
        return text
    return f"tell the server's operator: {text}"


def _plain(text: str) -> str:
    return text.replace("`", "")  # of a page's markup


def hint_for(failed: Failed, operation: Operation, target: Target) -> str:
    """Return what to do about a failed exchange, "" where nothing is sure to help."""
    if failed.code in _UNTRUSTED:
        return _untrusted(failed, target)
    if failed.code == "server/name-mismatch" and _NO_NAME in failed.message:
        return "the server's operator must have its name put into subjectAltName"
    if failed.code == "connection/lost" and operation not in _ENROLLING:
        return "run the command again"  # there is no key to be used again
    if failed.code == PEER_REFUSED_CERTIFICATE:
        if target.identity is None:
            return "the server wants a client certificate: give --cert and --key"
        return expired_identity(target) or f"{CHECK_CERT}; {LOG}"
    response = failed.response
    if response is None or not failed.code.startswith("response/status-"):
        return remedy(failed.code)
    status = response.status
    if told := _told(failed):
        return f"{_later(response)}; {told}" if _is_later(response) else told
    if status == 403:
        return _forbidden(failed.message, operation, target)
    if isinstance(response, Refused) and status == 429:
        return f"{_later(response)}: after many attempts the server answers fewer of them"
    if isinstance(response, Refused) and status == 503:
        return f"{_later(response)}; {LOG}"
    return _STATUS_HINTS.get(status or 0, remedy(failed.code))


def _told(failed: Failed) -> str:
    """Return what the table says about the code that the server itself gave, "" for none.

    What is wrong with a proof of possession depends on what was given, which `_forbidden` looks at.
    """
    tag = failed.response.tag if failed.response else None
    if tag is None or tag.code.startswith("pop/"):
        return ""
    return remedy(tag.code)


def _is_later(response: Response) -> TypeGuard[Refused]:
    return isinstance(response, Refused) and response.retry_after is not None


def expired_identity(target: Target) -> str:
    """Return that the certificate given has expired, and what to do; "" if it has not."""
    if target.identity is None:
        return ""
    end = target.identity.certificate.not_valid_after_utc
    if end > _clock.instant().wall:
        return ""
    return (
        f"the certificate given with --cert expired on {moment(end)}; "
        "where its server grants no time of grace, or not so long, enroll again"
    )


def _later(response: Refused) -> str:
    when = response.retry_after
    if when is None:
        return "try again later"
    if isinstance(when, datetime):
        return f"try again after {moment(when)}"
    return f"try again in {when} s"


def _forbidden(text: str, operation: Operation, target: Target) -> str:
    """Return what to do about a 403, by what the server says and by what was sent."""
    said = text.lower()
    if "revoked" in said:
        return remedy("auth/certificate-revoked")
    if any(word in said for word in _LINKING_WORDS):
        return _linking(target)
    hints = [*_about_certificate(said, operation, target), LOG]
    if target.login.is_given and not target.login.sent:
        hints.insert(0, f"the server did not ask for {target.login.text}: try --send-password")
    if target.code is not None:
        hints.insert(0, "the code may be used up or expired, or belong elsewhere: see --code-in")
    if operation in _ENROLLING and target.pop is not PopMode.ALWAYS:
        hints.append(f"it may want the request linked to the connection: {_linking(target)}")
    return "; ".join(hints)


def _about_certificate(said: str, operation: Operation, target: Target) -> list[str]:
    if target.identity is None:
        wanted = "certificate" in said and "required" in said
        return ["give --cert and --key"] if wanted else []
    of_another_ca = any(words in said for words in _OTHER_CA_WORDS) and "not verified" not in said
    if of_another_ca and operation is SIMPLEREENROLL:
        return [CHECK_CERT, "a manufacturer's enrolls, it does not renew"]
    return [CHECK_CERT]


def _linking(target: Target) -> str:
    """Return what to do where a server refuses how a request was linked, or that it was not."""
    if target.code is not None and target.code.source is CodeSource.CHALLENGE_PASSWORD:
        return (
            "the code stands in challengePassword, where the server looks for linking: give "
            "--code-in otp, or basic"
        )
    if target.link_with is LinkWith.IDENTITY_LINKING:
        return "an older server looks into challengePassword alone: give --link-with both"
    if target.pop is PopMode.ALWAYS:
        return (
            "the request was linked to this connection, as --pop always says: a proxy in between "
            "breaks that; go around it"
        )
    if target.uri.scheme == "coaps":
        return "give --pop always"
    return "give --pop always, which uses TLS 1.2 unless --tls-exporter is given too"


def _untrusted(failed: Failed, target: Target) -> str:
    """Return what to do about a server's certificate; where nothing is sure to help, nothing."""
    if "trust anchor" in failed.message:
        if target.ca_certificates is not None:
            return "the CA that it sent did not certify it: `est enroll` with --trust may help"
        return _OTHER_TRUST if target.trust else remedy(failed.code)
    if "not yet valid" in failed.message:
        return (
            "check the clock of this machine, and of the one that made the certificate; where this "
            "one cannot know the time, give --clock-floor DATE"
        )
    if "expired" in failed.message:
        return (
            "set the clock of this machine, if it is ahead; else the server's operator must renew "
            "the certificate"
        )
    return _OPERATOR
