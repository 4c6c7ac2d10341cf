"""The question which names a client may have, and its answer; and the names it is known by."""

from __future__ import annotations

from typing import ClassVar

from est_core._limits import Limits
from est_core.asn1.pkcs10 import CertRequest
from est_core.checks.allowed_names import AllowedNames
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


def authenticated_names(identity: ClientIdentity, limits: Limits) -> AllowedNames:
    """Return the names that a client was authenticated by.

    Raises RemoteProtocolError "names/certificate" where its certificate cannot be read.
    """
    names = AllowedNames()
    if identity.user is not None:
        names = AllowedNames(texts=frozenset({identity.user}))
    if identity.certificate is not None:
        names |= AllowedNames.of_certificate(identity.certificate, limits)
    return names
