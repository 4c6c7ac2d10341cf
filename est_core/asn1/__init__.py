"""The ASN.1 that EST carries: certificate requests, CSR attributes and bags of certificates.

Here is what all of it is read and written with: the gate that DER of a peer passes first, and the
elements of DER.
"""

from __future__ import annotations

from est_core.asn1._der import (
    Element,
    check_ber,
    check_der,
    children,
    read_element,
    read_oid,
    tlv,
)

__all__ = ["Element", "check_ber", "check_der", "children", "read_element", "read_oid", "tlv"]
