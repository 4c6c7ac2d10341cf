"""One-time codes: known when they come, and spent with what they open.

A code proves its device when a request comes, and is spent in the transaction that records the
certificate: so there is never one without the other. The record of a spent code says which request
it was spent for. The same request again, after an answer that got lost, is given the same
certificate; another one is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import field
from datetime import datetime

from est_core import (
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


@unchecked_value_class
class KnownCode:
    """A code that was found good, as the context of its user: what it is to be spent by."""

    digest: bytes = field(repr=False)

    def use(
        self, operation: Operation, label: Label | None, csr: CertRequest, at: datetime
    ) -> CodeUse:
        """Return what spends it for a request. RFC 7030 4.2.3 lets a client repeat that.

        The linking and the signature of a repeat are others: its operation, its label, its key and
        its names are the same.
        """
        where = f"{operation.name}\0{'' if label is None else label.text}\0"
        subject = csr.subject.public_bytes()
        parts = (where.encode("utf-8"), len(csr.spki).to_bytes(4, "big"), csr.spki, subject)
        request = hashlib.sha256(b"".join(parts)).digest()
        return CodeUse(digest=self.digest, request=request, at=at)


def verify_code(
    question: AuthenticateRequested,
    store: Store,
    secret: ServerSecret,
    now: Callable[[], datetime],
) -> Decision:
    """Return Verified for a code of this label; Rejected for one that nobody knows.

    With Basic, the code is the password, and the user is empty or the name of the code. One that
    was spent is Verified too: whether this is the request that it was spent for is seen when it is
    spent. One that ran out unused is challenged, as is one of another label or device.
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
    if record.uses == 0 and now() >= record.expires_at:
        return Challenge(code="auth/code-expired")
    return Verified(user=record.name, context=KnownCode(digest=digest))


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
