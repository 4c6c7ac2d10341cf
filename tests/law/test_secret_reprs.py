"""A dataclass does not show the secrets it holds: its repr ends up in logs and tracebacks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

import pytest

from tests.law.sources import ALL

SECRET_WORDS: Final = frozenset("passphrase password passwords secret secrets token tokens".split())
"""A field with one of these between its underscores holds a secret, where it is text or bytes."""

HELD_IN: Final = frozenset({"str", "bytes", "bytearray"})

ALLOWED: Final = {
    "_Asked.token": "CoAP's token, which is inside DTLS and secret to nobody who can send one",
    "Pkcs11Uri.token": "the label of a PKCS #11 token, a device, which is printed on it",
    "Message.token": "CoAP's token, which is inside DTLS and secret to nobody who can send one",
}


def is_dataclass(node: ast.ClassDef) -> bool:
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return "dataclass" in decorators or "value_class" in decorators


def secrets_shown(tree: ast.Module) -> Iterator[str]:
    """Yield `Class.field` for each secret that a dataclass has in its repr."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or not is_dataclass(node):
            continue
        for field in node.body:
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            types = {each.id for each in ast.walk(field.annotation) if isinstance(each, ast.Name)}
            is_secret = SECRET_WORDS & set(field.target.id.split("_")) and types & HELD_IN
            if is_secret and "repr=False" not in ast.unparse(field):
                yield f"{node.name}.{field.target.id}"


@pytest.mark.parametrize(
    "text, shown",
    [
        ("key_password: bytes | None = None", ["A.key_password"]),
        ("token: str", ["A.token"]),
        ("password: str = field(repr=False)", []),
        ("password_file: Path | None = None", []),
        ("secret: bool = False", []),
        ("passwordless: str", []),
    ],
)
def test_the_law_sees_what_it_is_about(text: str, shown: list[str]) -> None:
    plain = f"class A:\n    {text}\n"
    for decorator in ("dataclass(frozen=True)", "value_class", "unchecked_value_class"):
        assert list(secrets_shown(ast.parse(f"@{decorator}\n{plain}"))) == shown
    assert list(secrets_shown(ast.parse(plain))) == []


def test_no_dataclass_shows_a_secret() -> None:
    shown = [each for source in ALL for each in secrets_shown(source.tree)]
    assert [each for each in shown if each not in ALLOWED] == []
    assert set(shown) == set(ALLOWED)  # none is allowed that is not there
