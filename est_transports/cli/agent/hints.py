"""What to do about an error, in the words of est-agent.toml."""

from __future__ import annotations

from typing import Final

from est_transports.cli.client import hints

_IN_FILE: Final = (
    (
        "with --trust CA.pem",
        "as trust in est-agent.toml (where there is a certificate, its trust.pem)",
    ),
    ("with --timeout", "with connect_s, handshake_s or response_s in est-agent.toml"),
    (
        "USER@HOST:PORT, and --proxy-password-file",
        "http://USER:PASSWORD@HOST:PORT in est-agent.toml",
    ),
    ("--cert and --key", "identity_certificate and identity_key in est-agent.toml"),
    ("--user NAME", "user and password_file in est-agent.toml"),
    ("--pop never", 'pop = "never" in est-agent.toml'),
    ("--tls-exporter", "tls_exporter = true in est-agent.toml"),
)


def remedy(code: str) -> str:
    """Return what the table says to do about a code, "" for one that is not in it."""
    text = hints.remedy(code)
    for option, key in _IN_FILE:
        text = text.replace(option, key)
    return text
