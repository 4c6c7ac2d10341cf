"""Who the peer is: which client certificates count, who is an RA, which server to believe."""

from __future__ import annotations

from cryptography import x509

from est_core._errors import Fault, RemoteProtocolError
from est_core._oids import CMC_RA
from est_core.channel import Channel, TrustClass


def has_cmc_ra(certificate: x509.Certificate | None) -> bool:
    """True if the certificate carries id-kp-cmcRA. RFC 6402 2.10. False if it cannot be read."""
    if certificate is None:
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,  # any extension, not only the one looked for
        ValueError,
    ):
        return False
    return any(purpose.dotted_string == CMC_RA for purpose in usage)


def is_registration_authority(channel: Channel) -> bool:
    """True if the client is an RA: id-kp-cmcRA in a certificate of the own CA. RFC 7030 3.7.

    The same purpose in a third party's certificate means nothing.
    """
    return channel.trust_class is TrustClass.EXPLICIT and has_cmc_ra(channel.peer_certificate)


def check_server(channel: Channel) -> None:
    """Accept the channel's server as an EST server, or raise. RFC 7030 3.6.

    Under an explicit trust anchor its certificate names the host or carries id-kp-cmcRA; under
    an implicit one it names the host. Raises RemoteProtocolError "server/untrusted" or
    "server/name-mismatch".
    """
    if not channel.is_verified:
        raise RemoteProtocolError(
            "server/untrusted", channel.failure or "the server is not verified", Fault.FORBIDDEN
        )
    if channel.name_matches:
        return
    if channel.trust_class is TrustClass.EXPLICIT and has_cmc_ra(channel.peer_certificate):
        return
    raise RemoteProtocolError(
        "server/name-mismatch",
        "the server's certificate is for another host name",
        Fault.FORBIDDEN,
    )
