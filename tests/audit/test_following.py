"""Rows are checked many at a time, and what is wrong is found as one by one."""

import re
from typing import Final

import pytest

from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.following import Following
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.rows import Layout, RowReader
from alexandria_backup.demo.audit_rows import audit_rows

KEY: Final = bytes(range(32))
ROWS: Final = 300
#: A timestamp as the writer gives it to the server, which gives it back otherwise.
_ISO: Final = re.compile(rb"(\d)T([\d:.]+)\+00:00")


@pytest.fixture
def rows(table: AuditTable) -> list[bytes]:
    reader = RowReader(table, ALEXANDRIA_V1)
    lines = audit_rows(ROWS, seed=1, key=KEY)
    return [reader.canonical(_ISO.sub(rb"\1 \2+00", line[:-1])) for line in lines]


def followed(table: AuditTable, rows: list[bytes], *, keyed: bool = True) -> list[bytes]:
    """Return what goes on from the first row, asked until nothing more comes."""
    layout = Layout(table, ALEXANDRIA_V1)
    judge = Judge(ALEXANDRIA_V1, AuditKey.of(KEY)) if keyed else None
    if judge is not None:
        assert judge.fits(layout.parse(rows[0]))
    following, place = Following(layout, judge), 1
    text = layout.parse(rows[0]).hmac or b""
    while place < len(rows):
        taken, sealed = following.next(rows, place, bytes.fromhex(text.decode()), text)
        if not taken:
            break
        assert list(taken) == rows[place : place + len(taken)]
        assert [one.hex().encode() for one in sealed] == [row[-64:] for row in taken]
        place += len(taken)
        text = rows[place - 1][-64:]
    return rows[:place]


@pytest.mark.parametrize("keyed", [True, False])
def test_a_good_chain_goes_on_to_its_end(
    table: AuditTable, rows: list[bytes], *, keyed: bool
) -> None:
    assert followed(table, rows, keyed=keyed) == rows


@pytest.mark.parametrize("place", [1, 7, 8, 9, 24, 25, 150, ROWS - 1])
def test_nothing_goes_on_at_a_row_that_was_edited(
    table: AuditTable, rows: list[bytes], place: int
) -> None:
    rows[place] = rows[place].replace(b"@example.org", b"@example.com")
    assert followed(table, rows) == rows[:place]
    assert followed(table, rows, keyed=False) == rows


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("place", [1, 8, 150, ROWS - 1])
@pytest.mark.parametrize(
    "end",
    [
        b"\x01\x00\x00\x00\x40" + b"g" * 64,
        b"\x01\x00\x00\x00\x40" + b"A" * 64,
        b"\x01\x00\x00\x00\x3f" + b"a" * 63,
        # Joined with its neighbour's it reads as two HMACs, and is none.
        b"\x01\x00\x00\x00\x40" * 2 + b"a" * 59,
        b"a" * 69,
        b"\x00",
    ],
)
def test_nothing_goes_on_at_a_row_whose_hmac_is_none(
    table: AuditTable, rows: list[bytes], place: int, end: bytes, *, keyed: bool
) -> None:
    rows[place] = rows[place][:-69] + end
    assert followed(table, rows, keyed=keyed) == rows[:place]


@pytest.mark.parametrize("keyed", [True, False])
def test_nothing_goes_on_where_a_row_is_gone(
    table: AuditTable, rows: list[bytes], *, keyed: bool
) -> None:
    del rows[100]
    assert followed(table, rows, keyed=keyed) == rows[:100]
