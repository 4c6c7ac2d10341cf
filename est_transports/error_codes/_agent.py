"""The error codes of the agent that renews certificates."""

from __future__ import annotations

from typing import Final

from est_core.error_codes import Audience, ErrorCode, Section

AGENT: Final = (
    Section(
        title="The agent's findings",
        codes=(
            ErrorCode(
                code="agent/file",
                cause="a file that est-agent.toml names is not there, or not what it should be",
                remedy="correct the name in `est-agent.toml`, or the file",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="agent/cannot-ask",
                cause="this machine cannot speak to the server so: its TLS cannot use the key, say",
                remedy="give another `key_type`, or the identity's key in another form",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="agent/request",
                cause="no request can be sent so: what `est-agent.toml` says does not go together",
                remedy="correct `pop`, `code_in` or the names in `est-agent.toml`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="agent/key-elsewhere",
                cause="the key is in no file, and in no token that a `pkcs11:` URI names",
                remedy="use a key in a file, or one in a token: `key` in `est-agent.toml`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="agent/hook-failed",
                cause="the hook ended with another status than 0, was killed, or did not start",
                remedy="correct the hook; `est renew`, a restart or a reload of the agent "
                "runs it again. The certificate is in its place unless rolled back",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="agent/rolled-back",
                cause="`est roll-back` put the certificate before back into use",
                remedy="correct what was wrong with the newer one, then run `est renew`; the agent "
                "renews after `retry_max_s`, or half of what is left of the life",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="agent/damaged-state",
                cause="the file `state` of a certificate is not what the agent wrote",
                remedy="look at the disk; times of retries are forgotten, the pair is not touched",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="response/not-yet-valid",
                cause="the certificate that was issued begins later",
                remedy="check the clocks of both machines; it is kept, and used once it is valid, "
                "unless the certificate in use has expired by then",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="response/same-certificate",
                cause="a renewal was answered with the certificate that was to be renewed",
                remedy="ask who runs the server: it does not issue again what it has issued",
                audience=Audience.USER,
            ),
        ),
    ),
)
