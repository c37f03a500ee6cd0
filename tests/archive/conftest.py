"""Archives for the tests: real ones of each server, and some put together byte by byte."""

import subprocess
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

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
        parts += [self.string(b"0"), self.string(b"0"), self.string(values["tag"])]
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
