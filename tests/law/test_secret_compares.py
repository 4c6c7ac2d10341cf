"""Secrets are compared in constant time: `==` tells by its time how much of a guess is right."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

import pytest

from tests.law.sources import ALL, MODULE_NAMES

SECRET_WORDS: Final = frozenset(
    "binding bindings challenge challenges cookie cookies credentials digest finished fingerprint"
    " hmac linking mac nonce passphrase password passwords pbkdf2 scrypt secret secrets token"
    " tokens".split()
)
"""A name with one of these between its underscores holds a secret, or what is made of one."""

MORE_WORDS: Final = {
    "est_core.checks.pop": frozenset({"text", "value", "values", "data"}),
    "est_transports.channel.dtls_cookies": frozenset({"key", "tag"}),
    "est_transports.authority.stores.passwords": frozenset({"hash", "record"}),
    "est_transports.authority.stores.recent_passwords": frozenset({"tag", "record"}),
    "est_transports.pki.trust": frozenset({"wanted"}),
}
"""What such things are called, besides, in modules that are about little else."""

ALLOWED: Final = {
    ("est_core.client.linked_csr", "self._signed[0] == self._wanted_binding(channel)"): (
        "a client compares what it has with what it has"
    ),
    (
        "est_core.checks.identity",
        "certificate.fingerprint(_SHA256) in self.fingerprints",
    ): "the fingerprint of a certificate that was shown, and whose key was proven",
    ("est_core.asn1.keys", "row.digest == wanted"): "the name of a hash function",
    ("est_core.checks.enforcement", "known.digest in _DIGESTS"): "the name of a hash function",
    ("est_transports.coap.client_wire", "token in self._by_token"): (
        "CoAP's token, which is inside DTLS and secret to nobody who can send one"
    ),
    ("est_transports.coap.reliability", "message.token == outstanding.message.token"): (
        "CoAP's token, which is inside DTLS and secret to nobody who can send one"
    ),
}
"""Comparisons of what is only called so."""

COMPARED: Final = {
    ("est_core.checks.pop", "is_bound"): "the channel binding",
    ("est_transports.channel.dtls_context", "_is_cookie"): "the cookie of a ClientHello",
    ("est_transports.authority.stores.passwords", "verify_password"): "the hash of a password",
    ("est_transports.authority.stores.recent_passwords", "knows"): "the tag of a password",
    (
        "est_transports.authority.stores.recent_passwords",
        "settle",
    ): "the digest of a password's record",
    ("est_transports.pki.fingerprints", "is_of"): "the fingerprint of a root",
}
"""Where `hmac.compare_digest` has to be called, and for what."""

_OPERATORS: Final = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
_INSIDE: Final = frozenset({"data", "value"})
"""Attributes that are what the whole is, not a fact about it."""
_METHODS: Final = frozenset({"startswith", "endswith", "__eq__", "__ne__", "__contains__"})


def names_in(node: ast.expr) -> Iterator[str]:
    """Yield the names of the values that an operand is made of: `a`, `x.a`, `a(x)`, `x["a"]`."""
    match node:
        case ast.Name(id=name):
            yield name
        case ast.Attribute(value=value, attr=name):
            yield name
            if name in _INSIDE:
                yield from names_in(value)
        case ast.Call(func=function):
            yield from names_in(function)
        case ast.Subscript(value=value, slice=key):
            yield from names_in(value)
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value
        case ast.BinOp(left=left, right=right):
            yield from names_in(left)
            yield from names_in(right)
        case ast.NamedExpr(target=target, value=value):
            yield from names_in(target)
            yield from names_in(value)
        case ast.Await(value=value) | ast.Starred(value=value):
            yield from names_in(value)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                yield from names_in(part)
        case ast.IfExp(body=one, orelse=other):
            yield from names_in(one)
            yield from names_in(other)


def is_secret(node: ast.expr, words: frozenset[str]) -> bool:
    """True if an operand is called like a secret; names in capitals are constants of ours."""
    return any(
        words & frozenset(name.lower().strip("_").split("_"))
        for name in names_in(node)
        if not name.isupper()
    )


def compares(tree: ast.AST, words: frozenset[str]) -> Iterator[ast.expr]:
    """Yield the comparisons of secrets that end with the first difference.

    What is compared with a literal is no secret, or is known to be empty.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for operator, *two in zip(node.ops, operands, operands[1:], strict=False):
                    literal = any(isinstance(each, ast.Constant) for each in two)
                    secret = any(is_secret(each, words) for each in two)
                    if isinstance(operator, _OPERATORS) and secret and not literal:
                        yield node
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=[argument]):
                literal = isinstance(argument, ast.Constant)
                secret = is_secret(value, words) or is_secret(argument, words)
                if name in _METHODS and secret and not literal:
                    yield node


def found() -> dict[tuple[str, str], str]:
    """Return all comparisons of secrets in both packages: module and text, and where."""
    return {
        (source.name, ast.unparse(node)): source.where(node)
        for source in ALL
        for node in compares(source.tree, SECRET_WORDS | MORE_WORDS.get(source.name, frozenset()))
    }


def test_no_secret_is_compared_but_in_constant_time() -> None:
    wrong = {where: text for (name, text), where in found().items() if (name, text) not in ALLOWED}
    assert not wrong, f"use hmac.compare_digest: {wrong}"


def test_what_is_allowed_is_still_there() -> None:
    assert set(ALLOWED) <= set(found())
    assert set(MORE_WORDS) <= MODULE_NAMES


@pytest.mark.parametrize(("module", "function"), list(COMPARED))
def test_secrets_are_compared_by_compare_digest(module: str, function: str) -> None:
    (source,) = [each for each in ALL if each.name == module]
    bodies = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    assert bodies, f"{module} has no {function} any more: where is it compared now?"
    for body in bodies:
        called = {
            name
            for node in ast.walk(body)
            if isinstance(node, ast.Call)
            for name in names_in(node.func)
        }
        assert "compare_digest" in called, source.where(body)


@pytest.mark.parametrize(
    "text",
    [
        "password == given",
        "given != self._password",
        "digest == base64.b64decode(x)",
        "linking_text(binding) == text",
        "channel.binding.data[:12] == x",
        'found["password"] == x',
        "cookie in record.cookies",
        "mac(key, data) not in known",
        "root.fingerprint(kind()) == wanted",
        "0 == x != token",
        "password.startswith(x)",
        "known.__contains__(password)",
        "(user, password) == (a, b)",
        "(found := read_secret()) == x",
        "prefix + nonce == x",
    ],
)
def test_it_is_seen_in_whatever_form(text: str) -> None:
    assert list(compares(ast.parse(text), SECRET_WORDS))


@pytest.mark.parametrize(
    "text",
    [
        "password is None",
        'password == ""',
        "len(password) == size",
        "binding.kind == kind",
        "compare_digest(password, given)",
        "reason == NEEDS_PASSWORD",
        "password < other",
        'text.startswith("password")',
    ],
)
def test_other_comparisons_are_nobody_s_business(text: str) -> None:
    assert not list(compares(ast.parse(text), SECRET_WORDS))
