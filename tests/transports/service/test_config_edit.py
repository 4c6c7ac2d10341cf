"""Changes of est.toml by a program: only what is meant changes, or nothing does."""

from __future__ import annotations

import tomllib

import pytest

from est_transports.service.config.edit import EditError, with_changes
from est_transports.service.config.text import CONFIG_TEXT

NEW = ("ca.former", {"certificate": "ca.pem"})


def test_all_else_stays_as_it_is() -> None:
    changed = with_changes(CONFIG_TEXT, {("ca", "key"): 'new "key"\\.pem'}, NEW)
    assert tomllib.loads(changed) == tomllib.loads(CONFIG_TEXT) | {
        "ca": {"key": 'new "key"\\.pem', "former": [{"certificate": "ca.pem"}]}
    }
    lines = changed.splitlines()
    kept = [line for line in CONFIG_TEXT.splitlines() if line != '#key = "ca-key.pem"']
    assert [line for line in lines if line in kept] == kept


def test_the_newest_comes_first_and_a_comment_stays() -> None:
    text = '[ca]\nkey = "a.pem"   # mine\nstore = "x"\n[[ca.former]]\ncertificate = "0.pem"\n'
    changed = with_changes(text, {("ca", "key"): "b.pem"}, NEW)
    assert 'key = "b.pem"  # mine\n' in changed
    former = tomllib.loads(changed)["ca"]["former"]
    assert [each["certificate"] for each in former] == ["ca.pem", "0.pem"]


def test_a_table_that_is_not_there_is_made() -> None:
    changed = with_changes("", {("ca", "key"): "b.pem", ("tls", "key"): "c.pem"}, NEW)
    assert tomllib.loads(changed) == {
        "ca": {"key": "b.pem", "former": [{"certificate": "ca.pem"}]}, "tls": {"key": "c.pem"}
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        'ca = {key = "a.pem"}\n',
        'ca.key = "a.pem"\n',
        "[ca]\nformer = []\n",
        '[ca]\nkey = """\na.pem"""\n',
        "[ca]\nnot toml",
    ],
)
def test_another_form_is_left_to_a_person(text: str) -> None:
    with pytest.raises(EditError, match="no program"):
        with_changes(text, {("ca", "key"): "b.pem"}, NEW)
