"""A request for renewal with other names: what it asks for by ChangeSubjectName. RFC 6402 2.8.

Such a request has two sets of names. Its own, subject and subjectAltName, say which certificate it
renews (RFC 7030 4.2.2); those of the attribute are what is to be certified.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from cryptography import x509

from est_core._errors import RemoteProtocolError
from est_core._limits import Limits
from est_core._oids import (
    CHANGE_SUBJECT_NAME,
    EXTENSION_REQUEST,
    MICROSOFT_EXTENSION_REQUEST,
    SUBJECT_ALT_NAME,
)
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    ChangeSubjectName,
    Extension,
    extension_request,
    read_change_subject_name,
)
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo, parse_cert_request

_REPLACED: Final = frozenset({CHANGE_SUBJECT_NAME, EXTENSION_REQUEST, MICROSOFT_EXTENSION_REQUEST})


def change_in(attributes: Iterable[Attribute], limits: Limits) -> ChangeSubjectName | None:
    """Return the change of names that is among the attributes of a request, None without one.

    Raises RemoteProtocolError "csr/change-subject-name" for two, and what
    `read_change_subject_name` raises.
    """
    found = [each for each in attributes if each.type == CHANGE_SUBJECT_NAME]
    if not found:
        return None
    if len(found) > 1:
        raise RemoteProtocolError("csr/change-subject-name", "ChangeSubjectName occurs twice")
    return read_change_subject_name(found[0], limits)


def changed_extensions(
    extensions: Iterable[Extension], change: ChangeSubjectName
) -> tuple[Extension, ...]:
    """Return the extensions of a request with the alternative names that it changes to."""
    others = tuple(each for each in extensions if each.oid != SUBJECT_ALT_NAME)
    if change.subject_alt_name is None:
        return others
    return (*others, Extension(oid=SUBJECT_ALT_NAME, value=change.subject_alt_name))


@checked
def with_changed_names(csr: CertRequest, limits: Limits) -> CertRequest | None:
    """Return the request as one for the names of its ChangeSubjectName; None where it has none.

    A subject that is absent there is empty, and without subjectAlt there is no subjectAltName
    (RFC 6402 2.8). `der` and `info_der` stay those that came, which are signed. Raises
    RemoteProtocolError "csr/change-subject-name", also where the attribute occurs twice, and what
    `parse_cert_request` raises for names that cannot be read.
    """
    change = change_in(csr.attributes, limits)
    if change is None:
        return None
    info = CertRequestInfo(
        subject=change.subject or x509.Name([]),
        spki=csr.spki,
        attributes=tuple(each for each in csr.attributes if each.type not in _REPLACED),
    )
    if extensions := changed_extensions(csr.extensions, change):
        info = info.with_attribute(extension_request(extensions))
    _, *signature = _der.children(_der.read_element(csr.der))
    # Read as what came is, so that these names pass each check that names of a request pass.
    read = parse_cert_request(_der.sequence(info.der(), *(each.der for each in signature)), limits)
    return replace(read, der=csr.der, info_der=csr.info_der)
