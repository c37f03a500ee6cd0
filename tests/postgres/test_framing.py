"""Which tables may become frames, and when the text of a row can change without the row."""

from collections.abc import Callable

import pytest

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.framing import Framable, framable_tables
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]

SCHEMA = """
CREATE SCHEMA "S""x";
CREATE TABLE "S""x"."T ü" (
    "a b" int, plain text, gone int, twice int GENERATED ALWAYS AS (1) STORED);
ALTER TABLE "S""x"."T ü" DROP COLUMN gone;
CREATE TABLE public.no_columns ();
CREATE TABLE public.parted (n int) PARTITION BY LIST (n);
CREATE TABLE public.part PARTITION OF public.parted DEFAULT;
CREATE TYPE public.mood AS ENUM ('a', 'b');
CREATE TABLE public.hashed (m public.mood) PARTITION BY HASH (m);
CREATE TABLE public.hashed_0 PARTITION OF public.hashed FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE public.with_mood (m public.mood[], r int4range);
CREATE UNLOGGED TABLE public.unlogged (n int);
CREATE MATERIALIZED VIEW public.view AS SELECT 1 AS n;
"""


@pytest.fixture
def session(server: EmbeddedServer, new_database: NewDatabase) -> Session:
    with connect(Dsn.parse(new_database(server)), purpose="test") as session:
        session.execute(SCHEMA)
        return connect(session.dsn, purpose="test")


@pytest.fixture
def found(session: Session) -> dict[str, Framable]:
    with session:
        return {table.label: table for table in framable_tables(session)}


def test_ordinary_tables_with_columns_are_framable(found: dict[str, Framable]) -> None:
    assert set(found) == {'S"x.T ü', "public.part", "public.with_mood", "public.unlogged"}


def test_the_copy_statement_is_as_pg_dump_writes_it(found: dict[str, Framable]) -> None:
    table = found['S"x.T ü']
    assert table.columns == ("a b", "plain")
    assert table.copy_statement == 'COPY "S""x"."T ü" ("a b", plain) FROM stdin;\n'


def test_types_are_followed_into_what_they_are_made_of(found: dict[str, Framable]) -> None:
    names = {item["name"] for item in found["public.with_mood"].types}
    assert {"_mood", "mood", "int4range", "int4"} <= names
    mood = next(t for t in found["public.with_mood"].types if t["name"] == "mood")
    assert [label.split()[1] for label in mood["labels"]] == ["a", "b"]


def test_an_unlogged_table_has_no_traits_to_rely_on(found: dict[str, Framable]) -> None:
    assert found["public.unlogged"].traits is None
    assert found["public.part"].traits is not None


def test_tables_of_extensions_are_left_to_pg_dump(
    debian_server: EmbeddedServer, new_database: NewDatabase
) -> None:
    with connect(Dsn.parse(new_database(debian_server)), purpose="test") as session:
        session.execute("CREATE TABLE public.own (h int)")
        session.execute("CREATE EXTENSION hstore WITH SCHEMA public")
        session.execute("ALTER TABLE public.own ADD COLUMN kv public.hstore")
        (table,) = framable_tables(session)
        assert table.traits is not None
        session.execute("ALTER EXTENSION hstore ADD TABLE public.own")
        assert framable_tables(session) == ()
