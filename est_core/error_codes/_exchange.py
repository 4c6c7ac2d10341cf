"""The error codes of enrollment, renewal and what a client finds in an exchange."""

from __future__ import annotations

from typing import Final

from est_core.error_codes._entry import Audience, ErrorCode, Section

EXCHANGE: Final = (
    Section(
        title="Enrollment",
        codes=(
            ErrorCode(
                code="enroll/pending",
                statuses=("202",),
                cause="accepted, not ready: no error",
                remedy="ask again after `Retry-After`, with the same key and request",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="names/none",
                statuses=("400",),
                cause="the request names nobody, and this server binds names to identities",
                remedy="ask for a common name or an alternative name that is yours",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="names/not-allowed",
                statuses=("400",),
                cause=(
                    "the request asks for a name that its client was not authenticated by, or "
                    "that is not registered for it; the answer says which"
                ),
                remedy=(
                    "ask for the names that are yours; where the name is right, have the operator "
                    "of the server register it, or log in as who has it"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="names/certificate",
                statuses=("403",),
                cause="names are held against the client's certificate, and it cannot be read",
                remedy="show another certificate, or enroll with credentials",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/no-certificate",
                statuses=("403",),
                cause="re-enrollment without a client certificate",
                remedy="show the certificate to be renewed: with `est`, `--cert` and `--key`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/certificate",
                statuses=("400",),
                cause="the current certificate cannot be read",
                remedy="enroll anew: this certificate cannot be renewed",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/subject",
                statuses=("400",),
                cause="the subject differs from the current certificate's",
                remedy="repeat the subject of the current certificate, byte for byte",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="renewal/subject-alt-name",
                statuses=("400",),
                cause="the subjectAltName differs from the current certificate's",
                remedy=(
                    "repeat the subjectAltName of the current certificate; to have other "
                    "names, enroll anew"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="renewal/change-subject-name",
                statuses=("400",),
                cause="a change of names was asked for, and the policy does not let this client",
                remedy="leave ChangeSubjectName out, and enroll anew for other names",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="server/busy",
                statuses=("503",),
                cause="cannot be done now; `Retry-After` says when to try again",
                remedy="try again after `Retry-After`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="server/internal",
                statuses=("500",),
                cause="the application broke",
                remedy="look into the server's log for what was raised",
                audience=Audience.OPERATOR,
            ),
        ),
    ),
    Section(
        title="Renewal information",
        codes=(
            ErrorCode(
                code="renewal-info/certificate",
                statuses=("400", "4.00"),
                cause=(
                    "what stands behind `/renewal-info` is not the key identifier of an issuer and "
                    "a serial number, each in base64url without padding, with a dot between them"
                ),
                remedy=(
                    "write the keyIdentifier of the authorityKeyIdentifier and the content octets "
                    "of the serial number, as DER has them"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="renewal-info/unknown",
                statuses=("404", "4.04"),
                cause=(
                    "no certificate of that name is on record here, or none that may be renewed: "
                    "it is another CA's, revoked, or has expired"
                ),
                remedy="use the certificate's own dates to see when to renew it",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal-info/unreadable",
                cause="the answer is no JSON object with a window of dates as in RFC 3339",
                remedy=(
                    "use the certificate's own dates to see when to renew it, and have the "
                    "server's operator look"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="timestamp/unreadable",
                cause="a text that is no date and time of RFC 3339",
                remedy="write it as 2026-11-27T18:00:00Z",
                audience=Audience.AUTHOR,
            ),
        ),
    ),
    Section(
        title="The client's findings",
        codes=(
            ErrorCode(
                code="response/status-NNN",
                cause=(
                    "the server answered with HTTP status NNN, or CoAP code N.NN; its text is "
                    "the message"
                ),
                remedy="read the server's text; its operator finds the reason in the server's log",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="response/fault",
                cause="the server refused and gave no code",
                remedy="ask the server's operator; the server's log says why",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="response/coding",
                cause="a success with a `Content-Encoding`, though `identity` was asked for",
                remedy="ask the server's operator to turn compression off for EST, in a proxy too",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="response/media-type",
                cause="a success with another media type, or Content-Format, than the operation's",
                remedy=(
                    "check that the URL leads to an EST server, and not to a web page or a "
                    "proxy's login"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="response/part",
                cause="an answer of another kind than was asked for",
                remedy="give the exchange the answer to its own request",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="response/other-key",
                cause="no certificate in the answer is for the key of the request",
                remedy="have the server answer with the certificate for the key that was sent",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="response/unreadable-certificate",
                cause="the certificate for the key of the request came, and cannot be read here",
                remedy="keep `unreadable.pem`, and have the server correct the part that is named",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="response/not-as-asked",
                cause="the certificate is dangerously not what was asked for",
                remedy=(
                    "have the server issue what is asked for, or take what it issues with "
                    "`--accept-changes`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="connection/lost",
                cause="the connection broke after the request had left; the server may have issued",
                remedy="run the command again: the same key will be used",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="connection/too-many",
                cause="more connections than `Limits.connects` were needed",
                remedy=(
                    "find out why the server, or a proxy before it, closes connections without "
                    "an answer"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="redirect/too-many",
                cause="more redirects than `Limits.redirects`",
                remedy="end the chain or circle of redirects; each leads to an EST server",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="redirect/not-followed",
                cause="a redirect that leads nowhere EST can go",
                remedy="redirect to the same operation over https (RFC 7030 3.2.1)",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="redirect/refused",
                cause="a redirect to another origin that was not consented to",
                remedy="give that address if you trust it",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="redirect/provisional",
                cause="in a bootstrap, a redirect from a server that is not verified",
                remedy="give the address of the last server, or its CA certificate with `--trust`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="trust/no-root",
                cause=(
                    "in a bootstrap, no self-signed certificate in the answer: there is "
                    "nothing to trust"
                ),
                remedy="add the root to the CA certificates that the server sends",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="trust/refused",
                cause="in a bootstrap, none of the CA certificates was accepted",
                remedy=(
                    "ask the CA's operator which fingerprint is right, and do not go on without it"
                ),
                audience=Audience.USER,
            ),
        ),
    ),
)
