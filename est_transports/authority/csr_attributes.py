"""What clients are told to put into their requests, as an operator writes it down.

The words are those of `est_transports.pki.csr_words`. A value with IDENTITY in it is told to a
client that is known, and left to one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography.x509.oid import NameOID

from est_core import ClientIdentity, LocalProtocolError
from est_core.asn1.attributes import Attribute
from est_core.asn1.csr_demands import CsrAttrsForm, CsrDemands
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.asn1.template import ExtensionTemplate, SubjectTemplate
from est_core.values import value_class
from est_transports.pki.csr_words import (
    SUBJECT_ALT_NAME,
    alternative_names,
    bare_oid,
    key_type_wanted,
    signature_oid,
    subject_part,
    wanted_attribute,
    wanted_extension,
)

IDENTITY: Final = "{identity}"
"""Stands for the name of the client in a value."""
_EXAMPLE: Final = "identity"


@value_class
class CsrWords:
    """What requests are to hold, in words. Each may be empty; `subject` None is no demand.

    `oids` are items of the list that are no more than an object identifier. `form` None is the
    classic list where that says all, and both forms else. Raises LocalProtocolError, which names
    the word, for one that cannot be read, and for what the form cannot say.
    """

    subject: tuple[str, ...] = ()
    key_type: str | None = None
    signature: tuple[str, ...] = ()
    san: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    oids: tuple[str, ...] = ()
    form: CsrAttrsForm | None = None

    def __post_init__(self) -> None:
        for identity in (None, _EXAMPLE):
            self.csrattrs(identity)

    @property
    def names_identity(self) -> bool:
        """True if a value depends on who asks."""
        return any(IDENTITY in word for word in (*self.subject, *self.san))

    def csrattrs(self, identity: str | None = None) -> CsrAttrs:
        """Return what a client of that name is told; None for one that is not known."""
        return self.demands(identity).csrattrs(self.form)

    def demands(self, identity: str | None = None) -> CsrDemands:
        """Return what is asked of a client of that name."""
        attributes = [wanted_attribute(word) for word in self.attributes]
        return CsrDemands(
            subject=subject_template(self.subject, identity),
            key=None if self.key_type is None else key_type_wanted(self.key_type),
            signature_algorithms=tuple(map(signature_oid, self.signature)),
            extensions=(*map(wanted_extension, self.extensions), *_san(self.san, identity)),
            attributes=tuple(each for each in attributes if isinstance(each, Attribute)),
            attribute_oids=tuple(each.oid for each in attributes if isinstance(each, ObjectId)),
            other_oids=tuple(map(bare_oid, self.oids)),
        )


def told_to(identity: ClientIdentity, asked: CsrAttrs | CsrWords | None) -> CsrAttrs | None:
    """Return what a client is told, by its name where that is known and can be put in."""
    if not isinstance(asked, CsrWords):
        return asked
    try:
        return asked.csrattrs(name_of(identity))
    except LocalProtocolError:  # a name that is too long for a subject, say
        return asked.csrattrs()


def name_of(identity: ClientIdentity) -> str | None:
    """Return the one name by which a client is known: its user, or its common name.

    None for a registration authority, whose own name its requests do not have.
    """
    if identity.is_ra:
        return None
    if identity.user is not None:
        return identity.user
    if identity.certificate is None:
        return None
    try:
        names = identity.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:  # OpenSSL verifies certificates whose names hold broken strings
        return None
    return str(names[0].value) if len(names) == 1 else None


def subject_template(words: Iterable[str], identity: str | None) -> SubjectTemplate | None:
    """Return a subject of one part for each word, None for no word."""
    parts = []
    for word in words:
        name, _, text = word.partition("=")
        _check_placeholders(text)
        known = identity is not None or IDENTITY not in text
        told = word.replace(IDENTITY, identity or "") if known else name
        parts.append((subject_part(told),))
    return tuple(parts) or None


def _san(words: Iterable[str], identity: str | None) -> tuple[ExtensionTemplate, ...]:
    told = []
    for word in words:
        _check_placeholders(word)
        if IDENTITY not in word:
            told.append(word)
        elif identity is not None:
            told.append(word.replace(IDENTITY, identity))
    if not told:
        # The client's own names, where they cannot be told; nothing where nothing is asked for.
        return (ExtensionTemplate(oid=SUBJECT_ALT_NAME),) if tuple(words) else ()
    return (ExtensionTemplate(oid=SUBJECT_ALT_NAME, value=alternative_names(told)),)


def _check_placeholders(text: str) -> None:
    if "{" in text.replace(IDENTITY, ""):
        raise LocalProtocolError(f"{text[:64]!r}: only {IDENTITY} is put in for a value")
