"""CSR attributes: what a server wants in a certificate request, read, written and resolved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Final

from est_core import _oids
from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    read_attribute,
    read_extensions,
    read_general_names,
)
from est_core.asn1.keys import KEY_ALGORITHMS, signature_algorithm
from est_core.asn1.template import (
    CertRequestInfoTemplate,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectTemplate,
    complete_extensions,
    read_template,
)
from est_core.values import value_class

LINKING: Final = (_oids.EST_IDENTITY_LINKING, _oids.CHALLENGE_PASSWORD)
"""Attributes that link identity and proof of possession, the preferred one first. RFC 7894 4."""

KNOWN_ATTRIBUTES: Final = frozenset(
    {
        _oids.EXTENSION_REQUEST,
        _oids.SMIME_CAPABILITIES,
        _oids.OTP_CHALLENGE,
        _oids.REVOCATION_CHALLENGE,
        _oids.CHANGE_SUBJECT_NAME,
        "1.2.840.113549.1.9.2",  # unstructuredName
        "1.2.840.113549.1.9.8",  # unstructuredAddress
        "1.2.840.113549.1.9.20",  # friendlyName
        "1.2.840.113549.1.9.16.2.37",  # decryptKeyID
        "1.2.840.113549.1.9.16.2.54",  # asymmDecryptKeyID
        "1.3.6.1.1.1.1.22",  # macAddress
        "2.5.4.5",  # serialNumber of a device
        "0.9.2342.19200300.100.1.5",  # favouriteDrink; RFC 9908 5.6
    }
)
"""Types a request may carry as attributes. What is not here ends in `CsrPlan.unknown`."""


@value_class
class ObjectId:
    """A bare object identifier: include this attribute, or sign with this algorithm."""

    oid: str

    def __post_init__(self) -> None:
        _der.oid(self.oid)

    def der(self) -> bytes:
        """Return its DER."""
        return _der.oid(self.oid)


CsrAttr = ObjectId | Attribute


@value_class
class CsrPlan:
    """What a request should hold, once a template has taken the place of the rest (RFC 9908 4).

    `extensions` are copied as they are; `extensions_to_fill` need the client's value, or have
    empty GeneralNames for it to fill. `attributes` come with values to copy; `attribute_oids`
    are to be included with values of the client's own, where it has some (RFC 7894 4, RFC 8951 4).
    `subject` None means no demand. `linking_attribute` is the type to link with: where
    estIdentityLinking is listed that one alone (RFC 7894 4). `unknown` is everything not
    interpreted here, which a client ignores (RFC 8951 4) unless its application knows better.
    """

    from_template: bool = False
    key_type: KeyTypeWanted | None = None
    signature_algorithms: tuple[str, ...] = ()
    extensions: tuple[Extension, ...] = ()
    extensions_to_fill: tuple[ExtensionTemplate, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    attribute_oids: tuple[str, ...] = ()
    subject: SubjectTemplate | None = None
    linking_attribute: str | None = None
    unknown: tuple[CsrAttr, ...] = ()

    @property
    def linking(self) -> bool:
        """True if the server asks to link identity and proof of possession."""
        return self.linking_attribute is not None


@value_class
class CsrAttrs:
    """CSR attributes in order, nothing dropped. RFC 8951 4, RFC 9908.

    `limits` bound what the items are decoded with. `received` keeps what peers send although it
    must not be sent; without it LocalProtocolError is raised for more than one extensionRequest,
    key type or template, for one of these that does not decode, and for an attribute without
    values (RFC 9908 3.2).
    """

    items: tuple[CsrAttr, ...]
    limits: Limits = field(default=Limits(), repr=False, compare=False)
    received: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.received:
            return
        try:
            _der.check_der(self.der(), self.limits)
            _check_received(self.items, self.limits)
            _check_sendable(self.items, self.limits)
        except RemoteProtocolError as exc:
            raise LocalProtocolError(f"no CSR attributes to send: {exc}") from exc

    def der(self) -> bytes:
        """Return the DER of the CsrAttrs; what came as DER leaves as it came."""
        return _der.sequence(*(item.der() for item in self.items))

    @property
    def is_empty(self) -> bool:
        """True if there is no item: the same as having no CSR attributes (RFC 8951 4)."""
        return not self.items

    def oids(self) -> tuple[str, ...]:
        """Return the bare object identifiers, in order."""
        return tuple(item.oid for item in self.items if isinstance(item, ObjectId))

    def attributes(self, oid: str) -> tuple[Attribute, ...]:
        """Return the attributes of that type."""
        return tuple(
            item for item in self.items if isinstance(item, Attribute) and item.type == oid
        )

    @property
    def linking_attribute(self) -> str | None:
        """Type of the attribute to link with, or None if linking is not asked for.

        A template has the word on everything but this: as it cannot hold an attribute without
        a value, an object identifier beside it counts too. RFC 9908 4 with RFC 7030 3.5.
        """
        return self._linking_attribute(self.template())

    def _linking_attribute(self, template: CertRequestInfoTemplate | None) -> str | None:
        listed = {_type(item) for item in self.items}
        if template is not None:
            listed |= {attribute.type for attribute in template.attributes}
        return next((oid for oid in LINKING if oid in listed), None)

    @property
    def requires_linking(self) -> bool:
        """True if the list or its template names challengePassword or estIdentityLinking."""
        return self.linking_attribute is not None

    @property
    def has_malformed_extension_request(self) -> bool:
        """True if an extensionRequest outside a template holds no Extensions. RFC 9908 5.2."""
        return any(
            _extensions(each, self.limits) is None
            for each in self.attributes(_oids.EXTENSION_REQUEST)
        )

    def requested_extensions(self) -> tuple[Extension, ...]:
        """Return the extensions of the extensionRequest outside a template.

        Empty too where its value is no Extensions, as in the example of RFC 7030 4.5.2.
        """
        return next(
            (
                extensions
                for attribute in self.attributes(_oids.EXTENSION_REQUEST)
                if (extensions := _extensions(attribute, self.limits)) is not None
            ),
            (),
        )

    def key_type(self) -> KeyTypeWanted | None:
        """Return the kind of key asked for outside a template; the first, should there be two."""
        wanted = (_key_type(item) for item in self.items)
        return next((found for found in wanted if found is not None), None)

    def signature_algorithms(self) -> tuple[str, ...]:
        """Return the bare object identifiers of signature algorithms we know. RFC 8951 4."""
        return tuple(oid for oid in self.oids() if signature_algorithm(oid) is not None)

    def template(self) -> CertRequestInfoTemplate | None:
        """Return the template, if there is one."""
        found = self.attributes(_oids.CERTIFICATION_REQUEST_INFO_TEMPLATE)
        return read_template(found[0], self.limits) if found else None

    def with_challenge_password(self) -> CsrAttrs:
        """Return the same with challengePassword listed, at the end if it was not. RFC 8951 4."""
        return self.with_listed((_oids.CHALLENGE_PASSWORD,))

    def with_listed(self, oids: Iterable[str]) -> CsrAttrs:
        """Return the same with those types of attributes listed, new ones at the end. RFC 7894 4.

        Beside a template too, which cannot hold them: an attribute in it has a value. Who goes by
        the template alone ignores them (RFC 9908 4).
        """
        there = {_type(item) for item in self.items}
        more = tuple(ObjectId(oid=oid) for oid in dict.fromkeys(oids) if oid not in there)
        return replace(self, items=(*self.items, *more)) if more else self

    def with_key_type(self, wanted: CsrAttr) -> CsrAttrs:
        """Return the same with that kind of key, in the list and in a template.

        As it is where either names a kind already. RFC 8951 4, RFC 9908 3.4.
        """
        template = self.template()
        if self.key_type() is not None or (template is not None and template.key is not None):
            return self
        items = (*self.items, wanted)
        if template is not None:
            told = replace(template, key=_key_type(wanted)).attribute()
            items = tuple(told if _type(item) == told.type else item for item in items)
        return replace(self, items=items)

    def plan(self) -> CsrPlan:
        """Return what a request should hold: by the template if there is one, else by the list."""
        template = self.template()
        linking = self._linking_attribute(template)
        if template is not None:
            return _plan_by_template(template, linking)
        unknown = tuple(item for item in self.items if not self._is_understood(item))
        known = [item for item in self.items if _type(item) in KNOWN_ATTRIBUTES]
        with_values, without_values = _sorted_out(known)
        return CsrPlan(
            key_type=self.key_type(),
            signature_algorithms=self.signature_algorithms(),
            extensions=self.requested_extensions(),
            attributes=with_values,
            attribute_oids=without_values,
            linking_attribute=linking,
            unknown=unknown,
        )

    def _is_understood(self, item: CsrAttr) -> bool:
        oid = _type(item)
        if oid == _oids.EXTENSION_REQUEST and isinstance(item, Attribute):
            return _extensions(item, self.limits) is not None
        if isinstance(item, ObjectId) and signature_algorithm(oid) is not None:
            return True
        return oid in KNOWN_ATTRIBUTES or oid in LINKING or _key_type(item) is not None


@checked
def parse_csrattrs(der: bytes, limits: Limits) -> CsrAttrs:
    """Return the CSR attributes in `der`, all that is understood of them decoded once.

    Unknown items are kept (RFC 8951 4). Raises RemoteProtocolError: csrattrs/malformed,
    csrattrs/too-many-items, csrattrs/duplicate-extension-request, csrattrs/duplicate-template,
    csrattrs/template, csr/duplicate-extension, csr/too-many-extensions, der/...
    """
    _der.check_der(der, limits)
    outer = _der.expect(_der.read_element(der), _der.SEQUENCE, "csrattrs/malformed", "CsrAttrs")
    elements = _der.children(outer)
    if len(elements) > limits.csrattrs_items:
        message = f"{len(elements)} CSR attributes, {limits.csrattrs_items} are allowed"
        raise RemoteProtocolError("csrattrs/too-many-items", message)
    items = tuple(_item_untrusted(each, position) for position, each in enumerate(elements, 1))
    _check_received(items, limits)
    return CsrAttrs(items=items, limits=limits, received=True)


def _item_untrusted(element: _der.Element, position: int) -> CsrAttr:
    if element.tag == _der.OBJECT_IDENTIFIER:
        return ObjectId(oid=_der.read_oid(element))
    what = f"CSR attribute {position}, no object identifier,"
    return read_attribute(element, "csrattrs/malformed", what)


def _check_received(items: tuple[CsrAttr, ...], limits: Limits) -> None:
    """Refuse what no reader can make sense of."""
    attributes = [item for item in items if isinstance(item, Attribute)]
    requests = [found for found in attributes if found.type == _oids.EXTENSION_REQUEST]
    if len(requests) > 1:
        # RFC 9908 3.2: "there MUST NOT be more than one"; which one counts would be a guess.
        raise RemoteProtocolError(
            "csrattrs/duplicate-extension-request",
            f"{len(requests)} extensionRequests, one is allowed",
        )
    for request in requests:
        _extensions(request, limits)
    templates = [
        found for found in attributes if found.type == _oids.CERTIFICATION_REQUEST_INFO_TEMPLATE
    ]
    if len(templates) > 1:
        message = f"{len(templates)} templates, one is allowed"
        raise RemoteProtocolError("csrattrs/duplicate-template", message)
    for template in templates:
        read_template(template, limits)


def _check_sendable(items: tuple[CsrAttr, ...], limits: Limits) -> None:
    """Refuse what readers tolerate and RFC 9908 forbids to send."""
    attributes = [item for item in items if isinstance(item, Attribute)]
    if len(items) > limits.csrattrs_items:
        raise LocalProtocolError(f"more than {limits.csrattrs_items} CSR attributes")
    if not all(attribute.values for attribute in attributes):
        raise LocalProtocolError("a CSR attribute has no value; list its object identifier")
    keys = [found for found in attributes if found.type in KEY_ALGORITHMS]
    if len(keys) > 1 or any(_key_type(key) is None for key in keys):
        raise LocalProtocolError("key types: one at most, with one curve or one size in bits")
    for attribute in attributes:
        if attribute.type == _oids.EXTENSION_REQUEST:
            extensions = _extensions(attribute, limits)
            if extensions is None:
                raise LocalProtocolError("an extensionRequest has one value, an Extensions")
            if len(extensions) != len(_der.children(_der.read_element(attribute.values[0]))):
                raise LocalProtocolError("an extensionRequest holds each extension once")
            _check_names(extensions, limits)
        if attribute.type == _oids.CERTIFICATION_REQUEST_INFO_TEMPLATE:
            _check_names(read_template(attribute, limits).extensions, limits)


def _check_names(extensions: Sequence[Extension | ExtensionTemplate], limits: Limits) -> None:
    """Refuse a subjectAltName that no request could repeat."""
    for extension in extensions:
        if extension.oid == _oids.SUBJECT_ALT_NAME and extension.value is not None:
            read_general_names(extension.value, limits)


def _type(item: CsrAttr) -> str:
    return item.oid if isinstance(item, ObjectId) else item.type


def _extensions(attribute: Attribute, limits: Limits) -> tuple[Extension, ...] | None:
    """Return the extensions of an extensionRequest, None if it holds something else.

    As in the example of RFC 7030 4.5.2, which RFC 9908 5.2 corrects.
    """
    try:
        return read_extensions(attribute, limits)
    except RemoteProtocolError as exc:
        if exc.code in ("csr/extensions", "der/oid"):
            return None
        raise


def _key_type(item: CsrAttr) -> KeyTypeWanted | None:
    """Return the kind of key an item asks for, None if it asks for none or not readably so.

    No value means no further demand (RFC 9908 3.2); servers also list the bare algorithm.
    """
    algorithm = _type(item)
    if algorithm not in KEY_ALGORITHMS:
        return None
    if isinstance(item, ObjectId) or not item.values:
        return KeyTypeWanted(algorithm=algorithm)
    if len(item.values) > 1:
        return None
    value = _der.read_element(item.values[0])
    try:
        if algorithm == _oids.EC_PUBLIC_KEY:
            return KeyTypeWanted(algorithm=algorithm, curve=_der.read_oid(value))
        return KeyTypeWanted(algorithm=algorithm, bits=_der.read_integer(value))
    except (RemoteProtocolError, LocalProtocolError):
        return None


def _sorted_out(items: list[CsrAttr]) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """Return the attributes with values to copy and the types of those without.

    Extensions have their own place in a plan.
    """
    with_values = tuple(
        item
        for item in items
        if isinstance(item, Attribute) and item.values and item.type != _oids.EXTENSION_REQUEST
    )
    without_values = tuple(
        _type(item) for item in items if isinstance(item, ObjectId) or not item.values
    )
    return with_values, without_values


def _plan_by_template(template: CertRequestInfoTemplate, linking: str | None) -> CsrPlan:
    """Return the plan a template makes: "ignore all other elements" of the list. RFC 9908 4."""
    known = [found for found in template.attributes if found.type in KNOWN_ATTRIBUTES]
    with_values, without_values = _sorted_out(list(known))
    return CsrPlan(
        from_template=True,
        key_type=template.key,
        extensions=complete_extensions(template.extensions),
        extensions_to_fill=tuple(
            extension for extension in template.extensions if not extension.is_complete
        ),
        attributes=with_values,
        attribute_oids=without_values,
        subject=template.subject,
        linking_attribute=linking,
        unknown=tuple(
            found
            for found in template.attributes
            if found.type not in KNOWN_ATTRIBUTES and found.type not in LINKING
        ),
    )
