"""What clients are told to put into their requests, as an operator writes it down.

The words are those of `est_transports.pki.csr_words`. A value with IDENTITY in it is told to a
client that is known, and left to one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from cryptography import x509
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
_STARS: Final = 4


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


@value_class
class ClientRule:
    """What some clients are told: those that match each pattern that is given.

    `manufacturer` is the name of the one whose anchor verified the client's certificate, as it is.
    `user` is a pattern of the user's name, `certificate` one of the common name in the client's
    certificate, `issuer` one of the common name of who issued that: a manufacturer. "*" stands for
    any characters. Raises LocalProtocolError for a rule without a pattern.
    """

    user: str | None = None
    certificate: str | None = None
    issuer: str | None = None
    manufacturer: str | None = None
    told: CsrAttrs | CsrWords

    def __post_init__(self) -> None:
        given = [each for each in (self.user, self.certificate, self.issuer) if each is not None]
        if not given and self.manufacturer is None:
            raise LocalProtocolError(
                "name the clients, by user, certificate, issuer or manufacturer"
            )
        if any(pattern.count("*") > _STARS for pattern in given):
            raise LocalProtocolError(f"a pattern has at most {_STARS} stars")

    def matches(self, identity: ClientIdentity) -> bool:
        """True if it is for that client."""
        device = identity.manufacturer
        if self.manufacturer not in (None, None if device is None else device.manufacturer):
            return False
        shown = identity.certificate
        subject = None if shown is None else _common_name(shown, "subject")
        issuer = None if shown is None else _common_name(shown, "issuer")
        wanted = (
            (self.user, identity.user),
            (self.certificate, subject),
            (self.issuer, issuer),
        )
        return all(
            pattern is None or (name is not None and _fits(name, pattern))
            for pattern, name in wanted
        )


@value_class
class ClientRules:
    """What clients are told: the first rule that matches, else what is `usual`."""

    rules: tuple[ClientRule, ...]
    usual: CsrAttrs | CsrWords | None = None

    @property
    def name_users(self) -> bool:
        """True if a rule is for users, whom /csrattrs has to know."""
        return any(rule.user is not None for rule in self.rules)

    @property
    def manufacturers(self) -> frozenset[str]:
        """The manufacturers that rules name."""
        named = (rule.manufacturer for rule in self.rules)
        return frozenset(name for name in named if name is not None)


AskedOfClients = CsrAttrs | CsrWords | ClientRules


def told_to(identity: ClientIdentity, *asked: AskedOfClients | None) -> CsrAttrs | None:
    """Return what a client is told by the first of these that says anything of it.

    Its own name is put in where that is known and fits. Nothing is remembered from one client to
    the next. RFC 7030 4.5.2.
    """
    for each in asked:
        found = _of_client(identity, each) if isinstance(each, ClientRules) else each
        if isinstance(found, CsrAttrs):
            return found
        if found is not None:
            return _in_words(identity, found)
    return None


def _of_client(identity: ClientIdentity, rules: ClientRules) -> CsrAttrs | CsrWords | None:
    matching = (rule.told for rule in rules.rules if rule.matches(identity))
    return next(matching, rules.usual)


def _in_words(identity: ClientIdentity, words: CsrWords) -> CsrAttrs:
    try:
        return words.csrattrs(name_of(identity))
    except LocalProtocolError:  # a name that is too long for a subject, say
        return words.csrattrs()


def _fits(name: str, pattern: str) -> bool:
    """Return whether a name is a pattern, in which "*" stands for any characters."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    last = rest.pop()
    if len(name) < len(first) + len(last) or not name.startswith(first):
        return False
    at, end = len(first), len(name) - len(last)
    if not name.endswith(last):
        return False
    for part in rest:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def name_of(identity: ClientIdentity) -> str | None:
    """Return the one name by which a client is known.

    That is its user, what its manufacturer calls it, or the common name in its certificate. None
    for a registration authority, whose own name its requests do not have.
    """
    if identity.is_ra:
        return None
    if identity.user is not None:
        return identity.user
    if identity.manufacturer is not None:
        return identity.manufacturer.value
    return None if identity.certificate is None else _common_name(identity.certificate, "subject")


def _common_name(certificate: x509.Certificate, whose: Literal["subject", "issuer"]) -> str | None:
    """Return the one common name, None where there is none, or several, or no readable name."""
    try:
        name = certificate.subject if whose == "subject" else certificate.issuer
        found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:  # OpenSSL verifies certificates whose names hold broken strings
        return None
    return str(found[0].value) if len(found) == 1 else None


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
