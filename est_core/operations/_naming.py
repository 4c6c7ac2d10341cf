"""The question which names a client may have, and its answer; and the names it is known by."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from cryptography import x509

from est_core._limits import Limits
from est_core.asn1.pkcs10 import CertRequest
from est_core.checks.allowed_names import AllowedNames, check_names, check_names_of
from est_core.checks.names import canonical_text
from est_core.credentials import ManufacturerIdentity
from est_core.decisions import Decision
from est_core.events import ClientIdentity, ServerQuestion
from est_core.operation import Operation
from est_core.values import value_class


@value_class
class AllowNames(Decision):
    """The client may have a certificate for these names, or some of them, and for no others."""

    names: AllowedNames


@value_class
class NamesRequested(ServerQuestion):
    """Which names may this client have? Answer: AllowNames, Challenge, Deny, Postpone, Fail.

    Asked where the policy says NameRule.REGISTERED, for renewals too, and before the question
    whether to issue. The CSR is there for those who may have anything they are asked for, as a
    registration authority (`identity.is_ra`); what is in it proves nothing.
    """

    method: ClassVar[str] = "names"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({AllowNames})

    operation: Operation
    identity: ClientIdentity
    csr: CertRequest


def check_authenticated_names(
    csr: CertRequest, identity: ClientIdentity, limits: Limits, *, rule: str, own: bool
) -> None:
    """Return if a request asks for names that its client was authenticated by, and for one.

    `own` says that the client's certificate is one of the EST CA. Raises RemoteProtocolError:
    "names/none", "names/not-allowed", and "names/certificate" where that cannot be read.
    """
    certificate = identity.certificate
    if certificate is not None and check_names_of(csr, certificate, rule=rule):
        return
    names = AllowedNames()
    if identity.user is not None:
        names = AllowedNames(texts=frozenset({identity.user}))
    if certificate is not None:
        names |= _names_shown(certificate, identity.manufacturer, limits, own=own)
    check_names(csr, names, rule=rule)


def _names_shown(
    certificate: x509.Certificate,
    manufacturer: ManufacturerIdentity | None,
    limits: Limits,
    *,
    own: bool,
) -> AllowedNames:
    """Return the names that a certificate gives its holder.

    In a manufacturer's the value of the device is a name of any kind. What else stands there is the
    manufacturer's to choose, and may be the name of a user or of a host: it counts as the whole
    that was certified, the subject with all its attributes, an alternative name as its kind. The
    same goes for one of our own that has several names: it may have come by them as such a whole,
    and with one of them by itself the device would be called like another.
    """
    names = AllowedNames.of_certificate(certificate, limits)
    if manufacturer is not None:
        return replace(names, texts=frozenset({manufacturer.value}))
    if own and len({canonical_text(text) for text in names.texts}) > 1:
        return replace(names, texts=frozenset())
    return names
