"""Challenges in a request beside linking: one-time codes, passwords for revocation. RFC 7894."""

from __future__ import annotations

from est_core._errors import Fault, RemoteProtocolError
from est_core._limits import Limits
from est_core._oids import OTP_CHALLENGE, REVOCATION_CHALLENGE
from est_core.asn1.attributes import read_directory_string
from est_core.asn1.oid_names import OID_NAMES
from est_core.asn1.pkcs10 import CertRequest
from est_core.channel import Channel
from est_core.checks.pop import unbound_challenges
from est_core.credentials import CodeCredentials, CodeSource


def code_in(
    csr: CertRequest, channel: Channel, *, challenge_password: bool, otp_challenge: bool
) -> CodeCredentials | None:
    """Return the code that a CSR carries in one of the attributes that are looked at, or None.

    A challengePassword that is the channel's binding is none. All challenge attributes have to
    succeed (RFC 7894 4), and one code is all that a request spends: raises
    RemoteProtocolError("auth/ambiguous-code") for several that differ.
    """
    found: dict[str, CodeSource] = {}
    if challenge_password:
        values = unbound_challenges(csr, channel)
        found |= dict.fromkeys(values, CodeSource.CHALLENGE_PASSWORD)
    if otp_challenge:
        found |= dict.fromkeys(csr.challenge(OTP_CHALLENGE), CodeSource.OTP_CHALLENGE)
    if len(found) > 1:
        message = f"the CSR holds {len(found)} one-time codes that differ"
        raise RemoteProtocolError("auth/ambiguous-code", message, Fault.FORBIDDEN)
    for code, source in found.items():
        return CodeCredentials(code=code, source=source)
    return None


def check_revocation_challenge(csr: CertRequest, limits: Limits, *, taken: bool) -> None:
    """Accept a CSR without revocationChallenge, and with one where it is taken: a single text.

    All challenge attributes have to succeed (RFC 7894 4), and who sends this one relies on it.
    Raises RemoteProtocolError: csr/revocation-challenge, attribute/string, attribute/too-long.
    """
    values = [value for found in csr.attribute(REVOCATION_CHALLENGE) for value in found.values]
    name = OID_NAMES[REVOCATION_CHALLENGE]
    if not csr.attribute(REVOCATION_CHALLENGE):
        return
    if not taken:
        message = f"nobody here would keep a {name}: leave it out"
        raise RemoteProtocolError("csr/revocation-challenge", message, Fault.CONTENT)
    if len(values) != 1:
        message = f"{name} has {len(values)} values instead of one"
        raise RemoteProtocolError("csr/revocation-challenge", message, Fault.CONTENT)
    read_directory_string(values[0], limits, name)
