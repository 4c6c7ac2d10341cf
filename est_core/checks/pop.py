"""Linking identity and proof of possession: is the CSR bound to this channel? RFC 7030 3.5.

A client copies the channel binding, base64, into challengePassword (or, RFC 7894,
estIdentityLinking) of the CSR it signs. Whoever relays that CSR over another channel is found
out here.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from enum import Enum, unique
from typing import Final

from est_core._errors import Fault, RemoteProtocolError
from est_core._oids import CHALLENGE_PASSWORD, EST_IDENTITY_LINKING
from est_core.arguments import checked
from est_core.asn1.oid_names import OID_NAMES, named
from est_core.asn1.pkcs10 import CertRequest
from est_core.channel import BindingKind, Channel, ChannelBinding, TlsVersion

_FINISHED_SHA256: Final = 32
_FINISHED_SHA384: Final = 48


@unique
class PopMode(Enum):
    """When to link identity and proof of possession. RFC 7030 3.5.

    AUTO links wherever the channel has a binding, and goes down to TLS 1.2 for one when the
    CSR attributes demand it. ALWAYS fails rather than send an unlinked CSR.
    """

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@unique
class LinkWith(Enum):
    """In which attribute of a CSR the channel binding goes. RFC 7030 3.5, RFC 7894 3.3.

    AUTO takes what the server's CSR attributes list, estIdentityLinking before challengePassword,
    and challengePassword where they list neither. The others do not ask; BOTH is for servers of
    which nobody knows which one they look at (RFC 7894 4).
    """

    AUTO = "auto"
    CHALLENGE_PASSWORD = "challengePassword"
    IDENTITY_LINKING = "estIdentityLinking"
    BOTH = "both"

    def attributes(self, listed: str | None) -> tuple[str, ...]:
        """Return the types of the attributes; `listed` is what the server's list prefers."""
        match self:
            case LinkWith.AUTO:
                return (listed or CHALLENGE_PASSWORD,)
            case LinkWith.CHALLENGE_PASSWORD:
                return (CHALLENGE_PASSWORD,)
            case LinkWith.IDENTITY_LINKING:
                return (EST_IDENTITY_LINKING,)
            case LinkWith.BOTH:
                return (EST_IDENTITY_LINKING, CHALLENGE_PASSWORD)


@checked
def linking_text(binding: ChannelBinding) -> str:
    """Return the text that stands for a binding: base64 with padding, no line break."""
    return binascii.b2a_base64(binding.data, newline=False).decode("ascii")


def unbound_challenges(csr: CertRequest, channel: Channel) -> tuple[str, ...]:
    """Return the values of challengePassword that are not the channel's binding."""
    values = dict.fromkeys(csr.challenge(CHALLENGE_PASSWORD)) if csr.challenges else ()
    return tuple(value for value in values if not is_bound(value, channel.binding))


def linking_values(csr: CertRequest) -> tuple[str, ...]:
    """Return the linking values of a CSR, one for each attribute that may carry one.

    A value that is repeated counts once. Raises RemoteProtocolError("pop/ambiguous") if one of
    them has different values: what is verified must be what everybody else reads.
    """
    return tuple(value for _, value in _linking(csr))


def _linking(csr: CertRequest) -> tuple[tuple[str, str], ...]:
    """Return the linking attributes of a CSR by type, each with its value."""
    if not csr.challenges:
        return ()
    return tuple(
        (oid, value)
        for oid in (CHALLENGE_PASSWORD, EST_IDENTITY_LINKING)
        for value in _one_value(csr, oid)
    )


def _one_value(csr: CertRequest, oid: str) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(csr.challenge(oid)))
    if len(values) > 1:
        message = f"{named(oid)} has {len(values)} different values"
        raise RemoteProtocolError("pop/ambiguous", message, Fault.FORBIDDEN)
    return values


def is_bound(text: str, binding: ChannelBinding | None) -> bool:
    """True if `text` is base64 of the binding, compared in constant time.

    Octets have exactly one strict base64 text (RFC 4648 3.2 to 3.5), so texts are compared:
    decoders differ in what padding and trailing bits they let pass. A longer value that shares
    a prefix is False, and so is any text on a channel without a binding.
    """
    if binding is None or not text.isascii():
        return False
    return hmac.compare_digest(text, linking_text(binding))


def check_linking(
    csr: CertRequest, channel: Channel, *, required: bool, tolerant: bool, codes: bool = False
) -> bool:
    """True if the CSR is bound to the channel; False if it need not be and is not.

    Every linking value that is there must match (RFC 7030 3.5 "MUST be verified"), unless
    `tolerant`: a recognised RA, or a policy that ignores foreign challenges. With `codes` a
    challengePassword that does not match is a one-time code, and links nothing.
    Raises RemoteProtocolError "pop/mismatch", "pop/missing", "pop/ambiguous".
    """
    found = _linking(csr)
    if codes and unbound_challenges(csr, channel):
        found = tuple(each for each in found if each[0] == EST_IDENTITY_LINKING)
    wrong = [each for each in found if not is_bound(each[1], channel.binding)]
    if found and not wrong:
        return True
    if wrong and not tolerant:
        oid, value = wrong[0]
        raise RemoteProtocolError(
            "pop/mismatch",
            f"linking of identity and proof of possession (POP) failed: {OID_NAMES[oid]} is not "
            f"the channel binding of this connection{_likely_cause(value, channel)}",
            Fault.FORBIDDEN,
        )
    if required:
        place = EST_IDENTITY_LINKING if codes else CHALLENGE_PASSWORD
        raise RemoteProtocolError(
            "pop/missing",
            "linking of identity and proof of possession (POP) is required: put the channel "
            f"binding into {OID_NAMES[place]}{_no_binding(channel)}",
            Fault.FORBIDDEN,
        )
    return False


class BindingUse:
    """What the binding of one channel has linked.

    RFC 9266 4.1: tls-exporter is not to be used "for more than one authentication mechanism
    instance on a given TLS connection", or a CSR linked by it could be replayed on that
    connection. One CSR is one instance; sent again, say after a challenge, it is the same one.
    RFC 5929 does not limit tls-unique so.
    """

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first = b""

    @property
    def is_over(self) -> bool:
        """True once the connection has to close: with the answer, unless that is a challenge."""
        return self._first != b""

    def note(self, csr: CertRequest, channel: Channel, *, linked: bool) -> None:
        """Take down a CSR that is bound to the channel.

        Raises RemoteProtocolError("pop/used-binding") for a second one where one is the most.
        """
        if not linked or channel.binding is None or not channel.binding.kind.links_once:
            return
        this = hashlib.sha256(csr.der).digest()
        self._first = self._first or this
        if this != self._first:
            raise RemoteProtocolError(
                "pop/used-binding",
                "linking of identity and proof of possession (POP) by tls-exporter has been used "
                "for another request: open a connection for each (RFC 9266 4.1)",
                Fault.FORBIDDEN,
            )


def _likely_cause(wrong: str, channel: Channel) -> str:
    """Return what a wrong linking value looks like, after a semicolon; or nothing.

    TLS libraries hand out the Finished message of TLS 1.3 as tls-unique, which it is not:
    RFC 8446 C.5, RFC 9266 1. It is as long as the hash of the cipher suite, and with SHA-256 as
    long as a value of tls-exporter.
    """
    size, binding = _octets_untrusted(wrong), channel.binding
    is_1_3 = channel.version.is_above(TlsVersion.TLS_1_2)
    if size == _FINISHED_SHA384 or (size == _FINISHED_SHA256 and binding is None):
        exporter = " and of tls-exporter, which is not turned on here"
        where = "" if is_1_3 else f", and this connection is {channel.version.value}"
        return (
            "; it has the length of a Finished message of TLS 1.3, which is no binding"
            f"{exporter if is_1_3 and size == _FINISHED_SHA256 else where}"
        )
    if binding is None:
        return _no_binding(channel)
    if size is None:
        return "; it is no base64 without line breaks"
    if size != len(binding.data):
        return f"; it has {size} bytes, and {binding.kind.value} has {len(binding.data)}"
    if channel.resumed and binding.kind is BindingKind.TLS_UNIQUE:
        return "; in a resumed session the server's Finished message is the first (RFC 5929 3.1)"
    return ""


def _no_binding(channel: Channel) -> str:
    """Return why a channel has no binding, after a semicolon; nothing where it has one."""
    if channel.binding is not None:
        return ""
    if channel.version.is_above(TlsVersion.TLS_1_2):
        return "; TLS 1.3 has no tls-unique (RFC 9266)"
    if not channel.extended_master_secret:
        return "; this connection has none: it is without extended master secret (RFC 7627)"
    return "; this connection has none"


def _octets_untrusted(text: str) -> int | None:
    try:
        return len(binascii.a2b_base64(text.encode("ascii"), strict_mode=True))
    except ValueError:  # no ASCII, or no base64
        return None


def check_foreign(csr: CertRequest, channel: Channel, *, required: bool) -> None:
    """Accept a CSR that cannot be signed anew for sending on this channel, or raise.

    A client may not send one that is linked to something else, nor an unlinked one where the
    server requires linking. Raises RemoteProtocolError "pop/cannot-relink", "pop/ambiguous".
    """
    values = linking_values(csr)
    linked = bool(values) and all(is_bound(value, channel.binding) for value in values)
    if not linked and (values or required):
        raise RemoteProtocolError(
            "pop/cannot-relink",
            "the CSR is not linked to this connection and its key is not here to sign it anew",
            Fault.FORBIDDEN,
        )
