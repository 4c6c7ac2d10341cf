"""`est device`: registered one by one or from a file, with codes, listed, shown, removed."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from est_core import ManufacturerIdentity
from est_transports import _clock
from est_transports.authority.stores import DeviceRecord
from est_transports.authority.stores.sqlite import SqliteStore
from tests.cli.test_handing_out import OUTPUTS, command
from tests.cli.test_server_commands import ca, error_of, est
from tests.cli.test_tokens_and_codes import codes_in, found_code, store_of, with_schemes

__all__ = ["ca"]

HEAD = "id,names,label,expires,code\n"


def registered(ca: Path) -> tuple[DeviceRecord, ...]:
    with store_of(ca) as store:
        return store.list_devices(limit=1000)


def names_of_codes(ca: Path) -> list[str]:
    with store_of(ca) as store:
        return [each.name for each in store.list_codes(limit=1000)]


def later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Have it be so many days later."""
    then = _clock.instant()
    then = replace(then, wall=then.wall + timedelta(days=days))
    monkeypatch.setattr(_clock, "instant", lambda: then)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file to be imported, in which each test writes."""
    return tmp_path / "devices.csv"


# add


def test_a_device_is_registered_with_its_names(ca: Path) -> None:
    done = est(
        *("device", "add", ca, "gauge-7", "--name", "gauge-7.example", "--name", "Gauge Seven"),
        *("--label", "", "--expires", "30"),
    )
    assert (done.exit_code, done.stdout) == (0, "")
    told, hint = done.stderr.splitlines()
    assert told == "1 device registered"
    assert hint == (
        'no enrollment asks the list yet: put names = "registered" under [auth], or under a'
        f" label, of {ca / 'est.toml'}"
    )
    (record,) = registered(ca)
    assert (record.id, record.names) == ("gauge-7", ("gauge-7.example", "Gauge Seven"))
    assert record.label == ""
    assert record.expires_at == record.created_at + timedelta(days=30)
    assert not (ca / "auth-secret.key").exists(), "without a code no secret is needed"


@pytest.mark.parametrize("where", ["auth", "labels.plant"])
def test_where_a_rule_asks_the_list_nothing_is_said_of_it(ca: Path, where: str) -> None:
    (ca / "est.toml").write_text(f'[{where}]\nnames = "registered"\n')
    assert est("device", "add", ca, "gauge-7").stderr == "1 device registered\n"


def test_a_device_is_registered_everywhere_and_without_end_unless_it_is_said(ca: Path) -> None:
    est("device", "add", ca, "gauge-7")
    (record,) = registered(ca)
    assert (record.names, record.label, record.expires_at) == ((), None, None)


def test_a_device_gets_a_code_of_its_name_and_label(ca: Path) -> None:
    with_schemes(ca, "otp")
    done = est("device", "add", ca, "gauge-7", "--label", "", "--code", "--code-expires", "12h")
    assert done.stderr.startswith("1 device registered, 1 code added\n")
    codes = codes_in(done.stdout)
    assert list(codes) == ["gauge-7"]
    code = found_code(ca, codes["gauge-7"])
    assert code is not None
    assert (code.label, code.uses_max) == ("", 1)
    assert code.expires_at == code.created_at + timedelta(hours=12)


@pytest.mark.parametrize(("expires", "days"), [("2", 2), ("90", 7), ("never", 7)])
def test_a_code_is_taken_for_a_week_and_not_longer_than_its_device(
    expires: str, days: int, ca: Path
) -> None:
    done = est("device", "add", ca, "a", "--code", "--expires", expires)
    code = found_code(ca, codes_in(done.stdout)["a"])
    assert code is not None
    assert code.expires_at == code.created_at + timedelta(days=days)


def test_a_code_goes_to_a_file_that_only_its_owner_reads(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "code.csv"
    done = est("device", "add", ca, "a", "--code", "--out", out)
    assert done.stdout == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert found_code(ca, codes_in(out.read_text())["a"])
    assert "--out goes with --code" in error_of(est("device", "add", ca, "b", "--out", out), 2)
    assert "--force" in error_of(est("device", "add", ca, "b", "--code", "--out", out))
    assert [each.id for each in registered(ca)] == ["a"]


def test_who_registers_with_a_code_hears_what_the_server_lacks(ca: Path) -> None:
    said = est("device", "add", ca, "a", "--code", "--label", "plant").stderr
    assert "the server has no label plant yet" in said
    assert 'schemes = ["basic", "otp"]' in said
    assert "schemes" not in est("device", "add", ca, "b").stderr


def test_an_id_that_is_taken_is_replaced_with_force_only(ca: Path) -> None:
    old = codes_in(est("device", "add", ca, "a", "--name", "x", "--code").stdout)["a"]
    line = error_of(est("device", "add", ca, "a", "--code"))
    assert "device a exists already, and none was added; replace with --force" in line
    est("device", "add", ca, "a", "--name", "y", "--force")
    assert [each.names for each in registered(ca)] == [("y",)]
    assert found_code(ca, old), "without a new code the old one stays"
    new = codes_in(est("device", "add", ca, "a", "--force", "--code").stdout)["a"]
    assert found_code(ca, new)
    assert found_code(ca, old) is None


def test_a_code_that_the_name_has_already_is_replaced_with_force_only(ca: Path) -> None:
    old = codes_in(est("otp", "add", ca, "a").stdout)["a"]
    assert "code a exists already" in error_of(est("device", "add", ca, "a", "--code"))
    assert registered(ca) == ()
    assert found_code(ca, old)
    assert est("device", "add", ca, "a").exit_code == 0, "without a code that is no matter"
    assert est("device", "add", ca, "a", "--code", "--force").exit_code == 0
    assert found_code(ca, old) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a:b",), "a device's name has 1 to 255 characters"),
        (("",), "a device's name has 1 to 255 characters"),
        (("a", "--name", " "), "--name: a device's name is not blank"),
        (("a", "--name", "x", "--name", "x"), "--name: a name of the device occurs twice"),
        (("a", *(f"--name={n}" for n in range(33))), "--name: a device has at most 32 names"),
        (("a", "--label", "x/y"), "--label: a label is"),
        (("a", "--expires", "0"), "--expires: that time is over already"),
        (("a", "--expires", "soon"), "'soon' is no time"),
        (("a", "--code", "--code-expires", "0"), "--code-expires: that time is over already"),
        (("a", "--code", "--code-expires", "never"), "'never' is no time"),
    ],
)
def test_what_is_no_device_is_refused(arguments: tuple[str, ...], said: str, ca: Path) -> None:
    assert said in error_of(est("device", "add", ca, *arguments), 2)
    assert registered(ca) == ()


def test_somebody_who_is_faster_is_told(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question and the write another process may add the same device."""
    add = SqliteStore.add_devices
    come: list[str] = []

    def after_another(
        store: SqliteStore, records: list[DeviceRecord], **options: object
    ) -> tuple[str, ...]:
        if not come:
            come.append("")
            add(store, [replace(records[0], names=("theirs",))])
        return add(store, records, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(SqliteStore, "add_devices", after_another)
    done = est("device", "add", ca, "a", "--code")
    line = error_of(done)
    assert "device a exists already, and none was added; what was printed is void" in line
    assert [each.names for each in registered(ca)] == [("theirs",)]
    assert names_of_codes(ca) == []


# import


def test_a_file_of_devices_is_imported_with_codes_for_some(
    ca: Path, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "codes.csv"
    file.write_text(HEAD + "a,a.example urn:a,,2099-01-31,yes\nb,,,,\nc,c.example,,,new\n")
    done = est("device", "import", ca, file, "--out", out)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("3 devices registered, 2 codes added\n")
    assert [(each.id, each.names) for each in registered(ca)] == [
        ("a", ("a.example", "urn:a")),
        ("b", ()),
        ("c", ("c.example",)),
    ]
    codes = codes_in(out.read_text())
    assert list(codes) == ["a", "c"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert all(found_code(ca, code) for code in codes.values())


def test_codes_of_an_import_are_printed_where_no_file_is_named(ca: Path, file: Path) -> None:
    file.write_text("id,code\na,yes\n")
    done = est("device", "import", ca, file, "--code-expires", "30")
    code = found_code(ca, codes_in(done.stdout)["a"])
    assert code is not None
    assert code.expires_at == code.created_at + timedelta(days=30)


def test_without_a_code_no_file_of_codes_is_written(ca: Path, file: Path, tmp_path: Path) -> None:
    file.write_text("id\na\n")
    done = est("device", "import", ca, file, "--out", tmp_path / "codes.csv")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"no device asks for a code: {tmp_path}/codes.csv is not written" in done.stderr
    assert not (tmp_path / "codes.csv").exists()


def faults(ca: Path, file: Path, *options: str) -> list[str]:
    """Return the lines of an import that is refused, of which the last one is the error."""
    done = est("device", "import", ca, file, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[-1].startswith(f"est: {file}: ")
    assert all(line.startswith(f"{file}: line ") for line in lines[:-1])
    return lines


def test_each_fault_has_a_line_and_nothing_is_added(ca: Path, file: Path) -> None:
    file.write_text(HEAD + "a,,,,yes\nb:,,,,\nc,x x,,soon,\n")
    lines = faults(ca, file)
    assert len(lines) == 4
    assert lines[0].startswith(f"{file}: line 3, column id: ")
    assert "3 faults; nothing was added; correct them" in lines[-1]
    assert (registered(ca), names_of_codes(ca)) == ((), [])
    file.write_text("id\n" + "a:\n" * 30)
    lines = faults(ca, file)
    assert len(lines) == 21
    assert "30 faults, of which 10 are not shown; nothing" in lines[-1]


def test_ids_that_are_registered_are_faults_with_their_lines(ca: Path, file: Path) -> None:
    est("device", "add", ca, "b", "--name", "kept")
    file.write_text("id,names\na,\nb,new\nc,\n")
    lines = faults(ca, file)
    assert lines[0] == f"{file}: line 3, column id: 'b' is registered already"
    assert "1 fault; nothing was added" in lines[1]
    assert [(each.id, each.names) for each in registered(ca)] == [("b", ("kept",))]
    assert est("device", "import", ca, file, "--force").exit_code == 0
    assert [(each.id, each.names) for each in registered(ca)] == [
        ("a", ()),
        ("b", ("new",)),
        ("c", ()),
    ]


def test_a_code_that_a_name_has_stops_the_whole_import(ca: Path, file: Path) -> None:
    est("otp", "add", ca, "b")
    file.write_text("id,code\na,yes\nb,yes\n")
    line = error_of(est("device", "import", ca, file))
    assert "code b exists already, and none was added" in line
    assert (registered(ca), names_of_codes(ca)) == ((), ["b"])


def test_labels_of_an_import_that_the_server_lacks_are_told_once(ca: Path, file: Path) -> None:
    file.write_text("id,label\na,plant\nb,plant\nc,\n")
    said = est("device", "import", ca, file).stderr
    assert said.count("the server has no label plant yet") == 1


@pytest.mark.parametrize("output", OUTPUTS)
def test_codes_that_cannot_be_printed_register_no_device(output: str, ca: Path, file: Path) -> None:
    old = codes_in(est("device", "add", ca, "a", "--name", "old", "--code").stdout)["a"]
    file.write_text("id,code\na,yes\nb,yes\n")
    make, said = OUTPUTS[output]
    stdout = make()
    done = subprocess.run(
        command("device", "import", ca, file, "--force"),
        stdout=stdout, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(stdout)
    assert done.returncode == 5, done.stderr
    assert said in done.stderr
    assert [each.names for each in registered(ca)] == [("old",)]
    assert found_code(ca, old)


def test_who_is_killed_while_codes_are_printed_has_registered_none(ca: Path, file: Path) -> None:
    est("device", "add", ca, "d-1", "--name", "old")
    # More than fits into a pipe: it cannot be past its output.
    file.write_text("id,code\n" + "".join(f"d-{number},yes\n" for number in range(9000)))
    arguments = command("device", "import", ca, file, "--force")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"name,code,expires\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert [(each.id, each.names) for each in registered(ca)] == [("d-1", ("old",))]
    assert names_of_codes(ca) == []


def test_who_is_killed_before_the_commit_has_registered_none(ca: Path, file: Path) -> None:
    """Another process holds the store, so that the import comes to its commit and no further."""
    file.write_text("id,names,code\n" + "".join(f"d-{n},n-{n},yes\n" for n in range(50)))
    with closing(sqlite3.connect(ca / "est.db", isolation_level=None)) as holder:
        est("otp", "add", ca, "first")  # makes the server's secret
        holder.execute("BEGIN IMMEDIATE")
        with subprocess.Popen(
            command("device", "import", ca, file),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            shown = [process.stdout.readline() for _ in range(51)]
            process.send_signal(signal.SIGKILL)
        holder.execute("COMMIT")
    assert len(list(csv.reader(shown))) == 51
    assert registered(ca) == ()
    assert names_of_codes(ca) == ["first"]
    done = subprocess.run(command("device", "import", ca, file), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(registered(ca)) == 50


@pytest.mark.parametrize("table", ["device", "device_name", "one_time_code"])
def test_devices_and_codes_are_recorded_together_or_not(
    table: str, ca: Path, file: Path, tmp_path: Path
) -> None:
    """Whatever the database refuses in the midst of them."""
    file.write_text("id,code\na,yes\nb,yes\nc,\n")
    column = {"device": "id", "device_name": "device", "one_time_code": "name"}[table]
    with closing(sqlite3.connect(ca / "est.db")) as connection, connection:
        connection.execute(
            f"CREATE TRIGGER refusal BEFORE INSERT ON {table} WHEN new.{column} = 'b'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    out = tmp_path / "codes.csv"
    done = est("device", "import", ca, file, "--out", out)
    assert done.exit_code == 5, done.output
    assert (registered(ca), names_of_codes(ca)) == ((), [])
    assert not out.exists()


# list


def test_devices_are_listed_by_id(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    est("device", "add", ca, "b", "--name", "x", "--name", "y", "--expires", "2")
    est("device", "add", ca, "a", "--label", "plant", "--expires", "1")
    est("device", "add", ca, "c", "--label", "")
    later(monkeypatch, 1)
    rows = [line.split("\t") for line in est("device", "list", ca).stdout.splitlines()]
    assert [row[:3] + row[4:] for row in rows] == [
        ["a", "-", "plant", "expired"],
        ["b", "x, y", "all", "registered"],
        ["c", "-", '""', "registered"],
    ]
    assert rows[2][3] == "never"
    shown = json.loads(est("device", "list", ca, "--json").stdout)
    assert [list(each) for each in shown] == [
        ["id", "names", "label", "manufacturer", "value", "created_at", "expires_at", "state"]
    ] * 3
    assert [each["names"] for each in shown] == [[], ["x", "y"], []]
    assert [each["label"] for each in shown] == ["plant", None, ""]
    assert [each["state"] for each in shown] == ["expired", "registered", "registered"]
    assert rows[1][3] == shown[1]["expires_at"]
    assert shown[2]["expires_at"] is None


# show


def test_a_device_is_shown_with_its_code_and_certificates(ca: Path) -> None:
    est("device", "add", ca, "gauge-7", "--name", "x", "--code")
    with store_of(ca) as store:
        (first,) = store.list_certificates(limit=1)
        for number in range(1, 23):
            store.record_certificate(
                replace(first, serial=f"{number:x}", user="gauge-7" if number != 3 else "gauge-70")
            )
    done = est("device", "show", ca, "gauge-7")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["id: gauge-7", "names: x", "label: all"]
    assert lines[3:5] == ["until: never", "state: registered"]
    assert lines[6].startswith("code: good, used 0/1, until 20")
    certificates = [line for line in lines if line.startswith("certificate: ")]
    assert len(certificates) == 20
    assert certificates[0].startswith("certificate: 02, valid, until 20")
    assert certificates[1].startswith("certificate: 04,")
    assert done.stderr == "1 earlier certificates are not shown: see est certs list\n"
    shown = json.loads(est("device", "show", ca, "gauge-7", "--json").stdout)
    assert (shown["id"], shown["names"], shown["code"]["state"]) == ("gauge-7", ["x"], "good")
    assert "digest" not in shown["code"]
    assert [each["serial"] for each in shown["certificates"]][-1] == "16"
    assert len(shown["certificates"]) == 20


def test_a_device_without_code_and_certificates_is_shown_without(ca: Path) -> None:
    est("device", "add", ca, "a")
    done = est("device", "show", ca, "a")
    assert len(done.stdout.splitlines()) == 6
    assert done.stderr == ""
    shown = json.loads(est("device", "show", ca, "a", "--json").stdout)
    assert (shown["code"], shown["certificates"]) == (None, [])
    for unknown in ("A", "b", "x:y"):
        line = error_of(est("device", "show", ca, unknown))
        assert f"there is no device {unknown}; est device list shows" in line


# remove


def test_devices_are_removed_with_their_codes(ca: Path) -> None:
    for known_as in ("a", "b", "c"):
        est("device", "add", ca, known_as, "--code")
    est("otp", "add", ca, "other")
    assert est("device", "remove", ca, "a", "b", "a").stderr == "2 devices removed\n"
    assert [each.id for each in registered(ca)] == ["c"]
    assert names_of_codes(ca) == ["c", "other"]
    line = error_of(est("device", "remove", ca, "other", "c"))
    assert "there is no device other; 1 other was removed" in line
    assert registered(ca) == ()
    assert names_of_codes(ca) == ["other"], "a code without a device is none of its business"
    line = error_of(est("device", "remove", ca, "a", "b", "c", "d"))
    assert "there is no device a, b, c; est device list shows" in line
    assert "name devices, or use --expired" in error_of(est("device", "remove", ca), 2)


def test_what_is_over_is_removed_at_once(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for known_as, expires in (("a", "1"), ("b", "2"), ("c", "never"), ("d", "1")):
        est("device", "add", ca, known_as, "--expires", expires, "--code")
    later(monkeypatch, 1)
    assert est("device", "remove", ca, "c", "--expired").stderr == "3 devices removed\n"
    assert [each.id for each in registered(ca)] == names_of_codes(ca) == ["b"]
    assert est("device", "remove", ca, "--expired").stderr == "0 devices removed\n"


def test_a_damaged_device_is_an_error_of_one_line(ca: Path) -> None:
    est("device", "add", ca, "a")
    with closing(sqlite3.connect(ca / "est.db")) as connection, connection:
        connection.execute("UPDATE device SET created_at = 'once'")
    for what in (("list", ca), ("show", ca, "a")):
        assert "the record of device a is damaged" in error_of(est("device", *what))
    assert est("device", "remove", ca, "a").exit_code == 0


def test_the_command_runs_as_a_program(ca: Path, file: Path) -> None:
    file.write_text("id\na\n")
    for arguments in (("import", ca, file), ("list", ca), ("show", ca, "a"), ("remove", ca, "a")):
        done = subprocess.run(
            [sys.executable, "-m", "est_transports", "device", *map(str, arguments)],
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr


# --- Manufacturers' devices -------------------------------------------------------------------

ACME = ManufacturerIdentity(manufacturer="acme", value="SN 1")


def test_a_device_may_be_that_one_of_a_manufacturer(ca: Path) -> None:
    (ca / "est.toml").write_text('[auth]\nnames = "registered"\n')
    options = ("--manufacturer", "acme", "--value", "SN 1")
    done = est("device", "add", ca, "gauge-7", *options)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "the server has no manufacturer acme yet: see [manufacturers.acme] of est.toml",
        "1 device registered",
    ]
    (record,) = registered(ca)
    assert record.manufacturer == ACME
    shown = est("device", "show", ca, "gauge-7").stdout
    assert "manufacturer's device: acme/SN 1\n" in shown
    values = json.loads(est("device", "show", ca, "gauge-7", "--json").stdout)
    assert (values["manufacturer"], values["value"]) == ("acme", "SN 1")
    again = est("device", "add", ca, "pump", *options)
    assert again.exit_code == 5
    assert "est: acme/SN 1 is registered already, as 'gauge-7'; none was added" in again.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--manufacturer", "acme"), "--manufacturer and --value go together"),
        (("--value", "1"), "--manufacturer and --value go together"),
        (("--manufacturer", "a/b", "--value", "1"), "no name of a manufacturer"),
        (("--manufacturer", "acme", "--value", " 1"), "begins or ends with a blank"),
        (("--manufacturer", "acme", "--value", "1", "--code"), "--code excludes"),
    ],
)
def test_what_is_no_manufacturers_device_is_refused(
    options: tuple[str, ...], said: str, ca: Path
) -> None:
    done = est("device", "add", ca, "gauge-7", *options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert registered(ca) == ()


def test_manufacturers_devices_are_imported(ca: Path, file: Path) -> None:
    file.write_text("id,manufacturer,value\ngauge-7,acme,SN 1\npump,,\n")
    assert est("device", "import", ca, file).exit_code == 0
    assert [each.manufacturer for each in registered(ca)] == [ACME, None]


def test_each_fault_of_a_manufacturers_device_has_its_column(ca: Path, file: Path) -> None:
    file.write_text(
        "id,manufacturer,value,code\na,acme,,\nb,,1,\nc,a/b,1,\nd,acme,\u200b1,\n"
        "e,acme,2,yes\nf,acme,3,\ng,acme,3,\n"
    )
    done = est("device", "import", ca, file)
    told = [line.partition(f"{file}: ")[2] for line in done.stderr.splitlines()]
    for line in (
        "line 2, column value: is empty, and manufacturer is not",
        "line 3, column manufacturer: is empty, and value is not",
        "line 5, column value: holds characters that do not print",
        "line 6, column code: is for a device that shows its manufacturer's certificate",
        "line 8, column value: 'acme/3' is on line 7 too",
    ):
        assert line in told
    assert any(line.startswith("line 4, column manufacturer: 'a/b' is no name") for line in told)
    assert registered(ca) == ()
