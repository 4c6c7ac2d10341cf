"""The error codes of the reference CA, its store and the command."""

from __future__ import annotations

from typing import Final

from est_core.error_codes import Audience, ErrorCode, Section

AUTHORITY: Final = (
    Section(
        title="Enrollment",
        codes=(
            ErrorCode(
                code="server/ca-unavailable",
                statuses=("503",),
                cause="the CA cannot sign now; `Retry-After` says when to try again",
                remedy=(
                    "look into the server's log: the CA's key cannot be used, or its "
                    "certificate is not valid"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="server/audit-unavailable",
                statuses=("503",),
                cause="the audit file cannot be written, and `[audit] required` is true",
                remedy=(
                    "make room on the disk of the audit file, and let the user who runs the server "
                    "write it; the server's log says what is wrong"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="server/store",
                statuses=("500",),
                cause="the store of certificates and users failed",
                remedy=(
                    "look into the server's log, then check that `est.db` and its directory "
                    "can be written and the disk has room"
                ),
                audience=Audience.OPERATOR,
            ),
        ),
    ),
    Section(
        title="Authentication and authorisation",
        codes=(
            ErrorCode(
                code="auth/no-digest-secret",
                statuses=("401",),
                cause="a user who has a password, but no secret for Digest in this realm",
                remedy=(
                    "give the password again with `est user add --force`, once `schemes` of "
                    "est.toml has `digest` (`--auth` does not count); use Basic until then"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="auth/throttled",
                statuses=("503",),
                cause=(
                    "too many wrong passwords came for that user from that network, or too many "
                    "for all users; `Retry-After` says when the next one is looked at"
                ),
                remedy=(
                    "wait for `Retry-After`; find the device that has a wrong password by the "
                    "lines with 401 before"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/token-expired",
                statuses=("401",),
                cause="a bearer token that has run out",
                remedy="ask the server's operator for a new token",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/token-scope",
                statuses=("403",),
                cause="a bearer token that is not for this label, or not for this operation",
                remedy="ask the server's operator for a token with that scope",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/code-expired",
                statuses=("401",),
                cause="a one-time code that ran out, and no enrollment that it was spent for",
                remedy="ask the server's operator for a new code",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/code-spent",
                statuses=("401",),
                cause=(
                    "a one-time code that was used as often as it may be, for another request or "
                    "for another subjectAltName"
                ),
                remedy=(
                    "repeat the enrollment with the key, the names and the extensions of the first "
                    "one, or ask for a new code"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/code-label",
                statuses=("401",),
                cause="a one-time code of another label",
                remedy="use the label that the code was made for, or ask for one of this label",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="auth/code-of-another",
                statuses=("401",),
                cause="a one-time code with the name of another device than its own",
                remedy="send the name that came with the code, or none",
                audience=Audience.USER,
            ),
        ),
    ),
    Section(
        title="Names of devices",
        codes=(
            ErrorCode(
                code="names/not-registered",
                statuses=("403",),
                cause=(
                    'names = "registered" holds, and the client is no device on the list, or none '
                    "under this label, or no more; the answer says which"
                ),
                remedy=(
                    "have the operator of the server register the device: `est device add`, or "
                    "`est device list` to see what is there"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="names/held",
                statuses=("400",),
                cause=(
                    "one of the names is that of another's valid certificate, or of a user or "
                    "registered device, where one of the two is a manufacturer's device"
                ),
                remedy=(
                    "ask for another name; where it is this device's, have the operator revoke the "
                    "other certificate, bind the registered device to it, or remove the user"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="names/full",
                statuses=("403",),
                cause="one of the names has as many certificates as the profile allows at a time",
                remedy=(
                    "have the operator revoke the one that is lost: `est certs revoke`; or renew "
                    "the certificate that there is"
                ),
                audience=Audience.USER,
            ),
        ),
    ),
    Section(
        title="The reference CA",
        note=(
            "What its profiles refuse is the request's contents: status 400. Who may "
            "not renew is refused with status 403."
        ),
        codes=(
            ErrorCode(
                code="renewal/unknown-certificate",
                statuses=("403",),
                cause="the certificate to be renewed is not on record here",
                remedy="enroll anew: only a certificate that this CA issued can be renewed here",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/not-on-record",
                statuses=("403",),
                cause="a registration authority asked to renew what this CA did not issue",
                remedy=(
                    "ask with the subject and subjectAltName of a certificate that this CA issued, "
                    "or enroll anew"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/revoked",
                statuses=("403",),
                cause="the certificate to be renewed was revoked",
                remedy="make a new key, and enroll with a password or another certificate",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/expired",
                statuses=("403",),
                cause="the certificate to be renewed has expired",
                remedy="enroll anew, and renew earlier from then on",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/former-ca",
                statuses=("403",),
                cause="a former key of the CA issued the certificate, and the date is over until"
                " which what that key issued counts",
                remedy="enroll anew; a CA that still wants these devices extends `trusted_until`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/not-yet-valid",
                statuses=("403",),
                cause="the certificate to be renewed is not valid yet",
                remedy="check the clocks of client and server",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="renewal/rekey-required",
                statuses=("400",),
                cause="the key was certified as often, or for as long, as the profile allows",
                remedy="make a new key: `est reenroll --rekey`; the agent does so by itself",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="issuer/name-constraints",
                statuses=("400",),
                cause="a name that the CA may not certify: it would not verify",
                remedy=(
                    "ask for names that the name constraints of the CA allow, or get the CA a "
                    "certificate that allows these"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="issuer/extended-key-usage",
                statuses=("400",),
                cause="a purpose that the CA may not certify: it would not verify",
                remedy=(
                    "leave the purpose out of the request and of the profile, or get the CA a "
                    "certificate that has it"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="issuer/lint",
                statuses=("400",),
                cause="the certificate would break a rule of RFC 5280: it was not signed",
                remedy=(
                    "correct what the text names in the request; where it is not in the request, "
                    "report it: the [reference](lint.md) has the rules"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="profile/label",
                statuses=("403",),
                cause="no profile of that name: the client may not have it",
                remedy=(
                    "ask the server's operator for the label, or for a profile of that name in "
                    "`[profiles]`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="profile/ca-key",
                statuses=("400",),
                cause="the key is the CA's own",
                remedy="make a key of the client's own",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/key",
                statuses=("400",),
                cause="kind or size of key that the profile does not list",
                remedy=(
                    "make a key of a kind and size that the text names, or have the profile list it"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/subject",
                statuses=("400",),
                cause="subject with too many, too long or forbidden parts",
                remedy="shorten or correct the part of the subject that the text names",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/no-name",
                statuses=("400",),
                cause="neither a subject nor a subjectAltName",
                remedy="ask for at least one name",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/name",
                statuses=("400",),
                cause="malformed name in the subjectAltName",
                remedy="correct the name that the text shows",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="profile/name-kind",
                statuses=("400",),
                cause="kind of name that the profile does not issue",
                remedy="leave the name out, or have the profile list its kind in `names`",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/name-pattern",
                statuses=("400",),
                cause="a name that fits none of the patterns of the profile",
                remedy=(
                    "ask for a name that fits, or have the profile list it: `dns_patterns`, "
                    "`ip_networks`, `email_patterns`, `uri_patterns`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="profile/not-after",
                statuses=("403",),
                cause="the profile certifies nothing any more: its `not_after` is past",
                remedy="have the operator of the server set a later `not_after`, or remove it",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="profile/too-many-names",
                statuses=("400",),
                cause="more names than the profile issues",
                remedy="ask for fewer names, or raise `names_max` of the profile",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/wildcard",
                statuses=("400",),
                cause="a wildcard",
                remedy="ask for each host by its name",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/own-name",
                statuses=("400",),
                cause=(
                    "a name or address of the server itself, in any spelling and in any place of "
                    "subject and subjectAltName"
                ),
                remedy="ask for another name: nobody else gets the server's own",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/reserved-subject",
                statuses=("400",),
                cause="the subject is that of a CA of the chain, or of the server's certificate",
                remedy="ask for another subject: a certificate with this one would be taken for it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/ca",
                statuses=("400",),
                cause="a CA certificate, or the right to sign certificates or CRLs",
                remedy="leave out what only a CA has: this server certifies end entities",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/key-usage",
                statuses=("400",),
                cause="key usage that the profile does not issue",
                remedy=(
                    "ask for the key usages of the profile, or leave the extension out to get them"
                ),
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/extended-key-usage",
                statuses=("400",),
                cause="purpose that the profile does not issue",
                remedy="leave the purpose out, or use the label of a profile that issues it",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/critical-extension",
                statuses=("400",),
                cause="unknown critical extension",
                remedy="leave the extension out, or ask for it without the critical flag",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="profile/change-subject-name",
                statuses=("400",),
                cause="a change of names was asked for and is not offered",
                remedy="leave ChangeSubjectName out, and enroll anew for other names",
                audience=Audience.AUTHOR,
            ),
        ),
    ),
    Section(
        title="The client's findings",
        codes=(
            ErrorCode(
                code="csrattrs/asks-for-ca",
                cause="`est`: by the CSR attributes the request would be for a CA: it was not sent",
                remedy=(
                    "have the server take basicConstraints and keyCertSign out of its CSR "
                    "attributes, or follow them with `--accept-changes`"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="csrattrs/unmet",
                cause=(
                    "`est`: with `--strict-csrattrs`, the request does not hold what the CSR "
                    "attributes ask for: it was not sent"
                ),
                remedy=(
                    "give what the text names, with `--attr`, `--san` or `--key-type`, or leave "
                    "`--strict-csrattrs` out"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="response/untrusted-certificate",
                cause="`est`: the new certificate is not issued by any CA that is trusted",
                remedy=(
                    "fetch the CA certificates again with `est cacerts`, or name the CA with "
                    "`--trust`"
                ),
                audience=Audience.USER,
            ),
        ),
    ),
)
