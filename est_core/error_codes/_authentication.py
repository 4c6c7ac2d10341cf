"""The error codes of credentials, client certificates and the server's identity."""

from __future__ import annotations

from typing import Final

from est_core.error_codes._entry import Audience, ErrorCode, Section

AUTHENTICATION: Final = (
    Section(
        title="Authentication and authorisation",
        codes=(
            ErrorCode(
                code="auth/missing",
                statuses=("401",),
                cause="credentials are needed and none came",
                remedy=(
                    "send credentials of a scheme in `WWW-Authenticate`: with `est`, `--user NAME`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/unknown-scheme",
                statuses=("401",),
                cause="credentials of a scheme that is not offered",
                remedy="use one of the schemes in `WWW-Authenticate`",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/wrong-credentials",
                statuses=("401", "403"),
                cause="the application refused the credentials",
                remedy="check the name and the password; the server's operator can set a new one",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/challenged",
                statuses=("401",),
                cause="the application wants HTTP credentials that the policy did not ask for",
                remedy=(
                    "send credentials of a scheme in `WWW-Authenticate`: with `est`, `--user NAME`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/malformed",
                statuses=("400",),
                cause="`Authorization` header that names no scheme, or more than one such header",
                remedy="write the scheme, one blank, and the credentials, in one header",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/too-large",
                statuses=("400",),
                cause="`Authorization` header longer than `Limits.auth_header_bytes`",
                remedy="send shorter credentials, or raise `auth_header_bytes` of the server",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/bad-basic",
                statuses=("400",),
                cause=(
                    "Basic credentials that are no base64 of UTF-8, lack a colon, or are too long"
                ),
                remedy="send base64 of `name:password` in UTF-8 (RFC 7617 2)",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/bad-bearer",
                statuses=("400",),
                cause="Bearer credentials that are no token",
                remedy="send the token as it was given, without quotes or blanks (RFC 6750 2.1)",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/bad-digest",
                statuses=("400",),
                cause="Digest answer with a missing, repeated or malformed parameter",
                remedy="send each parameter of RFC 7616 3.4 once, quoted where that says so",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/digest-uri",
                statuses=("400",),
                cause="Digest answer for another URI than that of its request, or for another host",
                remedy="send the hash of the target in the request line, or of the whole https URI",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/digest-algorithm",
                statuses=("401",),
                cause="Digest answer with an algorithm that is not offered",
                remedy="use an algorithm of the challenges; `-sess` is not offered",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/digest-realm",
                statuses=("401",),
                cause="Digest answer for another realm than the server's",
                remedy="use the realm of the challenge",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/foreign-nonce",
                statuses=("401",),
                cause="Digest answer with a nonce that this server has not made",
                remedy=(
                    "take the challenge that comes with this; workers and machines that serve "
                    "one name share one secret"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="auth/stale-nonce",
                statuses=("401",),
                cause="Digest answer with a nonce that is too old, or of a time to come",
                remedy="repeat it with the new challenge and the same password, as clients do",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/replayed",
                statuses=("401",),
                cause="Digest answer whose count of the nonce, or a higher one, was used before",
                remedy="raise `nc` with each request, or answer the new challenge",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/ambiguous-code",
                statuses=("403",),
                cause="a CSR with several one-time codes that differ",
                remedy="send one code, in one attribute",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/conflicting-credentials",
                statuses=("403",),
                cause="credentials of two users: a login by TLS-SRP, in the header, or by a code",
                remedy="send all credentials of one user, or fewer of them",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/certificate-required",
                statuses=("403",),
                cause="only a client certificate opens this, and none was shown",
                remedy="show a client certificate: with `est`, `--cert` and `--key`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/certificate-not-accepted",
                statuses=("403",),
                cause=(
                    "the client certificate shown is not verified by the trust anchors that count"
                ),
                remedy=(
                    "use a certificate of a CA that the server accepts, to renew one of its own "
                    "CA; its operator can add a CA for enrollments, by "
                    "`[manufacturers.NAME]` or `tls.client_trust`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/certificate-revoked",
                statuses=("403",),
                cause="the client certificate was revoked, or a CA certificate above it",
                remedy="make a new key, and enroll with a password or another certificate",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/revocation-unknown",
                statuses=("403",),
                cause=(
                    "no revocation list, or none that is up to date and can be used, says whether "
                    "the client certificate was revoked"
                ),
                remedy=(
                    "put the current list of each CA above it into `files` of `[crls]`, or say "
                    "there what is accepted without one"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="auth/no-scheme",
                statuses=("403",),
                cause="HTTP credentials are needed, and this server or wire has no scheme for them",
                remedy="let certificates open this operation: over CoAP there is nothing else",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="auth/malformed-challenge",
                cause="client: no challenge of a 401 could be read",
                remedy="have the server write `WWW-Authenticate` as RFC 9110 11.6.1 says",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="auth/no-challenge",
                cause="client: a 401 without any challenge, and no credentials to try on it",
                remedy=(
                    "give a client certificate with `--cert` and `--key`, or a user with "
                    "`--user NAME`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/no-credentials",
                cause="client: the server asks for credentials and there are none",
                remedy=(
                    "give a user with `--user NAME`, or a client certificate with `--cert` and "
                    "`--key`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/refused",
                cause="client: the server refused the credentials, and trying again is no use",
                remedy="check the name and the password",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/scheme-not-offered",
                cause=(
                    "client: the server takes other HTTP schemes than that of the credentials "
                    "given: Basic sent unasked where only Digest is taken, say"
                ),
                remedy=(
                    "give what the server asks for: a `Password`, which answers Basic and Digest "
                    "(with `est`, `--user NAME` without `--send-password`), or a token"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/unanswerable-challenge",
                cause=(
                    "client: a Digest challenge of an unknown algorithm, without qop `auth`, or "
                    "with parameters that cannot be sent back"
                ),
                remedy=(
                    "have the server offer Digest by RFC 7616 with SHA-256 or MD5 and qop `auth`, "
                    "or Basic"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="auth/no-entropy",
                cause="client: the server takes Digest, and the exchange has no source of entropy",
                remedy=(
                    "give `ClientSession` its `entropy`, or have the transport call "
                    "`provide_entropy`; `secrets.token_bytes` is one"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="auth/provisional",
                cause=(
                    "client: in a bootstrap, a 401 from a server that is not verified; nothing "
                    "was answered"
                ),
                remedy=(
                    "take the CA certificate from the server's operator and name it with `--trust`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="server/untrusted",
                cause="client: no trust anchor verifies the server",
                remedy="name the CA that certified the server with `--trust CA.pem`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="server/name-mismatch",
                cause="client: the server's certificate does not name the host (RFC 7030 3.6)",
                remedy="use a name that stands in the server's certificate",
                audience=Audience.USER,
            ),
        ),
    ),
    Section(
        title="Proof of possession",
        codes=(
            ErrorCode(
                code="pop/missing",
                statuses=("403",),
                cause=(
                    "linking of identity and proof of possession is required, and neither "
                    "`challengePassword` nor `estIdentityLinking` holds it"
                ),
                remedy=(
                    "put the channel binding into `challengePassword` or, where the server's "
                    "CSR attributes list it, `estIdentityLinking`, and sign it on this "
                    "connection (RFC 7030 3.5, RFC 7894 3.3)"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="pop/mismatch",
                statuses=("403",),
                cause=(
                    "`challengePassword` or `estIdentityLinking` is not the channel binding of "
                    "this connection; one that is right does not make up for another"
                ),
                remedy=(
                    "use tls-unique of this connection, in base64; TLS 1.3 has none: a server "
                    "caps at 1.2 by `max_version` under `[tls]`"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="pop/ambiguous",
                statuses=("403",),
                cause="two values of one linking attribute that differ",
                remedy="send one `challengePassword` or `estIdentityLinking` with one value",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="pop/used-binding",
                statuses=("403",),
                cause="tls-exporter of this connection has linked another request (RFC 9266 4.1)",
                remedy="use a connection of its own for each request that tls-exporter links",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="pop/no-binding",
                cause="client: linking is a must, and the connection has no channel binding",
                remedy=(
                    "use a server that speaks (D)TLS 1.2 with extended master secret, or link by "
                    "`--tls-exporter` if it does; `--pop never` turns linking off"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pop/cannot-relink",
                cause=(
                    "client: a ready-made CSR is not linked to this connection and cannot be "
                    "signed anew"
                ),
                remedy="give the key of the CSR with `--new-key`",
                audience=Audience.USER,
            ),
        ),
    ),
)
