"""`est csrattrs` says what bare object identifiers ask for, which real servers list."""

from __future__ import annotations

from base64 import b64decode

import pytest

from est_core import Limits
from est_core.asn1.attributes import Attribute
from est_core.asn1.csrattrs import CsrAttrs, ObjectId, parse_csrattrs
from est_transports.cli.describe import csrattrs_rows, csrattrs_values


def rows(*items: ObjectId | Attribute) -> list[tuple[str, str]]:
    """What is told beside the form."""
    return list(csrattrs_rows(CsrAttrs(items=items)))[1:]


@pytest.mark.parametrize(
    "oid, kind, text",
    [
        ("1.2.840.113549.1.9.14", "attribute", "extensionRequest, value from the client"),
        ("2.5.29.37", "extension", "extendedKeyUsage, value from the client"),
        ("2.5.29.17", "extension", "subjectAltName, value from the client"),
        ("2.5.29.15", "extension", "keyUsage, value from the client"),
        ("2.5.29.46", "extension", "freshestCRL, value from the client"),
        ("1.3.6.1.5.5.7.1.24", "extension", "tlsFeature, value from the client"),
        ("1.3.6.1.5.5.7.3.2", "purpose", "clientAuth, for the extendedKeyUsage"),
        ("2.5.29.37.0", "purpose", "anyExtendedKeyUsage, for the extendedKeyUsage"),
        ("2.5.4.3", "subject", "commonName, value from the client"),
        ("0.9.2342.19200300.100.1.25", "subject", "domainComponent, value from the client"),
        ("1.2.840.113549.1.9.1", "subject", "emailAddress, value from the client"),
        ("2.16.840.1.101.3.4.2.2", "hash", "SHA-384, for the signature of the request"),
        ("1.3.132.0.34", "key type", "EC P-384"),
        (
            "1.2.840.113549.1.1.5",
            "signature algorithm",
            "sha1WithRSAEncryption, which is not made here",
        ),
        (
            "1.3.6.1.4.1.311.20.2",
            "attribute",
            "Microsoft's name of a certificate template, value from the client",
        ),
        ("1.2.3.4", "not understood", "1.2.3.4"),
    ],
)
def test_a_bare_object_identifier_is_told_by_what_it_asks_for(
    oid: str, kind: str, text: str
) -> None:
    assert rows(ObjectId(oid=oid)) == [(kind, text)]
    values = csrattrs_values(CsrAttrs(items=(ObjectId(oid=oid),)))
    listed = [values["unknown"], values["attributes_to_fill"]]
    (name,) = (found["name"] for each in listed if isinstance(each, list) for found in each)
    assert (name is None) == (kind == "not understood")
    assert name is None or text.startswith(("EC ", name))


def test_the_values_of_an_attribute_are_named_where_they_are_object_identifiers() -> None:
    # RFC 7030 4.5.2: an extensionRequest that names macAddress, where extensions belong.
    example = parse_csrattrs(
        b64decode("MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEW"
                  "BggqhkjOPQQDAw=="),
        Limits(),
    )  # fmt: skip
    assert ("attribute", "extensionRequest, for macAddress") in csrattrs_rows(example)
    odd = Attribute(type="2.5.29.37", values=(bytes.fromhex("0c0161"),))
    assert rows(odd) == [("extension", "extendedKeyUsage, 1 value(s) given")]
    mixed = Attribute(type="1.2.3.4", values=(bytes.fromhex("06022a03"), bytes.fromhex("0500")))
    assert rows(mixed) == [("not understood", "1.2.3.4, 2 value(s) given")]
