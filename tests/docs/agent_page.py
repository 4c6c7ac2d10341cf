"""Writes the table of keys of docs/reference/agent.md: `python -m tests.docs.agent_page`.

Type, bounds and default are what the reader of est-agent.toml asks for; what a key is for is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from est_transports.agent.config import asked_agent_keys
from tests.docs.config_page import default_text, kind_text, rows
from tests.docs.pages import DOCS
from tests.docs.parts import replace_part

COMMAND: Final = "python -m tests.docs.agent_page"
PAGE: Final = DOCS / "reference" / "agent.md"

MEANINGS: Final[Mapping[str, str]] = {
    "url": "the EST server: `https://HOST[:PORT][/LABEL]`; it has to be there",
    "label": "label of the CA or profile at the server, where the URL has none",
    "trust": "PEM file of the CAs by which the server is certified; this or `fingerprint`",
    "fingerprint": "SHA-256 or SHA-512 of the CA's root, which is fetched first",
    "user": "logs in as this user where there is no certificate yet",
    "password_file": "its one line is the password of `user`",
    "token_file": "its one line is a bearer token, instead of a password",
    "code_file": "its one line is a one-time code, instead of a password",
    "code_in": (
        "where the code goes: the password of `user`, or of nobody; challengePassword or "
        "otpChallenge of the request"
    ),
    "identity_certificate": "a certificate shown to get the first one, of the manufacturer say",
    "identity_key": "its private key",
    "login_when_renewing": (
        "log in at renewals too, where the server asks for a login beside the certificate"
    ),
    "cn": "common name of the first request; a renewal repeats the names of the certificate",
    "subject": 'further parts of the subject before it, such as `"O=Example"`',
    "san": 'alternative names, such as `"dns:gate.example"`, `"ip:192.0.2.1"`',
    "key_type": "kind of key to make; without it the server may say, else it is `ec:P-256`",
    "key": (
        "a `pkcs11:` URI with `object=LABEL`: keys are made in that token, as `LABEL-1`, "
        "`LABEL-2`; renewed by what the first certificate was got with"
    ),
    "remove_old_keys": "remove keys from the token that the agent made, by their label, and that "
    "neither this pair nor the last one has",
    "rekey": "a renewal is for a new key",
    "renew_at": "share of its life after which a certificate is renewed",
    "renew_before_days": "renew so many days before the end instead",
    "renewal_info": "ask the server when to renew, if it knows",
    "retry_first_s": "wait after the first failure; twice as long after each further one",
    "retry_max_s": "and at most so long; never longer than half of what is left of the life",
    "when_expired": (
        "once the certificate has expired: stop and tell; go on trying to renew it, for servers "
        "that grant a time of grace; or enroll again, with what the first one was got with"
    ),
    "verify_live": "show a new certificate to the server in a handshake before it is used",
    "trust_s": "how often the CA certificates are fetched",
    "look_again_s": "how often the clock is looked at, which somebody may have set",
    "hook": "program and arguments, run once another certificate is in use; no shell reads it",
    "hook_timeout_s": "after that it is killed, with all that it started",
    "hook_on_failure": "tell of it, or take the certificate before back into use as well",
    "pop": "link requests to the connection: where possible, always, never",
    "tls_exporter": "link on TLS 1.3 too, by RFC 9266; the server must have been told the same",
    "proxy": "all goes through this proxy, `http://[USER:PASSWORD@]HOST:PORT`, or `socks4`, "
    "`socks4a`, `socks5` or `socks5h` in place of `http`; with a password in it the file is for "
    "the agent alone",
    "no_proxy": "hosts, networks and `HOST:PORT` that are reached directly, as NO_PROXY has them",
    "clock_floor": (
        "a day or moment that has passed for certain, as `2026-11-28`, for devices whose "
        "[clock may be unset](../explanation/clock-that-is-unset.md)"
    ),
    "connect_s": "for one address of the server to answer, or for a proxy to open the tunnel",
    "handshake_s": "for TLS",
    "response_s": "for an answer",
}
OWN: Final = ("cn", "subject", "san")
"""Keys that stand under a certificate alone."""
UNITS: Final = {"hook_timeout_s", "retry_first_s", "retry_max_s", "trust_s", "look_again_s",
                "connect_s", "handshake_s", "response_s"}  # fmt: skip


def table() -> str:
    """Return the table of keys."""
    asked = asked_agent_keys()["certificate.NAME"]
    if set(asked) != set(MEANINGS):
        raise LookupError(f"no meaning, or no key: {set(asked) ^ set(MEANINGS)}")
    return rows(
        ("key", "type", "default", "meaning"),
        (
            (
                f"`{key}`" + (", of a certificate alone" if key in OWN else ""),
                kind_text(asked[key]) + (" seconds" if key in UNITS else ""),
                default_text(asked[key]),
                meaning,
            )
            for key, meaning in MEANINGS.items()
        ),
    )


if __name__ == "__main__":
    replace_part(PAGE, COMMAND, table())
