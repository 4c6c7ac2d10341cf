"""Who the peer is: which client certificates count, who is an RA, which server to believe."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core._errors import Fault, RemoteProtocolError
from est_core._oids import CMC_RA
from est_core.arguments import checked
from est_core.channel import Channel, TrustClass
from est_core.checks.names import shown_name
from est_core.values import value_class

_UNREADABLE: Final = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)
_SHA256: Final = hashes.SHA256()
_SHOWN_NAMES: Final = 4


@checked
def has_cmc_ra(certificate: x509.Certificate | None) -> bool:
    """True if the certificate carries id-kp-cmcRA. RFC 6402 2.10. False if it cannot be read."""
    if certificate is None:
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, *_UNREADABLE):  # any extension, not only the one looked for
        return False
    return any(purpose.dotted_string == CMC_RA for purpose in usage)


@value_class
class RegistrationAuthorities:
    """Which certificates may act as a registration authority; by default none. RFC 7030 3.7.

    `subjects` list each certificate of that subject, so that one that was renewed is listed too;
    `fingerprints` (SHA-256) list one certificate each.
    """

    subjects: frozenset[x509.Name] = frozenset()
    fingerprints: frozenset[bytes] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.subjects or self.fingerprints)

    def lists(self, certificate: x509.Certificate) -> bool:
        """True if this certificate is listed. False if its subject cannot be read."""
        if certificate.fingerprint(_SHA256) in self.fingerprints:
            return True
        try:
            return certificate.subject in self.subjects
        except _UNREADABLE:
            return False


def is_registration_authority(channel: Channel, listed: RegistrationAuthorities) -> bool:
    """True if the client is an RA: id-kp-cmcRA in a listed certificate of the own CA.

    The same purpose in a third party's certificate means nothing, whatever is listed, and in one of
    the own CA that is not listed it makes no RA either. RFC 7030 3.7.
    """
    return may_be_registration_authority(channel) and listed.lists(channel.peer_chain[0])


def may_be_registration_authority(channel: Channel) -> bool:
    """True if the client's certificate, of the own CA, has id-kp-cmcRA: listed, it is an RA's."""
    return channel.trust_class is TrustClass.EXPLICIT and has_cmc_ra(channel.peer_certificate)


@checked
def check_server(channel: Channel) -> None:
    """Accept the channel's server as an EST server, or raise. RFC 7030 3.6.

    Under an explicit trust anchor its certificate names the host or carries id-kp-cmcRA; under
    an implicit one it names the host. A server that showed no certificate and proved that it
    knows our user's password needs neither. Raises RemoteProtocolError "server/untrusted" or
    "server/name-mismatch".
    """
    if channel.user is not None and not channel.peer_chain:
        return
    if not channel.is_verified:
        raise RemoteProtocolError(
            "server/untrusted", channel.failure or "the server is not verified", Fault.FORBIDDEN
        )
    if channel.name_matches:
        return
    if channel.trust_class is TrustClass.EXPLICIT and has_cmc_ra(channel.peer_certificate):
        return
    raise RemoteProtocolError(
        "server/name-mismatch", _other_names(channel.peer_certificate), Fault.FORBIDDEN
    )


def _other_names(certificate: x509.Certificate | None) -> str:
    """Return what a certificate names that does not name the host which was asked for."""
    names = _host_names(certificate)
    if names:
        shown = ", ".join(shown_name(name) for name in names[:_SHOWN_NAMES])
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        return f"the server's certificate is for another host name: it is for {shown}{more}"
    text = "the server's certificate names no host in subjectAltName"
    if certificate is None:
        return text
    try:
        found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except ValueError:
        return text
    if not found:
        return text
    common_name = shown_name(str(found[-1].value))
    return f"{text}; the common name, {common_name}, does not count (RFC 9525)"


def _host_names(certificate: x509.Certificate | None) -> tuple[str, ...]:
    if certificate is None:
        return ()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    )
