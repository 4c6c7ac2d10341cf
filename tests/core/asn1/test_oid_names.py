"""Names of object identifiers and types in what people read."""

from __future__ import annotations

from est_core.asn1.oid_names import named, oid_name, type_name


def test_what_has_a_name_is_called_by_it_and_the_rest_by_numbers() -> None:
    assert (oid_name("2.5.4.3"), named("2.5.4.3")) == ("commonName", "commonName (2.5.4.3)")
    assert oid_name("2.999.1") == named("2.999.1") == "2.999.1"
    assert type_name(0x30) == "SEQUENCE"
    assert type_name(0xA3) == "an element with tag 0xa3"
