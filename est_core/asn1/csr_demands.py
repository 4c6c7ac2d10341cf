"""CSR attributes from what a server demands of requests: as a list, as a template, or as both.

The list of RFC 8951 and the template of RFC 9908 can each say what the other cannot. Here is which
says what, so that whoever writes demands down need not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, unique

from est_core import _oids
from est_core._errors import LocalProtocolError
from est_core.asn1 import _der
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.csrattrs import LINKING, CsrAttr, CsrAttrs, ObjectId
from est_core.asn1.oid_names import oid_name
from est_core.asn1.template import (
    GAPS_IN_NAMES,
    CertRequestInfoTemplate,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectTemplate,
)
from est_core.values import value_class


@unique
class CsrAttrsForm(Enum):
    """How demands are written: the list of RFC 8951, the template of RFC 9908, or both.

    A client that knows the template ignores the list (RFC 9908 4); any other ignores the template.
    """

    CLASSIC = "classic"
    TEMPLATE = "template"
    BOTH = "both"


@value_class
class CsrDemands:
    """What requests are to hold, each part optional.

    `subject` None is no demand; its parts, and `extensions`, may leave their value to the client.
    `signature_algorithms` (object identifiers, one of which is to be used), `attribute_oids`,
    attributes with values of the client's own, and `other_oids`, items of which nothing is known,
    can be said by a list only; values of the subject, and extensions left to the client, by a
    template only. Linking can be asked for by either, among the `attribute_oids` or the others.
    Raises LocalProtocolError for an attribute that is there twice.
    """

    subject: SubjectTemplate | None = None
    key: KeyTypeWanted | None = None
    signature_algorithms: tuple[str, ...] = ()
    extensions: tuple[ExtensionTemplate, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    attribute_oids: tuple[str, ...] = ()
    other_oids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        types = [*(each.type for each in self.attributes), *self.attribute_oids]
        for oid in types:
            if types.count(oid) > 1:
                raise LocalProtocolError(f"attribute {oid_name(oid)} is there twice")

    def csrattrs(self, form: CsrAttrsForm | None = None) -> CsrAttrs:
        """Return the CSR attributes that say so.

        Without a form they are a list where that says all, and else both. With one,
        LocalProtocolError names what it cannot say. Where both are sent each says what it can, and
        it is raised for nothing. Raises LocalProtocolError as CsrAttrs does.
        """
        unsaid = tuple(self._only_in_template())
        if form is None:
            form = CsrAttrsForm.BOTH if unsaid else CsrAttrsForm.CLASSIC
        if form is CsrAttrsForm.CLASSIC and unsaid:
            raise LocalProtocolError(f"the classic form cannot say {', '.join(unsaid)}")
        if form is CsrAttrsForm.TEMPLATE and (other := tuple(self._only_in_list())):
            raise LocalProtocolError(f"a template cannot say {', '.join(other)}")
        items: tuple[CsrAttr, ...] = ()
        if form is not CsrAttrsForm.TEMPLATE:
            items = tuple(self._list())
        else:
            items = tuple(ObjectId(oid=oid) for oid in self._bare() if oid in LINKING)
        if form is not CsrAttrsForm.CLASSIC and (template := self._template()) is not None:
            items += (template.attribute(),)
        return CsrAttrs(items=items)

    def _only_in_template(self) -> Iterator[str]:
        for part in (part for rdn in self.subject or () for part in rdn):
            if part.value is not None:
                yield f"which {oid_name(part.type)} the subject has"
        if self.subject == ():
            yield "that the subject is empty"
        for extension in self.extensions:
            if not extension.is_complete:
                yield f"extension {oid_name(extension.oid)} with a value of the client's own"

    def _only_in_list(self) -> Iterator[str]:
        if self.signature_algorithms:
            yield "the signature algorithm"
        for oid in self._bare():
            if oid not in LINKING:
                yield f"{oid_name(oid)} with a value of the client's own"

    def _bare(self) -> tuple[str, ...]:
        return (*self.attribute_oids, *self.other_oids)

    def _list(self) -> Iterator[CsrAttr]:
        """Yield all that a list can say, in the order of a request."""
        yield from (ObjectId(oid=oid) for oid in dict.fromkeys(self._subject_types()))
        if self.key is not None:
            if self.key.curve is None and self.key.bits is None:
                yield ObjectId(oid=self.key.algorithm)
            else:
                yield self.key.attribute()
        named = () if self.key is None else (self.key.algorithm,)
        yield from (ObjectId(oid=oid) for oid in self.signature_algorithms if oid not in named)
        if complete := tuple(_told(self.extensions)):
            yield extension_request(complete)
        yield from self.attributes
        yield from (ObjectId(oid=oid) for oid in self._bare())

    def _subject_types(self) -> Iterator[str]:
        yield from (part.type for rdn in self.subject or () for part in rdn)

    def _template(self) -> CertRequestInfoTemplate | None:
        """Return all that a template can say; None where that is nothing."""
        if self.subject is None and self.key is None and not (self.extensions or self.attributes):
            return None
        return CertRequestInfoTemplate(
            subject=self.subject,
            key=self.key,
            attributes=self.attributes,
            extensions=self.extensions,
        )


def _told(extensions: tuple[ExtensionTemplate, ...]) -> Iterator[Extension]:
    """Yield the extensions whose value is told; of alternative names, those that are."""
    for extension in extensions:
        value = extension.value
        if value is not None and extension.oid == _oids.SUBJECT_ALT_NAME:
            value = _without_gaps(value)
        if value is not None:
            yield Extension(oid=extension.oid, critical=extension.critical, value=value)


def _without_gaps(names: bytes) -> bytes | None:
    every = [name.der for name in _der.children(_der.read_element(names))]
    told = [name for name in every if name not in GAPS_IN_NAMES]
    return _der.sequence(*told) if told else None
