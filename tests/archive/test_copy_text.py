import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.archive.copy_text import batches, columns_of, fields, rows
from alexandria_backup.errors import ArchiveDamaged

#: As CopyAttributeOutText of PostgreSQL writes them.
ESCAPES = {8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 92: b"\\\\"}
values = st.lists(
    st.none() | st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"\\")),
    min_size=1,
    max_size=6,
)


def written(row: list[bytes | None]) -> bytes:
    """Write a row as the server does."""
    return b"\t".join(
        b"\\N" if value is None else b"".join(ESCAPES.get(c, bytes([c])) for c in value)
        for value in row
    )


@given(table=st.lists(values, max_size=8), size=st.integers(1, 50))
def test_what_the_server_writes_comes_back(table: list[list[bytes | None]], size: int) -> None:
    text = b"".join(written(row) + b"\n" for row in table) + b"\\.\n\n\n"
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert [fields(row) for row in rows(chunks)] == table


@given(text=st.binary(max_size=200), size=st.integers(1, 50), terminated=st.booleans())
def test_any_bytes_are_rows_or_refused(text: bytes, size: int, terminated: bool) -> None:
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    try:
        for row in rows(chunks, terminated=terminated):
            fields(row)
    except ArchiveDamaged:
        pass


LETTERS = {"b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


def slowly(field: str) -> bytes | None:
    """Read a field as the documentation of COPY says it, one character after the other."""
    if field == "\\N":
        return None
    out, at = bytearray(), 0
    while at < len(field):
        if field[at] != "\\":
            out.append(ord(field[at]))
            at += 1
            continue
        if at + 1 == len(field):
            raise ArchiveDamaged("lone backslash")
        rest = field[at + 1 :]
        number = re.match("[0-7]{1,3}|x[0-9A-Fa-f]{1,2}", rest)
        if number is None:
            out.append(LETTERS.get(rest[0], ord(rest[0])))
            at += 2
        else:
            digits = number[0].removeprefix("x")
            out.append(int(digits, 16 if rest[0] == "x" else 8) & 0xFF)
            at += 1 + len(number[0])
    return bytes(out)


@given(row=st.lists(st.sampled_from(["\\", "\\\\", "\\N", "\t", "N", "n", "x", "4", "1", "9"])))
def test_every_mixture_of_escapes(row: list[str]) -> None:
    text = "".join(row)
    try:
        expected = [slowly(field) for field in text.split("\t")]
    except ArchiveDamaged:
        with pytest.raises(ArchiveDamaged):
            fields(text.encode())
    else:
        assert fields(text.encode()) == expected


def test_rows_of_a_server_have_no_terminator() -> None:
    assert list(rows([b"a\n", b"b\n", b"\n"], terminated=False)) == [b"a", b"b", b""]
    assert list(rows([], terminated=False)) == []
    with pytest.raises(ArchiveDamaged, match="terminator"):
        list(rows([b"a\n\\.\n"], terminated=False))


@pytest.mark.parametrize("end", [b"\\.\n", b"\\.\n\n\n"])
def test_rows_end_at_the_terminator(end: bytes) -> None:
    # The last row is data that look like a terminator, as the server escapes them.
    text = b"a\n\nb\\.\n\\\\.\n" + end
    assert list(rows([text])) == [b"a", b"", b"b\\.", b"\\\\."]
    assert fields(b"\\\\.") == [b"\\."]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "without their terminator"),
        (b"a\nb\n", "without their terminator"),
        (b"a\nb", "inside a row"),
        (b"a\n\\.", "inside a row"),
        (b"a\n\\.\nb\n", "follow the terminator"),
        (b"a\n\\.\nb", "follow the terminator"),
        (b"\\.\n\n\n\\.\n", "follow the terminator"),
    ],
)
def test_rows_that_are_not_whole(text: bytes, words: str) -> None:
    for size in (1, 2, 100):
        with pytest.raises(ArchiveDamaged, match=words):
            list(rows([text[at : at + size] for at in range(0, len(text), size)]))


def test_batches_hold_what_a_chunk_completes() -> None:
    assert list(batches([b"a\nb", b"c", b"d\ne\n\\.\n"])) == [[b"a"], [b"bcd", b"e"]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"", [b""]),
        (b"\\N", [None]),
        (b"\\N\t\t\\\\N", [None, b"", b"\\N"]),
        (b"x\\N", [b"xN"]),
        (b"\\b\\f\\n\\r\\t\\v\\\\", [b"\b\f\n\r\t\v\\"]),
        (b"\\101\\1012\\7\\x41\\x4\\xg\\8", [b"AA2\7A\4xg8"]),
        (b"\\777", [b"\xff"]),
        (b"\xc3\xbc\\\xc3\xbc", [b"\xc3\xbc\xc3\xbc"]),
    ],
)
def test_values_of_a_row(row: bytes, expected: list[bytes | None]) -> None:
    assert fields(row) == expected


@pytest.mark.parametrize("row", [b"\\", b"a\\", b"a\\\tb", b"\\\\\\"])
def test_a_lone_backslash_is_refused(row: bytes) -> None:
    with pytest.raises(ArchiveDamaged, match="lone backslash"):
        fields(row)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("COPY public.t (a, b) FROM stdin;\n", ("public", "t", ("a", "b"))),
        ("COPY t (a) FROM stdin;\n", (None, "t", ("a",))),
        ("COPY ns.t  FROM stdin;\n", ("ns", "t", ())),
        ("COPY t (a) WITH OIDS FROM stdin;\n", (None, "t", ("a",))),
        (
            'COPY "n.s"."T ""x"", (y)" ("B, c", "d)") FROM stdin;\n',
            ("n.s", 'T "x", (y)', ("B, c", "d)")),
        ),
        (
            'COPY public."line\nbreak" ("FROM stdin;") FROM stdin;\n',
            ("public", "line\nbreak", ("FROM stdin;",)),
        ),
        ("COPY schön.müll (größe) FROM stdin;\n", ("schön", "müll", ("größe",))),
    ],
)
def test_the_target_of_a_copy_command(
    statement: str, expected: tuple[str | None, str, tuple[str, ...]]
) -> None:
    assert columns_of(statement) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "COPY",
        "COPY t TO stdout;",
        "SELECT 1;",
        "COPY t (a FROM stdin;",
        'COPY "" FROM stdin;',
        "COPY t FROM stdin; DROP TABLE t;",
    ],
)
def test_other_commands_are_refused(statement: str) -> None:
    with pytest.raises(ArchiveDamaged, match="not a COPY command"):
        columns_of(statement)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(schema=names, table=names, columns=st.lists(names, max_size=4))
def test_quoted_names_come_back(schema: str, table: str, columns: list[str]) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    listed = f"({', '.join(map(quoted, columns))})" if columns else ""
    statement = f"COPY {quoted(schema)}.{quoted(table)} {listed} FROM stdin;\n"
    assert columns_of(statement) == (schema, table, tuple(columns))
