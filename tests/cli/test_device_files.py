"""The CSV of `est device import`: what spreadsheets write is read, and each fault has its place."""

from __future__ import annotations

import csv
import io
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from est_transports.authority.stores import DeviceRecord
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.server.device_files import (
    COLUMNS,
    DEVICES_MAX,
    FAULTS_MAX,
    FILE_BYTES_MAX,
    DeviceLine,
    Faults,
    read_devices,
    read_text,
)
from tests.reached import reached, reaches

NOW = datetime(2026, 11, 27, 16, 30, tzinfo=UTC)
HEAD = "id,names,label,expires,code\n"


def devices(text: str) -> list[DeviceLine]:
    """Return the devices of a text without faults."""
    found, faults = read_devices(text, NOW)
    assert faults.shown == []
    assert faults.count == 0
    return found


def faults_of(text: str) -> list[str]:
    """Return the faults of a text, all of which are shown."""
    _, faults = read_devices(text, NOW)
    assert len(faults.shown) == faults.count > 0
    return faults.shown


def record(known_as: str, *names: str) -> DeviceRecord:
    return DeviceRecord(id=known_as, names=names, created_at=NOW)


# What is read


def test_every_column_is_read() -> None:
    (line,) = devices(HEAD + "gauge-7,gauge-7.example urn:dev:7,plant,2027-01-31,yes\n")
    assert line == DeviceLine(
        number=2,
        record=DeviceRecord(
            id="gauge-7",
            names=("gauge-7.example", "urn:dev:7"),
            label="plant",
            created_at=NOW,
            expires_at=datetime(2027, 2, 1, tzinfo=UTC),
        ),
        wants_code=True,
    )


def test_all_but_the_id_may_be_empty_or_missing() -> None:
    wanted = [record("a"), record("b")]
    for text in (HEAD + "a,,,,\nb\n", "id\na\nb", "code,id\n,a\n,b\n", "ID,Names\na,\n b \n"):
        assert [line.record for line in devices(text)] == wanted
        assert not any(line.wants_code for line in devices(text))


@pytest.mark.parametrize(
    "text",
    [
        "id,names\r\na,x y\r\nb,\r\n",
        "id,names\ra,x y\rb,\r",
        "id;names\na;x y\nb;\n",
        'id;names\r\n"a";"x;y"\r\n"b";\r\n',
        'id,names\n"a",x;y\n\n , \nb',
        'id,names\na,"x\ny"\nb,;\n',
        'names,id\n" x ; y ",a\n,b\n',
        "\r\n\n id , names \na,x  y\nb,\n",
        "id;names;;\na;x y;;\nb;;;\n",
    ],
)
def test_what_spreadsheets_write_is_one_list(text: str) -> None:
    assert [line.record for line in devices(text)] == [record("a", "x", "y"), record("b")]


def test_a_cell_holds_what_is_quoted_in_it() -> None:
    (line,) = devices('id,names\n"Gauge ""7"", left",a\n')
    assert line.record.id == 'Gauge "7", left'


@pytest.mark.parametrize("cell, end", [("never", None), ("", None), ("30", 30), ("2w", 14)])
def test_an_end_is_written_as_for_the_option(cell: str, end: int | None) -> None:
    (line,) = devices(f"id,expires\na,{cell}\n")
    assert line.record.expires_at == (None if end is None else NOW + timedelta(days=end))


@pytest.mark.parametrize("cell", ["yes", "new", "YES", " New "])
def test_a_code_is_asked_for_in_a_word(cell: str) -> None:
    (line,) = devices(f"id,code\na,{cell}\n")
    assert line.wants_code


# What is refused, and where


@pytest.mark.parametrize(
    "text, fault",
    [
        ("", "line 1: is empty: the first line names the columns"),
        ("\n\r\n,,\n", "line 1: is empty: the first line names the columns"),
        (HEAD, "line 1: is the head, and no device follows"),
        (HEAD + ",,,\n\n", "line 1: is the head, and no device follows"),
        ("name,id\na,b\n", "line 1, column 1: is not known: the first line names the columns"),
        ("id\tnames\na\tb\n", "line 1, column 1: is not known"),
        ("\nid,names,,code\na,b,,\n", "line 2, column 3: is not known"),
        ("id,names,,\na,b,,x\n", "line 2: has 4 cells for 2 columns"),
        ("id,names,id\na,b,c\n", "line 1, column id: is there twice"),
        ("names,code\na,\n", "line 1, column id: is missing"),
        ("id,names\n,x\n", "line 2, column id: is empty"),
        ("id\na:b\n", "line 2, column id: a device's name has 1 to 255 characters, no colon"),
        (f"id\n{'x' * 256}\n", "line 2, column id: a device's name has 1 to 255 characters"),
        ('id\n"a\nb"\n', "line 2, column id: a device's name has 1 to 255 characters"),
        ("id\na\n\nb\na\n", "line 5, column id: 'a' is on line 2 too"),
        ("id\né\ne\u0301\n", "line 3, column id: 'é' is on line 2 too"),
        ("id,names\na,x x\n", "line 2, column names: a name of the device occurs twice"),
        (f"id,names\na,{' '.join(map(str, range(33)))}\n", "column names: a device has at most 32"),
        ("id,names\na,x\x07\n", "line 2, column names: a device's name is not blank and holds"),
        (f"id,names\na,{'x' * 256}\n", "column names: a device's name has at most 255 characters"),
        ("id,label\na,x/y\n", "line 2, column label: a label is one URI path segment"),
        ("id,expires\na,soon\n", "line 2, column expires: 'soon' is no time: write days or 2w"),
        ("id,expires\na,2026-02-30\n", "line 2, column expires: there is no day 2026-02-30"),
        ("id,expires\na,2026-11-01\n", "line 2, column expires: that time is over already"),
        ("id,expires\na,36501\n", "line 2, column expires: at most 36500 days from now"),
        ("id,names\na,x,y\n", "line 2: has 3 cells for 2 columns: quote a cell with a separator"),
        ('id,names\na,"x\n', "line 2: is no CSV: unexpected end of data"),
        ('id\n"a"b\n', "line 2: is no CSV: ',' expected after '\"'"),
        (f"id\n{'x' * 200_000}\n", "line 2: is no CSV: field larger than field limit"),
        ('"id', "line 1: is no CSV: unexpected end of data"),
    ],
)
def test_a_fault_has_line_column_and_reason(text: str, fault: str) -> None:
    (shown,) = faults_of(text)
    assert fault in shown


def test_a_code_that_is_given_is_refused_and_not_repeated() -> None:
    for text in ("id,code\na,5YZQK-MZC6G\n", "id,names,label,expires,5YZQK-MZC6G\na,,,,yes\n"):
        (shown,) = faults_of(text)
        assert "5YZQK" not in shown
    assert (
        "column code: is not yes: codes are made by the server"
        in faults_of("id,code\na,5YZQK-MZC6G\n")[0]
    )


def test_all_faults_of_all_lines_are_told() -> None:
    text = HEAD + "a,x x,x/y,soon,no\nb,,,,\na,,,1,\n,,,0,,,z\n"
    assert [each.partition(": ")[0] for each in faults_of(text)] == [
        *(f"line 2, column {column}" for column in ("names", "label", "expires", "code")),
        "line 4, column id",
        "line 5",
        "line 5, column id",
        "line 5, column expires",
    ]


def test_faults_that_are_shown_are_bounded_and_all_are_counted() -> None:
    _, faults = read_devices("id\n" + "a:b\n" * 1000, NOW)
    assert (len(faults.shown), faults.count) == (FAULTS_MAX, 1000)


def test_a_line_has_the_number_that_an_editor_shows() -> None:
    """A quoted cell may go over several lines; the number is that of the first of them."""
    assert faults_of('id,names\r\na,"x\r\ny\r\nz"\r\n\r\n"b:",\r\n')[0].startswith("line 6,")
    assert faults_of('id,names\na,"x\ny y"\nb,\n')[0].startswith("line 2,")


def test_no_more_devices_are_read_than_are_added_at_once() -> None:
    text = "id\n" + "\n".join(map(str, range(DEVICES_MAX)))
    found, faults = read_devices(text, NOW)
    assert (len(found), faults) == (DEVICES_MAX, Faults())
    _, faults = read_devices(text + "\nmore\nand:more\n", NOW)
    assert faults.shown == ["line 100002: is past 100000 devices, as many as are added at once"]


# The file


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("\ufeffid\nGröße\n".encode())
    assert [line.record.id for line in devices(read_text(tmp_path / "file"))] == ["Größe"]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"id\na\nGr\xf6\xdfe\n", "line 3: is not UTF-8; save it as CSV in UTF-8"),
        ("id\na\n".encode("utf-16"), "is UTF-16; save it as CSV in UTF-8"),
        ("id\na\n".encode("utf-16-be"), "line 1: holds a NUL octet"),
        (b"id\na\nb\x00\n", "line 3: holds a NUL octet"),
    ],
)
def test_what_is_no_text_in_utf8_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CliError) as caught:
        read_text(tmp_path / "file")
    assert f"{tmp_path}/file: {words}" in caught.value.line
    assert caught.value.code is ExitCode.USAGE


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(CliError, match=words) as caught:
            read_text(path)
        assert caught.value.code is ExitCode.LOCAL


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1024**3)  # takes no room
    with pytest.raises(CliError, match="is larger than 64 MiB"):
        read_text(tmp_path / "file")


def test_a_stream_without_end_is_read_to_the_bound() -> None:
    with pytest.raises(CliError, match="is larger than 64 MiB"):
        read_text(Path("/dev/zero"))
    assert FILE_BYTES_MAX == 64 * 1024 * 1024


# Properties

WORDS = st.lists(st.text("abc.-:", min_size=1, max_size=9), max_size=4, unique=True)


@reaches(read=60, quoted=15)
@given(
    rows=st.lists(st.tuples(st.text("ab ,;\"'é-", min_size=1, max_size=9), WORDS), min_size=1),
    delimiter=st.sampled_from(",;"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_as_csv_is_read_back(
    rows: list[tuple[str, list[str]]], delimiter: str, end: str
) -> None:
    by_id = {known_as.strip(): names for known_as, names in rows if known_as.strip()}
    if not by_id:
        return
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(COLUMNS)
    writer.writerows((known_as, ";".join(names), "", "", "") for known_as, names in by_id.items())
    found = devices(text.getvalue())
    assert {line.record.id: list(line.record.names) for line in found} == by_id
    reached("read", "quoted" if '"' in text.getvalue() else "plain")


CELLS = st.text(alphabet="ab:,;\"\n\r\t 'é0", max_size=9)


@reaches(devices=10, faults=50)
@given(text=st.text(max_size=60) | st.lists(CELLS, max_size=9).map(",".join))
@example(text="id,code\r\na,yes")
def test_any_text_is_devices_or_has_faults(text: str) -> None:
    for head in ("", HEAD, "id\n"):
        found, faults = read_devices(head + text, NOW)
        assert found or faults.count
        reached("faults" if faults.count else "devices")
        assert all(each.startswith("line ") for each in faults.shown)


@reaches(read=15)
@given(content=st.binary(max_size=60) | st.text(max_size=20).map(str.encode))
def test_any_octets_are_text_or_refused(content: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    try:
        with suppress(CliError):
            assert "\x00" not in read_text(Path(f"/dev/fd/{reading}"))
            reached("read")
    finally:
        os.close(reading)
