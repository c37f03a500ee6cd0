"""Archives for the tests: real ones of each server, and some put together byte by byte."""

import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from backports import zstd

from alexandria_backup.archive.injection import FramedTable
from alexandria_backup.postgres.embedded import EmbeddedServer

#: All that is awkward in names and values; statements are divided by lines of `--`.
SAMPLE = Path(__file__).parent / "data" / "sample.sql"
#: Roles belong to the whole server, so their names must not meet those of other tests.
ROLES = ('"Archive, ""reader"" ü"', "archive_writer", "archive_owner", "archive_policy", "server")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A database with everything awkward, and pg_dump of its own version."""

    server: EmbeddedServer
    database: str

    @property
    def conninfo(self) -> str:
        return self.server.conninfo(self.database).reveal()

    def dump(self, *options: str) -> bytes:
        program = str(self.server.bin_dir / "pg_dump")
        command = [program, "--format=custom", *options, f"--dbname={self.conninfo}"]
        return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(
    scope="session", params=["debian_server", "server16", "server18"], ids=["debian", "16", "18"]
)
def sample(request: pytest.FixtureRequest) -> Iterator[Sample]:
    server: EmbeddedServer = request.getfixturevalue(request.param)
    name = "archive ü sample"
    with psycopg.connect(server.conninfo("postgres").reveal(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role}")
    with psycopg.connect(server.conninfo(name).reveal()) as connection:
        for statement in SAMPLE.read_text(encoding="utf-8").split("\n--\n"):
            connection.execute(statement)
    yield Sample(server=server, database=name)
    with psycopg.connect(server.conninfo("postgres").reveal(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        for role in ROLES:
            connection.execute(f"DROP ROLE {role}")


@dataclass(kw_only=True)
class Craft:
    """An archive put together by hand: what pg_dump never writes, or not here."""

    minor: int = 15
    #: none, gzip, lz4, zstd.
    algorithm: int = 0
    encoding: str = "UTF8"
    #: Bodies of tables; each is the list of chunks as they are stored.
    bodies: Sequence[Sequence[bytes]] = ()
    copy_statement: bytes | None = b"COPY public.t (a) FROM stdin;\n"
    tag: bytes = b"t"
    #: What replaces the creation time: seconds to isdst.
    created: tuple[int, ...] = (6, 5, 4, 3, 1, 126, 0)
    #: What follows the last block.
    trailing: bytes = b""
    position: tuple[int, int] = (1, 0)
    extra_entries: list[bytes] = field(default_factory=list)

    def integer(self, value: int) -> bytes:
        return (b"\1" if value < 0 else b"\0") + abs(value).to_bytes(4, "little")

    def string(self, value: bytes | None) -> bytes:
        return self.integer(-1) if value is None else self.integer(len(value)) + value

    def entry(self, dump_id: int, description: bytes, **changed: object) -> bytes:
        values: dict[str, object] = {
            "had_dumper": 0,
            "catalogue": b"0",
            "oid": b"0",
            "tag": b"",
            "section": 2,
            "definition": None,
            "copy_statement": None,
            "namespace": None,
            "owner": b"postgres",
            "dependencies": (),
            "position": (3, 0),
            **changed,
        }
        flag, offset = values["position"]
        parts = [self.integer(dump_id), self.integer(values["had_dumper"])]
        parts += [self.string(values[name]) for name in ("catalogue", "oid", "tag")]
        parts += [self.string(description), self.integer(values["section"])]
        parts += [self.string(values["definition"]), self.string(None)]
        parts += [self.string(values["copy_statement"]), self.string(values["namespace"])]
        parts += [self.string(None)]
        parts += [self.string(None)] if self.minor >= 14 else []
        parts += [self.integer(0)] if self.minor >= 16 else []
        parts += [self.string(values["owner"]), self.string(b"false")]
        parts += [self.string(str(d).encode()) for d in values["dependencies"]]
        parts += [self.string(None), bytes([flag]), offset.to_bytes(8, "little")]
        return b"".join(parts)

    def header(self) -> bytes:
        compression = bytes([self.algorithm]) if self.minor >= 15 else self.integer(-self.algorithm)
        parts = [b"PGDMP", bytes([1, self.minor, 0, 4, 8, 1]), compression]
        parts += [self.integer(value) for value in self.created]
        parts += [self.string(b"db"), self.string(b"15.1"), self.string(b"15.1")]
        return b"".join(parts)

    def build(self) -> bytes:
        setting = f"SET client_encoding = '{self.encoding}';\n".encode()
        entries = [self.entry(1, b"ENCODING", tag=b"ENCODING", definition=setting)]
        blocks = []
        for number, chunks in enumerate(self.bodies, start=10):
            entries.append(
                self.entry(
                    number,
                    b"TABLE DATA",
                    had_dumper=1,
                    tag=self.tag,
                    section=3,
                    namespace=b"public",
                    copy_statement=self.copy_statement,
                    position=self.position,
                )
            )
            blocks += [b"\1", self.integer(number)]
            blocks += [self.integer(len(chunk)) + chunk for chunk in chunks]
            blocks.append(self.integer(0))
        entries += self.extra_entries
        toc = self.integer(len(entries)) + b"".join(entries)
        return self.header() + toc + b"".join(blocks) + self.trailing

    def compressed(self, text: bytes) -> bytes:
        return zlib.compress(text)


@pytest.fixture
def craft() -> type[Craft]:
    return Craft


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A frame whose rows are at hand."""

    data: bytes
    #: As it is stored: whole zstd frames; by default two.
    stored: Sequence[bytes] = ()

    def text(self) -> Iterator[bytes]:
        return (self.data[at : at + 5000] for at in range(0, len(self.data), 5000))

    def zstd(self) -> Iterator[bytes]:
        if self.stored:
            return iter(self.stored)
        middle = self.data.find(b"\n", len(self.data) // 2) + 1
        return (zstd.compress(part) for part in (self.data[:middle], self.data[middle:]) if part)


@pytest.fixture
def rows_of() -> type[Rows]:
    return Rows


@pytest.fixture
def copied_tables() -> Callable[..., list[FramedTable]]:
    """Copy tables out in page ranges, as text in the database's encoding."""

    def copied(sample: Sample, *names: str, pages: int = 64) -> list[FramedTable]:
        return [_copied(sample, name, pages) for name in names]

    return copied


def _copied(sample: Sample, name: str, pages: int) -> FramedTable:
    with psycopg.connect(sample.conninfo) as connection:
        connection.execute(PINNED)
        row = connection.execute(FACTS, (name,)).fetchone()
        assert row is not None
        oid, size, columns, qualified = row
        select = f"SELECT {columns or ''} FROM ONLY {name}"
        ends = [f"AND ctid < '({at + pages},0)'" for at in range(0, size - pages, pages)]
        frames = []
        for number, end in enumerate([*ends, ""]):
            where = f"ctid >= '({number * pages},0)' {end}"
            with connection.cursor().copy(f"COPY ({select} WHERE {where}) TO STDOUT") as copy:
                frames.append(Rows(data=b"".join(map(bytes, copy))))
    listed = f"({columns})" if columns else ""
    return FramedTable(
        oid=oid, copy_statement=f"COPY {qualified} {listed} FROM stdin;\n", frames=frames
    )


#: What pg_dump pins before it renders values.
PINNED = """
    SET search_path = ''; SET DateStyle = ISO; SET IntervalStyle = postgres;
    SET extra_float_digits = 3
"""
#: Columns as pg_dump lists them; without any, two spaces stay in the command.
FACTS = """
    SELECT c.oid, pg_relation_size(c.oid) / 8192,
        (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
        quote_ident(nspname) || '.' || quote_ident(relname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE c.oid = %s::regclass
"""
