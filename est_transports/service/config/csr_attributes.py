"""The table [csrattrs] of est.toml, alone or in a label: in words, or whole as base64.

Each [[csrattrs.for]] is such a table for some clients.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from est_core import Limits, LocalProtocolError, RemoteProtocolError
from est_core.asn1.csr_demands import CsrAttrsForm
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.codec.transfer import decode
from est_transports.authority.csr_attributes import (
    AskedOfClients,
    ClientRule,
    ClientRules,
    CsrWords,
)
from est_transports.toml.tables import TomlTable

_FORMS: Final = {form.value: form for form in CsrAttrsForm}


def read_csrattrs(table: TomlTable) -> AskedOfClients | None:
    """Return what a table asks of requests, None if it is empty. Raises ConfigError."""
    rules = tuple(_rule(each) for each in table.array("for"))
    usual = _asked(table)
    return ClientRules(rules=rules, usual=usual) if rules else usual


def check_rules(
    asked: Iterable[AskedOfClients | None], *, knows_users: bool, manufacturers: Collection[str]
) -> None:
    """Raise LocalProtocolError for a rule that no client can match, whoever asks."""
    for rules in asked:
        if not isinstance(rules, ClientRules):
            continue
        for unknown in sorted(rules.manufacturers.difference(manufacturers)):
            raise LocalProtocolError(f"csrattrs.for: there is no manufacturer {unknown!r}")
        if rules.name_users and not knows_users:
            raise LocalProtocolError(
                'csrattrs.for user: /csrattrs knows no user while auth.csrattrs is "open" or "cert"'
            )


def _rule(table: TomlTable) -> ClientRule:
    patterns = {
        name: table.optional_text(name)
        for name in ("user", "certificate", "issuer", "manufacturer")
    }
    told = _asked(table)
    if told is None:
        told = CsrAttrs(items=())  # nothing is asked of these
    with table.checks():
        return ClientRule(told=told, **patterns)


def _asked(table: TomlTable) -> CsrAttrs | CsrWords | None:
    encoded, words = table.optional_lines("base64"), _words(table)
    table.done()
    if encoded is not None:
        if words != CsrWords():
            raise table.error("base64", "excludes the other keys of its table")
        return _whole(table, encoded)
    if words.form is not None and words == CsrWords(form=words.form):
        raise table.error("form", "is the form of nothing")
    if words.names_identity:
        return words
    told = words.csrattrs()
    return None if told.is_empty else told


def _words(table: TomlTable) -> CsrWords:
    """Return the words, each key checked alone first, so that the error names it."""
    key_type = table.optional_text("key_type")
    with table.checks("key_type"):
        CsrWords(key_type=key_type)
    words = {name: _checked(table, name, make) for name, make in _LISTS.items()}
    form = table.choice("form", _FORMS, None)
    with table.checks("" if form is None else "form"):
        return CsrWords(key_type=key_type, form=form, **words)


def _checked(
    table: TomlTable, key: str, make: Callable[[tuple[str, ...]], CsrWords]
) -> tuple[str, ...]:
    found = table.texts(key)
    with table.checks(key):
        make(found)
    return found


_LISTS: Final[dict[str, Callable[[tuple[str, ...]], CsrWords]]] = {
    "subject": lambda words: CsrWords(subject=words),
    "signature": lambda words: CsrWords(signature=words),
    "san": lambda words: CsrWords(san=words),
    "extensions": lambda words: CsrWords(extensions=words),
    "attributes": lambda words: CsrWords(attributes=words),
    "oids": lambda words: CsrWords(oids=words),
}


def _whole(table: TomlTable, encoded: str) -> CsrAttrs | None:
    limits = Limits()
    with table.checks("base64"):
        try:
            der = decode(encoded.encode("utf-8"), max_bytes=limits.body_bytes, accept_der=False)
        except RemoteProtocolError as exc:
            raise table.error("base64", exc.message.removeprefix("the body ")) from exc
        items = parse_csrattrs(der, limits).items
        return CsrAttrs(items=items) if items else None
