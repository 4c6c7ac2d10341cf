"""`est token`, `est otp` and the Digest records of `est user`: made, shown once, removed."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from est_core import DigestAlgorithm
from est_core.auth.digest import digest_secret
from est_transports import _clock
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import CodeRecord, CodeUse
from est_transports.authority.stores.digest_records import read_digest_record
from est_transports.authority.stores.sqlite import SqliteStore
from tests.cli.test_server_commands import PASSWORD, ca, error_of, est

__all__ = ["ca"]


def store_of(ca: Path) -> closing[SqliteStore]:
    return closing(SqliteStore(ca / "est.db"))


def secret_of(ca: Path) -> ServerSecret:
    return ServerSecret.load_or_make(ca / "auth-secret.key", _clock.entropy)


def with_schemes(ca: Path, *schemes: str, realm: str = "est") -> None:
    """Have est.toml take these schemes."""
    words = ", ".join(f'"{each}"' for each in schemes)
    text = (ca / "est.toml").read_text()
    text = text.replace("[auth]", f"[auth]\nschemes = [{words}]", 1)
    (ca / "est.toml").write_text(text.replace("[server]", f'[server]\nrealm = "{realm}"', 1))


def codes_in(text: str) -> dict[str, str]:
    """Return the codes of a CSV by name."""
    rows = list(csv.DictReader(io.StringIO(text)))
    assert all(set(row) == {"name", "code", "expires"} for row in rows)
    return {row["name"]: row["code"] for row in rows}


def found_code(ca: Path, code: str) -> CodeRecord | None:
    digest = secret_of(ca).code_digest(code)
    assert digest is not None
    with store_of(ca) as store:
        return store.find_code(digest)


# Tokens


def test_a_token_is_printed_alone_and_found_by_its_hash(ca: Path) -> None:
    done = est(
        *("token", "add", ca, "gateway-7", "--operation", "simpleenroll", "--label", "plant"),
        *("--label", "", "--expires", "30"),
    )
    assert done.exit_code == 0, done.stderr
    (token,) = done.stdout.split()
    assert done.stdout == f"{token}\n"
    assert token.startswith("est_")
    with store_of(ca) as store:
        record = store.find_token(secret_of(ca).token_digest(token))
    assert record is not None
    assert record.name == "gateway-7"
    assert record.labels == frozenset({"plant", ""})
    assert record.operations == frozenset({"simpleenroll"})
    assert record.expires_at == record.created_at + timedelta(days=30)
    assert token.encode() not in b"".join(file.read_bytes() for file in ca.glob("est.db*"))


def test_a_token_counts_everywhere_and_for_90_days_unless_it_is_said(ca: Path) -> None:
    shown = json.loads(est("token", "add", ca, "a", "--json").stdout)
    with store_of(ca) as store:
        record = store.find_token(secret_of(ca).token_digest(shown["token"]))
    assert record is not None
    assert (record.labels, record.operations) == (None, None)
    assert record.expires_at == record.created_at + timedelta(days=90)
    assert (shown["labels"], shown["operations"]) == (None, None)
    ever = json.loads(est("token", "add", ca, "b", "--expires", "never", "--json").stdout)
    assert ever["expires_at"] is None


def test_tokens_are_listed_without_what_they_are_and_removed(ca: Path) -> None:
    one = est("token", "add", ca, "b", "--expires", "never").stdout.strip()
    est("token", "add", ca, "a", "--label", "plant", "--label", "")
    listed = est("token", "list", ca).stdout.splitlines()
    assert [line.split("\t")[:3] for line in listed] == [
        ["a", '"",plant', "all"],
        ["b", "all", "all"],
    ]
    assert listed[1].endswith("\tnever")
    as_json = est("token", "list", ca, "--json").stdout
    assert [row["name"] for row in json.loads(as_json)] == ["a", "b"]
    assert one not in as_json
    assert est("token", "remove", ca, "b").exit_code == 0
    assert "there is no token b; est token list" in error_of(est("token", "remove", ca, "b"))


def test_a_token_of_a_name_is_replaced_with_force_only(ca: Path) -> None:
    old = est("token", "add", ca, "a").stdout.strip()
    assert "replace it with --force" in error_of(est("token", "add", ca, "a"))
    new = est("token", "add", ca, "a", "--force").stdout.strip()
    with store_of(ca) as store:
        assert store.find_token(secret_of(ca).token_digest(old)) is None
        assert store.find_token(secret_of(ca).token_digest(new)) is not None


def test_a_token_that_is_over_is_listed_so(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    est("token", "add", ca, "a", "--expires", "1")
    later = _clock.instant()
    later = replace(later, wall=later.wall + timedelta(days=1))
    monkeypatch.setattr(_clock, "instant", lambda: later)
    assert est("token", "list", ca).stdout.endswith("(expired)\n")


@pytest.mark.parametrize("command", ["token", "otp"])
def test_a_name_that_nobody_can_have_and_a_bad_label_are_refused(command: str, ca: Path) -> None:
    for name in ("a:b", "\x07", "x" * 2000):
        line = error_of(est(command, "add", ca, name), 2)
        assert "no colon, no control characters" in line
        assert "\x07" not in line
    assert "--label" in error_of(est(command, "add", ca, "a", "--label", "a/b"), 2)
    assert est(command, "list", ca).stdout == ""


def test_a_label_that_the_server_lacks_is_told(ca: Path) -> None:
    done = est("otp", "add", ca, "a", "--label", "plant")
    assert done.exit_code == 0
    assert "no label plant yet: see [labels.plant] of est.toml" in done.stderr


# Schemes and the secret


def test_who_makes_what_the_server_does_not_take_hears_what_to_put_into_the_file(ca: Path) -> None:
    said = est("token", "add", ca, "a").stderr
    assert said == (
        'est.toml does not turn tokens on: put schemes = ["basic", "bearer"] under [auth] of'
        f" {ca}/est.toml, or give est serve --auth\n"
    )
    assert 'schemes = ["basic", "otp"]' in est("otp", "add", ca, "a").stderr
    with_schemes(ca, "bearer", "otp")
    assert est("token", "add", ca, "b").stderr == ""
    assert est("otp", "add", ca, "b").stderr == "1 code added\n"


def test_the_secret_is_made_once_and_for_its_owner_only(ca: Path) -> None:
    est("token", "add", ca, "a")
    made = (ca / "auth-secret.key").read_bytes()
    assert stat.S_IMODE((ca / "auth-secret.key").stat().st_mode) == 0o600
    est("otp", "add", ca, "a")
    assert (ca / "auth-secret.key").read_bytes() == made


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_a_secret_that_root_makes_belongs_to_whom_the_store_belongs(ca: Path) -> None:
    os.chown(ca / "est.db", 12, 34)
    est("token", "add", ca, "a")
    made = (ca / "auth-secret.key").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (12, 34, 0o600)


def test_a_damaged_secret_is_an_error_of_one_line_and_nothing_is_added(ca: Path) -> None:
    (ca / "auth-secret.key").write_text("not a key\n")
    assert "is no server's secret" in error_of(est("token", "add", ca, "a"))
    assert "is no server's secret" in error_of(est("otp", "add", ca, "a"))
    with store_of(ca) as store:
        assert (store.list_tokens(), store.list_codes()) == ((), ())


@pytest.mark.parametrize("kind", ["token", "otp"])
@pytest.mark.parametrize("content", [None, "ab" * 32 + "\n"], ids=["lost", "another"])
def test_a_secret_that_others_need_is_not_made_anew(
    content: str | None, kind: str, ca: Path
) -> None:
    first = est(kind, "add", ca, "first").stdout
    path = ca / "auth-secret.key"
    right = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_text(content)
    for command in ("token", "otp"):
        line = error_of(est(command, "add", ca, "second", "--force"))
        assert str(path) in line
        assert "restore it from a backup" in line
        assert f"est {command} remove --all" in line
    assert path.exists() == (content is not None)
    assert "first" in est(kind, "list", ca).stdout
    path.write_bytes(right)
    assert est(kind, "add", ca, "second").exit_code == 0
    path.unlink()
    assert est(kind, "remove", ca, "--all").stderr == (
        "2 tokens removed\n" if kind == "token" else "2 codes removed\n"
    )
    assert est(kind, "add", ca, "first").stdout != first
    assert path.read_bytes() != right


def test_all_tokens_are_removed_at_once_or_one_by_name(ca: Path) -> None:
    for name in ("a", "b"):
        est("token", "add", ca, name)
    for wrong in ((), ("a", "--all")):
        assert "wanted is a NAME, or --all" in error_of(est("token", "remove", ca, *wrong), 2)
    assert est("token", "remove", ca, "--all").stderr == "2 tokens removed\n"
    assert est("token", "remove", ca, "--all").stderr == "0 tokens removed\n"
    assert est("token", "list", ca).stdout == ""


# One-time codes


def test_codes_are_printed_as_csv_and_found_by_their_hash(ca: Path) -> None:
    done = est("otp", "add", ca, "b", "a,c", "--uses", "3", "--label", "")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("name,code,expires\nb,")
    codes = codes_in(done.stdout)
    assert list(codes) == ["b", "a,c"]
    record = found_code(ca, codes["a,c"].lower().replace("-", " "))
    assert record is not None
    assert (record.name, record.label, record.uses_max, record.uses) == ("a,c", "", 3, 0)
    assert record.expires_at == record.created_at + timedelta(days=7)


def test_codes_go_to_a_file_that_only_its_owner_reads(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes.csv"
    done = est("otp", "add", ca, "--count", "12", "--prefix", "lot3-", "--out", out)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("12 codes added\n")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    codes = codes_in(out.read_text())
    assert list(codes) == [f"lot3-{number:02}" for number in range(1, 13)]
    assert all(found_code(ca, code) for code in codes.values())
    before = out.read_bytes()
    assert "--force" in error_of(est("otp", "add", ca, "x", "--out", out))
    assert out.read_bytes() == before
    assert len(json.loads(est("otp", "list", ca, "--json").stdout)) == 12
    assert est("otp", "add", ca, "x", "--out", out, "--force").exit_code == 0
    assert list(codes_in(out.read_text())) == ["x"]


def test_names_come_from_the_lines_of_a_file(ca: Path, tmp_path: Path) -> None:
    file = tmp_path / "serials"
    file.write_bytes("\ufeffa1\r\n\n  b2  \nGröße".encode())
    done = est("otp", "add", ca, "--names-file", file)
    assert list(codes_in(done.stdout)) == ["a1", "b2", "Größe"]


def test_all_codes_are_added_or_none(ca: Path) -> None:
    kept = codes_in(est("otp", "add", ca, "b").stdout)["b"]
    line = error_of(est("otp", "add", ca, "a", "b", "c"))
    assert "code b exists already, and none was added; " in line
    assert "--force" in line
    assert [row["name"] for row in json.loads(est("otp", "list", ca, "--json").stdout)] == ["b"]
    many = [str(number) for number in range(9)]
    est("otp", "add", ca, *many)
    assert "codes 0, 1, 2 and 6 more exist already" in error_of(est("otp", "add", ca, *many))
    assert est("otp", "add", ca, "a", "b", "--force").exit_code == 0
    assert found_code(ca, kept) is None


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ((), "give names, or --names-file, or --count", 2),
        (("a", "--count", "1"), "names come from one place", 2),
        (("a", "--prefix", "x"), "--prefix goes with --count", 2),
        (("a", "a"), "a is named twice", 2),
        (("--count", "0"), "--count", 2),
        (("a", "--uses", "0"), "--uses", 2),
        (("--count", "2", "--prefix", "a:"), "no colon", 2),
        (("--names-file", "missing"), "cannot read missing", 5),
    ],
)
def test_what_makes_no_names_is_refused(
    arguments: tuple[str, ...], said: str, code: int, ca: Path
) -> None:
    assert said in error_of(est("otp", "add", ca, *arguments), code)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\n \n", "holds no name"), (b"\xff", "is not UTF-8"), (b"a\nb:\n", "'b:'")],
)
def test_a_file_without_good_names_is_refused(
    content: bytes, said: str, ca: Path, tmp_path: Path
) -> None:
    (tmp_path / "names").write_bytes(content)
    assert said in error_of(est("otp", "add", ca, "--names-file", tmp_path / "names"), 2)
    assert est("otp", "list", ca).stdout == ""


def test_codes_that_cannot_be_written_are_not_recorded(ca: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error_of(est("otp", "add", ca, "a", "b", "--out", tmp_path / "file" / "codes.csv"))
    assert est("otp", "list", ca).stdout == ""


def test_more_codes_at_once_than_a_server_can_wait_for_are_refused(
    ca: Path, tmp_path: Path
) -> None:
    error_of(est("otp", "add", ca, "--count", "200001"), 2)
    file = tmp_path / "names"
    file.write_text("\n".join(map(str, range(200_001))))
    assert "split the names" in error_of(est("otp", "add", ca, "--names-file", file), 2)


def spent(ca: Path, code: str) -> None:
    """Use a code once."""
    digest = secret_of(ca).code_digest(code)
    assert digest is not None
    with store_of(ca) as store:
        (first,) = store.list_certificates(limit=1)
        use = CodeUse(digest=digest, request=b"r" * 32, at=_clock.instant().wall)
        store.record_certificate(replace(first, serial="abc"), spends=use)


def test_the_list_tells_spent_from_expired_and_good(
    ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = codes_in(est("otp", "add", ca, "a", "b").stdout)
    est("otp", "add", ca, "c", "--label", "plant", "--expires", "8")
    spent(ca, codes["a"])
    later = _clock.instant()
    later = replace(later, wall=later.wall + timedelta(days=7))
    monkeypatch.setattr(_clock, "instant", lambda: later)
    rows = [line.split("\t") for line in est("otp", "list", ca).stdout.splitlines()]
    assert [(row[0], row[1], row[2], row[4]) for row in rows] == [
        ("a", "all", "1/1", "spent"),
        ("b", "all", "0/1", "expired"),
        ("c", "plant", "0/1", "good"),
    ]
    shown = est("otp", "list", ca, "--json").stdout
    assert [row["state"] for row in json.loads(shown)] == ["spent", "expired", "good"]
    assert not any(code in shown for code in codes.values())


@pytest.mark.parametrize(
    ("options", "left"),
    [(("--spent",), "bc"), (("--expired",), "ac"), (("--spent", "--expired"), "c")],
)
def test_what_is_over_is_removed_at_once(
    options: tuple[str, ...], left: str, ca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = codes_in(est("otp", "add", ca, "a", "b").stdout)
    est("otp", "add", ca, "c", "--expires", "8")
    spent(ca, codes["a"])
    later = _clock.instant()
    later = replace(later, wall=later.wall + timedelta(days=7))
    monkeypatch.setattr(_clock, "instant", lambda: later)
    done = est("otp", "remove", ca, *options)
    assert done.stderr == f"{3 - len(left)} code{'s' * (len(left) == 1)} removed\n"
    assert [row["name"] for row in json.loads(est("otp", "list", ca, "--json").stdout)] == list(
        left
    )


def test_codes_are_removed_by_name(ca: Path) -> None:
    est("otp", "add", ca, "a", "b", "c")
    assert est("otp", "remove", ca, "a", "b", "a").stderr == "2 codes removed\n"
    line = error_of(est("otp", "remove", ca, "a", "c"))
    assert "there is no code a; 1 other was removed" in line
    assert "use --expired, --spent" in error_of(est("otp", "remove", ca), 2)


# Digest


def test_a_user_has_a_record_for_digest_where_the_server_takes_it(ca: Path) -> None:
    est("user", "add", ca, "before", "--password-stdin", stdin=PASSWORD)
    with_schemes(ca, "basic", "digest", realm="plant")
    est("user", "add", ca, "bob", "--password-stdin", stdin=PASSWORD)
    with store_of(ca) as store:
        before, bob = store.list_users()
    assert before.digest_record is None
    assert bob.digest_record is not None
    record = read_digest_record(bob.digest_record)
    assert record.realm == "plant"
    for algorithm in DigestAlgorithm:
        assert record.secret(algorithm) == digest_secret(algorithm, "bob", "plant", PASSWORD)
    assert est("user", "list", ca).stdout == "before\t-\nbob\tdigest\n"
    assert json.loads(est("user", "list", ca, "--json").stdout) == [
        {"name": "before", "digest_realm": None},
        {"name": "bob", "digest_realm": "plant"},
    ]
    text = (ca / "est.toml").read_text()
    (ca / "est.toml").write_text(text.replace('realm = "plant"', 'realm = "other"'))
    assert est("user", "list", ca).stdout == "before\t-\nbob\tdigest in realm plant\n"


def test_a_user_whose_password_is_set_without_digest_has_no_record_any_more(ca: Path) -> None:
    with store_of(ca) as store:
        store.add_user("bob", "record", digest_record="not one")
    assert "the record of user bob is damaged" in error_of(est("user", "list", ca))
    est("user", "add", ca, "bob", "--force", "--password-stdin", stdin=PASSWORD)
    assert est("user", "list", ca).stdout == "bob\n"
