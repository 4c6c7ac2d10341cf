"""What each key of est.toml is for, in words: the reference page is made of it.

Type, bounds and default are what the reader asks for (`reader.asked_keys`); here is what no code
says. Text is Markdown without links.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from est_transports.channel.srp_users import GROUP_BITS
from est_transports.service.config.audit import AUDIT_KEYS
from est_transports.service.config.coap import COAP_KEYS
from est_transports.service.config.crl import CRL_KEYS
from est_transports.service.config.csr_attributes_keys import CSRATTRS_FOR_KEYS, CSRATTRS_KEYS
from est_transports.service.config.former import FORMER_KEYS
from est_transports.service.config.key import Key
from est_transports.service.config.manufacturers import MANUFACTURER_KEYS
from est_transports.service.config.ocsp import OCSP_KEYS
from est_transports.service.config.profiles import PROFILE_KEYS
from est_transports.service.config.publication import PUBLICATION_KEYS
from est_transports.service.config.renewal_info import RENEWAL_INFO_KEYS

_WITHOUT_LABEL: Final = "none is what holds without a label"

_SERVER: Final = (
    Key(
        name="listen", kind="HOST:PORT, [IPV6]:PORT", needs_restart=True,
        meaning="where HTTPS is served; 0.0.0.0 is every IPv4 address, port 0 any free port",
    ),
    Key(
        name="realm", kind="ASCII string",
        meaning="what a client shows to a person whom it asks for a password",
    ),
    Key(
        name="workers", counted="processes", needs_restart=True,
        meaning="how many accept connections",
    ),
    Key(
        name="threads", counted="threads", needs_restart=True,
        meaning="requests decided at once in one process",
    ),
    Key(
        name="connections_max", counted="connections", needs_restart=True,
        meaning="open at once in one process, with a finished handshake; others wait",
    ),
    Key(
        name="half_open_max", counted="connections", needs_restart=True,
        meaning="of one process, that have not come so far, besides; beyond, those of the address"
        " that has most give way",
    ),
    Key(
        name="stop_s",
        meaning="how long requests under way may take when the server is told to stop",
    ),
)  # fmt: skip

_AUTH: Final = (
    Key(name="cacerts", kind="word", meaning="who may have the CA certificates"),
    Key(
        name="csrattrs", kind="word",
        meaning="who may have the CSR attributes; many clients send no credentials here",
    ),
    Key(
        name="simpleenroll", kind="word but `\"open\"`",
        meaning="who may enroll; certificates of this CA, of manufacturers and of"
        " `tls.client_trust` count",
    ),
    Key(
        name="simplereenroll", kind="`\"cert\"` or `\"cert-and-http\"`",
        meaning="who may renew; certificates of this CA count",
    ),
    Key(
        name="require_pop",
        meaning="every request must be linked to its connection; TLS 1.2 is then the most, unless"
        " `pop.tls_exporter`",
    ),
    Key(
        name="enforce_csrattrs",
        meaning="enrollments and renewals that lack what `[csrattrs]` asks for are refused with"
        " 400, which names what is missing",
    ),
    Key(
        name="names",
        meaning="the names that a request may ask for: those that its client was authenticated by,"
        " those of a registered device, or any",
    ),
    Key(
        name="renew_expired_days",
        meaning="for how long a certificate of this CA may be renewed after it expired, where"
        " nothing else is wrong with it and it was not revoked; 0 is never",
    ),
    Key(
        name="changed_names",
        meaning="the names that a renewal may ask for in place of those of its certificate (by a"
        " ChangeSubjectName): none, those of a registered device, or any",
    ),
    Key(
        name="schemes",
        meaning='what counts as `"http"`: `"basic"` (passwords of users), `"digest"` (the same'
        ' passwords, RFC 7616), `"bearer"` (tokens, RFC 6750), `"otp"` (one-time codes). All but'
        ' `"basic"` need the server\'s `secret`',
    ),
    Key(
        name="digest_algorithms",
        meaning="of Digest, in the order of the challenges. Clients that read one challenge only"
        " know MD5",
    ),
    Key(
        name="nonce_s",
        meaning="for how long a nonce of Digest is good; then clients get a new one with"
        " `stale=true`",
    ),
    Key(
        name="wrong_per_user", counted="passwords",
        meaning="wrong passwords, Basic or Digest, of one user from one network (an IPv4 address, a"
        " /64 of IPv6) in each process; then 503 until one more is forgiven, as fair shares says."
        " 0 is no bound",
    ),
    Key(
        name="wrong_per_network", counted="passwords",
        meaning="the same of all users from one network",
    ),
    Key(
        name="unknown_per_network", counted="tokens and codes",
        meaning="tokens and one-time codes from one network that nobody knows; 0 is no bound",
    ),
    Key(
        name="wrong_s", meaning="time over which so many are forgiven, one after the other"
    ),
    Key(
        name="secret", needs_restart=True,
        meaning="what nonces, tokens and codes are hashed with, 0600; made at the first need, and"
        " not while the store has tokens or codes that need another one. The same for all machines"
        " of one server. Without it all tokens and codes are void",
    ),
)  # fmt: skip

_SRP: Final = (
    Key(
        name="enabled", meaning="take clients by TLS-SRP; the server's `secret` is needed"
    ),
    Key(
        name="bits", kind=", ".join(map(str, GROUP_BITS)),
        meaning="the smallest group of RFC 5054 that a user may have, and the one that names seem"
        " to have which nobody has: give it to all users",
    ),
)  # fmt: skip

_POP: Final = (
    Key(
        name="foreign_challenge",
        meaning="a challengePassword that is not this connection's binding: it is refused; or it is"
        ' a one-time code, which needs `"otp"` in `auth.schemes`; or it is ignored',
    ),
    Key(
        name="require_ems",
        meaning="on TLS 1.2, link only where there is an extended master secret",
    ),
    Key(
        name="tls_exporter",
        meaning="link on TLS 1.3 by RFC 9266; the clients must have been told the same",
    ),
    Key(
        name="list_identity_linking",
        meaning="where linking is required, `/csrattrs` lists estIdentityLinking (RFC 7894) beside"
        " challengePassword, and clients that know it use it; without this it does so only where a"
        " challengePassword may be a code",
    ),
    Key(
        name="revocation_challenge", kind='`"ignore"` or `"refuse"`',
        meaning="a revocationChallenge (RFC 7894), a password to have the certificate revoked by:"
        " nobody here would keep it, so it is not looked at, or the request is refused",
    ),
)  # fmt: skip

_TLS: Final = (
    Key(name="certificate", meaning="the server's certificate, then its intermediates"),
    Key(name="key", meaning="its private key, not encrypted"),
    Key(
        name="client_trust",
        meaning="other CAs whose certificates may enroll; for a manufacturer that numbers its"
        " devices, `[manufacturers.NAME]` says who each of them is",
    ),
    Key(name="max_version", meaning="newest TLS version; none is 1.3"),
    Key(
        name="resumption",
        meaning="let clients resume sessions, from the memory of one process",
    ),
)  # fmt: skip

_AT_START: Final = "`est serve` does not start, and a reload changes nothing; or it says so"
_IN_REQUESTS: Final = "the certificate counts as failed; or it is accepted, and the log says so"

_CRLS: Final = (
    Key(
        name="files",
        meaning="revocation lists (CRLs) in PEM or DER, read again when they change; with none,"
        " only the CA's own record is looked at",
    ),
    Key(
        name="missing_at_start",
        meaning=f"a CA of `tls.client_trust` or of a manufacturer has none: {_AT_START}",
    ),
    Key(name="stale_at_start", meaning=f"one is past its nextUpdate: {_AT_START}"),
    Key(
        name="missing_in_requests",
        meaning=f"an issuer in a client's path, beside this CA, has none: {_IN_REQUESTS}",
    ),
    Key(
        name="stale_in_requests",
        meaning=f"that of an issuer in a client's path is past its nextUpdate: {_IN_REQUESTS}",
    ),
)  # fmt: skip

_RA: Final = (
    Key(
        name="certificates",
        meaning="registration authorities: who shows a certificate of this CA for `id-kp-cmcRA`,"
        " with the subject of one of these, may send requests of others, linked to nothing here;"
        " it may renew what is on record",
    ),
    Key(
        name="fingerprints", kind="SHA-256 in hexadecimal",
        meaning="the same by this one certificate, and not by one that was renewed",
    ),
)  # fmt: skip

_CA: Final = (
    Key(
        name="certificate",
        meaning="the issuing certificate first, then its issuers up to the root; of them, the first"
        " alone is trusted as *this CA*",
    ),
    Key(name="key", meaning="the issuing key"),
    Key(name="key_password_file", meaning="its first line opens the key"),
    Key(
        name="store", needs_restart=True, meaning="users and issued certificates"
    ),
    Key(
        name="reserved",
        meaning="certificates whose subjects nobody else gets: registration authorities', an OCSP"
        " responder's; their holders may renew them. The CA's own chain and the server's"
        " certificate need not be told",
    ),
    Key(
        name="default_profile", kind="name", meaning="profile of requests without a label"
    ),
    Key(
        name="former",
        meaning="the keys that the CA issued with before: `[[ca.former]]`, the newest first;"
        " `est ca rollover` writes them",
    ),
)  # fmt: skip

_LABELS: Final = (
    Key(name="profile", kind="name", meaning="what it issues"),
    Key(
        name="simpleenroll", kind="word but `\"open\"`",
        meaning=f"as in `[auth]`; {_WITHOUT_LABEL}",
    ),
    Key(name="require_pop", meaning=f"as in `[auth]`; {_WITHOUT_LABEL}"),
    Key(name="foreign_challenge", meaning=f"as in `[pop]`; {_WITHOUT_LABEL}"),
    Key(name="names", meaning=f"as in `[auth]`; {_WITHOUT_LABEL}"),
    Key(name="renew_expired_days", meaning=f"as in `[auth]`; {_WITHOUT_LABEL}"),
    Key(name="changed_names", meaning=f"as in `[auth]`; {_WITHOUT_LABEL}"),
    Key(
        name="csrattrs",
        meaning="as `[csrattrs]`; none, or an empty one, is what holds without a label",
    ),
)  # fmt: skip

_BODY: Final = (
    Key(name="accept_pem", meaning="take requests in PEM"),
    Key(name="accept_der", meaning="take requests in raw DER"),
)

_TIMEOUTS: Final = (
    Key(name="handshake_s", meaning="TLS"),
    Key(name="head_s", meaning="the first byte of the first request, and each head"),
    Key(name="body_s", meaning="a body"),
    Key(name="idle_s", meaning="the time between two requests"),
    Key(name="write_s", meaning="a client to take its answer"),
    Key(
        name="drain_s",
        meaning="the rest of a body that nobody wants, and the close after the last answer",
    ),
)  # fmt: skip

_LIMITS: Final = (
    Key(name="head_bytes", meaning="header fields of a request"),
    Key(name="target_bytes", meaning="path and query of a request"),
    Key(name="header_count", counted="fields", meaning="header fields"),
    Key(name="body_bytes", meaning="body of a request"),
    Key(name="response_body_bytes", meaning="client: body of an answer"),
    Key(name="label_chars", meaning="a label"),
    Key(
        name="der_depth", counted="levels",
        meaning="nesting of DER: elements inside each other that can hold others",
    ),
    Key(name="der_nodes", counted="elements", meaning="elements of one DER structure"),
    Key(name="csrattrs_items", counted="items", meaning="items of CSR attributes"),
    Key(name="csr_attributes", counted="attributes", meaning="attributes of a request"),
    Key(name="csr_extensions", counted="extensions", meaning="extensions that a request asks for"),
    Key(name="names", counted="names", meaning="parts of a subject, and alternative names"),
    Key(name="certificates", counted="certificates", meaning="certificates in one certs-only bag"),
    Key(name="challenge_chars", meaning="a challengePassword"),
    Key(name="auth_header_bytes", meaning="an `Authorization` or `WWW-Authenticate` header"),
    Key(name="auth_params", counted="parameters", meaning="parameters in one of them"),
    Key(name="challenges", counted="challenges", meaning="client: challenges in one 401"),
    Key(name="user_chars", meaning="a user name"),
    Key(name="password_chars", meaning="a password"),
    Key(name="error_text_chars", meaning="text of a refusal, sent or shown"),
    Key(name="retry_after_min_s", meaning="client: a shorter `Retry-After` is made so long"),
    Key(name="retry_after_default_s", meaning="client: where there is none"),
    Key(name="retry_after_max_s", meaning="client: a longer one is made so short"),
    Key(name="decision_s", meaning="an application that has not decided by then makes it 503"),
    Key(
        name="redirects", counted="redirects",
        meaning="client: redirects followed, all within one origin",
    ),
    Key(name="credential_tries", counted="answers", meaning="client: 401 after which it gives up"),
    Key(
        name="connects", counted="connections",
        meaning="client: connections for one exchange in a row",
    ),
)  # fmt: skip

KEYS: Final[Mapping[str, tuple[Key, ...]]] = MappingProxyType(
    {
        "server": _SERVER,
        "auth": _AUTH,
        "srp": _SRP,
        "pop": _POP,
        "tls": _TLS,
        "crl": CRL_KEYS,
        "crls": _CRLS,
        "manufacturers.NAME": MANUFACTURER_KEYS,
        "ra": _RA,
        "coap": COAP_KEYS,
        "publication": PUBLICATION_KEYS,
        "ocsp": OCSP_KEYS,
        "ca": _CA,
        "ca.former": FORMER_KEYS,
        "audit": AUDIT_KEYS,
        "renewal_info": RENEWAL_INFO_KEYS,
        "profiles.NAME": PROFILE_KEYS,
        "labels.NAME": _LABELS,
        "csrattrs": CSRATTRS_KEYS,
        "csrattrs.for": CSRATTRS_FOR_KEYS,
        "body": _BODY,
        "timeouts": _TIMEOUTS,
        "limits": _LIMITS,
    }
)
"""The keys of each table, in the order of the page."""


def keys_at_start(table: str) -> tuple[str, ...]:
    """Return the keys of a table that a reload does not change."""
    return tuple(key.name for key in KEYS[table] if key.needs_restart)
