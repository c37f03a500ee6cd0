r"""The text format of COPY: chunks of bytes to rows, rows to fields, and the COPY command itself.

The format is that of PostgreSQL's documentation of COPY, "Text Format". The server ends a row with
LF and writes LF, CR, tab and backslash inside a value as escapes, so a row never holds a bare LF.
pg_dump ends the rows of a table with the line `\.` and two empty lines.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from alexandria_backup.errors import ArchiveDamaged

_TERMINATOR: Final = b"\\."
_NULL: Final = b"\\N"


def rows(chunks: Iterable[bytes], *, terminated: bool = True) -> Iterator[bytes]:
    r"""Yield each row without its LF, still escaped, in the order of `chunks`.

    Chunks may be cut anywhere. With `terminated`, as in an archive, the rows end at the line `\.`:
    ArchiveDamaged if the data end without it, or if anything but empty lines follows it. Without,
    as from a server, the data end after a complete row, and `\.` is an error.
    Memory: one chunk and the longest row.
    """
    for batch in batches(chunks, terminated=terminated):
        yield from batch


def batches(chunks: Iterable[bytes], *, terminated: bool = True) -> Iterator[list[bytes]]:
    """Yield the same rows as `rows`, as lists that hold what one chunk completed."""
    source = iter(chunks)
    #: The beginning of a row whose end has not come yet; joined once, not once per chunk.
    open_row: list[bytes] = []
    for chunk in source:
        if b"\n" not in chunk:
            open_row.append(chunk)
            continue
        lines = chunk.split(b"\n")
        if open_row:
            # The chunk is split first, so that of a row of hundreds of megabytes there are two
            # copies for a moment, and never three.
            open_row.append(lines[0])
            lines[0] = b"".join(open_row)
        rest = lines.pop()
        open_row = [rest] if rest else []
        if _TERMINATOR in lines:
            end = lines.index(_TERMINATOR)
            yield lines[:end]
            _finish(lines[end + 1 :], rest, source, terminated=terminated)
            return
        yield lines
    if any(open_row):
        raise ArchiveDamaged("the rows end inside a row: its line feed is missing")
    if terminated:
        raise ArchiveDamaged("the rows end without their terminator `\\.`")


def _finish(lines: list[bytes], rest: bytes, source: Iterator[bytes], *, terminated: bool) -> None:
    if not terminated:
        raise ArchiveDamaged("the terminator `\\.` stands among rows that have none")
    if any(lines) or rest or any(chunk.strip(b"\n") for chunk in source):
        raise ArchiveDamaged("data follow the terminator `\\.` of the rows")


_ESCAPE: Final = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
_ODD_BACKSLASHES: Final = re.compile(rb"(?<!\\)\\(?:\\\\)*\Z")
_LETTERS: Final = {
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"\\": b"\\",
}


def _unescaped(match: re.Match[bytes]) -> bytes:
    code: bytes = match[1]
    letter = _LETTERS.get(code)
    if letter is not None:
        return letter
    if code[:1].isdigit() and code[0] < ord("8"):
        return bytes([int(code, 8) & 0xFF])
    if len(code) > 1:
        return bytes([int(code[1:], 16)])
    return code


def _value(field: bytes) -> bytes:
    """Return the value of a field that holds a backslash and is not NULL."""
    pairs = field.count(b"\\\\")
    if pairs and field.count(b"\\") == 2 * pairs:
        # Nothing else, as in JSON that quotes something; the pattern takes three times as long.
        return field.replace(b"\\\\", b"\\")
    if _ODD_BACKSLASHES.search(field):
        raise ArchiveDamaged("a field of a row ends in a lone backslash")
    return _ESCAPE.sub(_unescaped, field)


def fields(row: bytes) -> list[bytes | None]:
    r"""Return the values of a row as the server would read them, in its encoding; NULL is None.

    Understood are `\N`, `\b \f \n \r \t \v \\`, octal `\101` and hexadecimal `\x41`; a backslash
    before any other byte stands for that byte. An empty row is one empty value: the caller knows
    whether the table has no columns at all. ArchiveDamaged where a field ends in a lone backslash.
    """
    values: list[bytes | None] = []
    # A list of another element type, not a copy.
    values += row.split(b"\t")
    backslashes = row.count(b"\\")
    if not backslashes:
        return values
    # Rows are read by the million: what is done for each value is left to C where it can be.
    nulls, place = values.count(_NULL), -1
    for _ in range(nulls):
        place = values.index(_NULL, place + 1)
        values[place] = None
    if backslashes == nulls:
        return values
    return [value if value is None or b"\\" not in value else _value(value) for value in values]


class CopyTarget(NamedTuple):
    """Where a COPY command puts its rows; names are unquoted."""

    #: None in archives of old pg_dump versions, which set `search_path` instead.
    schema: str | None
    table: str
    #: In the order of the values of a row; empty for a table without columns.
    columns: tuple[str, ...]


_NAME = r"""(?:"(?:[^"]|"")+"|[^\s"(),.;]+)"""
_COPY: Final = re.compile(
    rf"COPY\s+(?:(?P<schema>{_NAME})\.)?(?P<table>{_NAME})\s*"
    rf"(?:\((?P<columns>\s*{_NAME}(?:\s*,\s*{_NAME})*\s*)\))?\s*"
    r"(?:WITH\s+OIDS\s+)?FROM\s+stdin\s*;\s*\Z",
    re.IGNORECASE,
)
_EACH_NAME: Final = re.compile(_NAME)


def columns_of(copy_statement: str) -> CopyTarget:
    """Return schema, table and columns of pg_dump's `COPY ns."Tab" (a, "B c") FROM stdin;`.

    ArchiveDamaged where the statement is something else.
    """
    match = _COPY.match(copy_statement)
    if match is None:
        raise ArchiveDamaged(f"`{copy_statement.strip()[:200]}` is not a COPY command of pg_dump")
    schema, listed = match["schema"], match["columns"] or ""
    return CopyTarget(
        schema=None if schema is None else _unquoted(schema),
        table=_unquoted(match["table"]),
        columns=tuple(_unquoted(name) for name in _EACH_NAME.findall(listed)),
    )


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
