"""Serial numbers: one number, whatever spelling, and whole bytes where one is printed."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import printed_serial, read_serial, serial_text

NUMBERS = st.integers(min_value=1, max_value=2**159)
SPELLINGS = st.sampled_from(
    [
        str.lower,
        str.upper,
        lambda text: f"0x{text}",
        lambda text: f"0X00{text}",
        lambda text: f" {text}\n",
        lambda text: f"serial={text}",
        lambda text: ":".join(text[at : at + 2] for at in range(0, len(text), 2)),
        lambda text: " ".join(text[at : at + 4] for at in range(0, len(text), 4)),
    ]
)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@given(NUMBERS, SPELLINGS)
def test_every_spelling_is_read_as_the_number_that_is_stored(number: int, spell: object) -> None:
    assert callable(spell)
    assert read_serial(spell(printed_serial(number))) == serial_text(number)


@given(NUMBERS)
def test_a_serial_is_printed_in_whole_bytes_of_upper_case_hex(number: int) -> None:
    printed = printed_serial(number)
    assert bytes.fromhex(printed) == number.to_bytes((number.bit_length() + 7) // 8, "big")
    assert printed == printed.upper() == printed_serial(serial_text(number))


@pytest.mark.parametrize(
    "text", ["", "0", "0x", "xyz", "-1", "1::2", ":12", "12:", "12g", "1" * 65, "a" * 5000 + "!"]
)
def test_what_is_no_serial_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="no serial number"):
        read_serial(text)


def test_a_serial_has_as_many_digits_as_a_store_keeps_and_a_wrong_one_is_shown_short() -> None:
    assert read_serial("00" + "f" * 64) == "f" * 64
    for text in ("1" * 100, "?" * 100):
        with pytest.raises(LocalProtocolError) as caught:
            read_serial(text)
        assert str(caught.value) == f"{text[:80]!r} is no serial number in hexadecimal"


@pytest.mark.parametrize("spelled", ["49F", "0x49f", "049f", "04:9F", "04 9f", "00049F"])
def test_a_certificate_is_revoked_by_its_serial_however_written(
    spelled: str, tmp_path: Path
) -> None:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        store.record_certificate(
            IssuedRecord(
                serial="49f",
                subject="CN=x",
                not_before=WHEN,
                not_after=WHEN,
                der=b"\x30\x00",
                spki_sha256=b"",
                issued_at=WHEN,
                operation="simpleenroll",
            )
        )
        assert store.revoke_certificate(spelled, at=WHEN, reason="key-compromise")
        found = store.find_certificate(spelled)
        assert found is not None
        assert found.revoked_at == WHEN
        assert store.list_certificates(after=spelled) == ()
        with pytest.raises(LocalProtocolError, match="no serial number"):
            store.revoke_certificate(f"{spelled}?", at=WHEN, reason="key-compromise")
        assert store.find_certificate("no serial") is None
        store.close()
