"""Trust anchors as OpenSSL has them, which verifies chains with them."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from typing import Final

from cryptography import x509
from OpenSSL import crypto

from est_transports.pki.certificate_checks import unreadable_part
from est_transports.pki.certificates import shown
from est_transports.pki.trust import TrustAnchors

MAX_CHAIN_DEPTH: Final = 8  # intermediates of a verified chain; OpenSSL's default is 100
_KNOWN_MAX: Final = 256  # anchors, which are the same few in every handshake

_log: Final = logging.getLogger("est_transports")


def fill_store(store: crypto.X509Store, anchors: TrustAnchors) -> None:
    """Put anchors that can be read into an OpenSSL store."""
    for certificate in usable_anchors(anchors).certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor need not be self-signed


def usable_anchors(anchors: TrustAnchors) -> TrustAnchors:
    """Return the anchors that can be read. To leave one out trusts less, never more."""
    unread = [each for each in anchors.certificates if _known_fault(each)]
    if not unread:
        return anchors
    for each in unread:
        _log.warning("trust anchor %s is left out: %s", shown(each), _known_fault(each))
    return replace(
        anchors,
        explicit=tuple(each for each in anchors.explicit if each not in unread),
        implicit=tuple(each for each in anchors.implicit if each not in unread),
        manufacturers=tuple(
            replace(maker, anchors=left)
            for maker in anchors.manufacturers
            if (left := tuple(each for each in maker.anchors if each not in unread))
        ),
    )


def _anchor_fault(certificate: x509.Certificate) -> str:
    """Return why a certificate can be no trust anchor here, or "".

    OpenSSL reads most of what `cryptography` reads, but not all: a name in a VisibleString, say.
    """
    if text := unreadable_part(certificate):
        return text
    try:
        crypto.X509.from_cryptography(certificate)
    except crypto.Error:
        return "OpenSSL cannot read it"
    return ""


_known_fault: Final = lru_cache(maxsize=_KNOWN_MAX)(_anchor_fault)
