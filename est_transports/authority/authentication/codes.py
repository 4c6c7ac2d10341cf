"""One-time codes: known when they come, and spent with what they open.

A code proves its device when a request comes, and is spent in the transaction that records the
certificate: so there is never one without the other. The record of a spent code says which request
it was spent for. The same request again, after an answer that got lost, is given the same
certificate, while that is valid, also when the code has run out; another one is not.

That repeat is all that a spent code is good for, with what leads to it: a device that tries again
begins with the CA certificates and the CSR attributes (RFC 7030 2). Those it may ask for until the
code runs out, and nothing else: not what issues nothing, and would never spend the code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from typing import Final

from est_core import (
    CACERTS,
    CSRATTRS,
    AuthenticateRequested,
    BasicCredentials,
    Challenge,
    CodeCredentials,
    Decision,
    Operation,
    Rejected,
    Verified,
)
from est_core.asn1.pkcs10 import CertRequest
from est_core.model import Label
from est_core.values import unchecked_value_class
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import CodeRecord, CodeUse, Store

_BEFORE_A_REPEAT: Final = (CACERTS, CSRATTRS)


@unchecked_value_class
class KnownCode:
    """A code that was found good, as the context of its user: what it is to be spent by.

    With `repeats_only` it can be spent no more.
    """

    digest: bytes = field(repr=False)
    repeats_only: bool = False

    def use(
        self, operation: Operation, label: Label | None, csr: CertRequest, at: datetime
    ) -> CodeUse:
        """Return what spends it for a request. RFC 7030 4.2.3 lets a client repeat that.

        The linking and the signature of a repeat are others: its operation, its label, its key, its
        subject and the extensions that it asks for are the same. Who asks for other names with the
        same key wants another certificate.
        """
        where = f"{operation.name}\0{'' if label is None else label.text}\0"
        subject = csr.subject.public_bytes()
        extensions = b"".join(sorted(extension.der() for extension in csr.extensions))
        parts = (where.encode("utf-8"), len(csr.spki).to_bytes(4, "big"), csr.spki, subject)
        request = hashlib.sha256(b"".join((*parts, extensions))).digest()
        return CodeUse(digest=self.digest, request=request, at=at)


def verify_code(
    question: AuthenticateRequested,
    store: Store,
    secret: ServerSecret,
    now: Callable[[], datetime],
) -> Decision:
    """Return Verified for a code of this label; Rejected for one that nobody knows.

    With Basic, the code is the password, and the user is empty or the name of the code. For an
    enrollment one that was spent is Verified too: whether this is the request that it was spent for
    is seen when it is spent. One that ran out unused is challenged, as is one of another label or
    device.
    """
    user, text = _told(question)
    digest = secret.code_digest(text)
    record = None if digest is None else store.find_code(digest)
    if record is None or digest is None:
        return Rejected()
    if user not in ("", record.name):
        return Challenge(code="auth/code-of-another")
    if not _is_for(record, question.label):
        return Challenge(code="auth/code-label")
    is_enrollment = question.operation.is_enrollment
    is_over, is_spent = now() >= record.expires_at, record.uses == record.uses_max
    if is_over and not (is_enrollment and record.uses):
        return Challenge(code="auth/code-expired")
    if is_spent and not (is_enrollment or question.operation in _BEFORE_A_REPEAT):
        return Challenge(code="auth/code-spent")
    known = KnownCode(digest=digest, repeats_only=is_over or is_spent)
    return Verified(user=record.name, context=known)


def _is_for(record: CodeRecord, label: Label | None) -> bool:
    return record.label is None or record.label == ("" if label is None else label.text)


def _told(question: AuthenticateRequested) -> tuple[str, str]:
    match question.credentials:
        case BasicCredentials(user=user, password=password):
            return user, password
        case CodeCredentials(code=code):
            return "", code
        case _:
            return "", ""
