"""Certificates that are wrong in one thing, for either end of a handshake, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509

from tests.odd_certificates import element, with_extension
from tests.pki import (
    CLIENT_AUTH,
    SERVER_AUTH,
    TOMORROW,
    YESTERDAY,
    Authority,
    Entity,
    Subject,
    self_signed,
)

_LAST_YEAR: Final = YESTERDAY.replace(year=YESTERDAY.year - 1, day=1)
_UNKNOWN: Final = element(
    0x30, bytes.fromhex("06092b0601040183b20301"), b"\x01\x01\xff", element(4, b"\x05\x00")
)
"""An extension that nobody knows, and that is critical."""


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """How to make one below a CA, for whom, and what is said of it."""

    make: Callable[[Authority, Subject], Entity]
    said: str


def namesake(ca: Authority) -> Authority:
    """Return a CA of the same name with another key."""
    (attribute,) = ca.name
    return Authority(str(attribute.value))


def _with_unknown_extension(ca: Authority, subject: Subject) -> Entity:
    entity = ca.issue(subject)
    der = with_extension(entity.certificate, ca, _UNKNOWN)
    certificate = x509.load_der_x509_certificate(der)
    return replace(entity, certificate=certificate, chain=(certificate, *entity.chain[1:]))


def _issued_by_a_device(ca: Authority, subject: Subject) -> Entity:
    """Its own certificate is no CA's, whatever it has signed."""
    device = ca.issue(Subject(name="greedy", eku=None))
    false = Authority("greedy", ca, key=device.key)
    false.certificate = device.certificate
    return false.issue(subject)


WRONG: Final[dict[str, Wrong]] = {
    "for another purpose": Wrong(
        make=lambda ca, subject: ca.issue(
            replace(subject, eku=(SERVER_AUTH if subject.eku == (CLIENT_AUTH,) else CLIENT_AUTH,))
        ),
        said="extendedKeyUsage does not allow a TLS ",
    ),
    "not for signatures": Wrong(
        make=lambda ca, subject: ca.issue(replace(subject, digital_signature=False)),
        said="keyUsage does not allow digitalSignature",
    ),
    "expired": Wrong(
        make=lambda ca, subject: ca.issue(
            replace(subject, not_before=_LAST_YEAR, not_after=YESTERDAY)
        ),
        said="expired",
    ),
    "not yet valid": Wrong(
        make=lambda ca, subject: ca.issue(replace(subject, not_before=TOMORROW)),
        said="not yet valid",
    ),
    "with an unknown critical extension": Wrong(
        make=_with_unknown_extension, said="critical extension that is not understood"
    ),
    "of another CA": Wrong(
        make=lambda _ca, subject: Authority("Somebody").issue(subject),
        said="leads to no trust anchor (its issuer: CN=Somebody)",
    ),
    "of a namesake of the CA": Wrong(
        make=lambda ca, subject: namesake(ca).issue(subject),
        said="not signed by the key of the trust anchor that its issuer is called after",
    ),
    "self-signed": Wrong(
        make=lambda _ca, subject: self_signed(subject), said="self-signed and not a trust anchor"
    ),
    "issued by a device": Wrong(make=_issued_by_a_device, said="CN=greedy: is no CA"),
    "below one CA too many": Wrong(
        make=lambda ca, subject: Authority("Third", Authority("Second", ca, path_length=0)).issue(
            subject
        ),
        said="path length exceeded",
    ),
}
"""By what is wrong with them."""
