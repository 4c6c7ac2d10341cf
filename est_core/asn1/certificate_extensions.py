"""The extensions of a certificate as bytes, so that one that nobody can decode spoils no other."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from est_core.asn1 import _der
from est_core.asn1.attributes import Extension

_EXTENSIONS: Final = 0xA3


def certificate_extensions(certificate: x509.Certificate) -> tuple[Extension, ...]:
    """Return the extensions in their order, none of them decoded. RFC 5280 4.1.2.9.

    Raises RemoteProtocolError der/..., or IndexError, for what is no certificate; `cryptography`
    reads none of those.
    """
    found: list[Extension] = []
    for part in _der.children(_der.read_element(certificate.tbs_certificate_bytes)):
        if part.tag == _EXTENSIONS:
            found += map(_extension, _der.children(_der.children(part)[0]))
    return tuple(found)


def _extension(element: _der.Element) -> Extension:
    oid, *flag, value = _der.children(element)
    # FALSE is the default, and a certificate that has it written out is read by nobody.
    return Extension(oid=_der.read_oid(oid), critical=bool(flag), value=value.content)
