"""What of an archive is left to load where a part is there; what was put aside in its source."""

import pytest

from alexandria_backup.archive.aside import without_aside
from alexandria_backup.archive.missing import There, missing, schema_of_extension
from alexandria_backup.archive.toc import Position, Section, TocEntry

MARKED = "COMMENT ON X IS '{\"alexandria-backup\": {}}';"
NOTHING = There(schemas=(), foreign_schemas=(), extensions=(), members=())


def entry(
    dump_id: int,
    description: str,
    tag: str,
    definition: str = "",
    *needs: int,
    namespace: str | None = None,
) -> TocEntry:
    return TocEntry(
        dump_id=dump_id,
        had_dumper=False,
        table_oid=0,
        oid=0,
        tag=tag,
        description=description,
        section=Section.PRE_DATA,
        definition=definition,
        drop_statement=None,
        copy_statement=None,
        namespace=namespace,
        tablespace=None,
        table_access_method=None,
        relkind=None,
        owner="app",
        with_oids=False,
        dependencies=needs,
        position=Position.NO_DATA,
        offset=None,
    )


ENTRIES = (
    entry(1, "SCHEMA", "shop", "CREATE SCHEMA shop;"),
    entry(2, "ACL", "SCHEMA shop", "GRANT …", 1),
    entry(3, "EXTENSION", "vector", "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;"),
    entry(4, "COMMENT", "EXTENSION vector", "COMMENT …", 3),
    entry(5, "TABLE", "item", "CREATE TABLE …", 1, namespace="shop"),
    entry(6, "ACL", "TABLE item", "GRANT …", 5, namespace="shop"),
    entry(7, "ACL", "FUNCTION l2_norm(vector)", "GRANT …", 99, namespace="public"),
    entry(8, "TABLE DATA", "spatial_ref_sys", namespace="public"),
)


def numbers(there: There) -> list[int]:
    return [found.dump_id for found in missing(ENTRIES, there)]


def test_where_nothing_is_there_all_is_missing_but_what_nobody_can_grant() -> None:
    assert numbers(NOTHING) == [1, 2, 3, 4, 5, 6, 8]


def test_what_is_there_is_left_out() -> None:
    there = There(
        schemas={"shop"},
        foreign_schemas=(),
        extensions={"vector"},
        members={("public", "spatial_ref_sys")},
    )
    assert numbers(there) == [2, 5, 6]


def test_nothing_is_granted_on_a_schema_of_somebody_else() -> None:
    there = There(schemas={"shop"}, foreign_schemas={"shop"}, extensions=(), members=())
    assert numbers(there) == [3, 4, 5, 6, 8]


@pytest.mark.parametrize(
    ("definition", "schema"),
    [
        ("CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public;\n", "public"),
        ('CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA "a ""b""";', 'a "b"'),
        ("CREATE EXTENSION x;", None),
    ],
)
def test_the_schema_of_an_extension(definition: str, schema: str | None) -> None:
    assert schema_of_extension(entry(1, "EXTENSION", "x", definition)) == schema


def test_what_was_put_aside_goes_with_all_that_is_of_it() -> None:
    entries = (
        entry(1, "PUBLICATION", "told_alexandria_kept_abcd"),
        entry(2, "COMMENT", "PUBLICATION told_alexandria_kept_abcd", MARKED, 1),
        entry(3, "PUBLICATION TABLE", "told_alexandria_kept_abcd item", "ALTER …", 1, 77),
        entry(4, "PUBLICATION", "told"),
        entry(5, "CAST", "CAST (…)", "CREATE CAST (shop_alexandria_kept_abcd.a AS text) …"),
        entry(6, "COMMENT", "PUBLICATION told", "COMMENT ON PUBLICATION told IS 'x';", 4),
        entry(8, "EXTENSION", "x", 'CREATE EXTENSION x WITH SCHEMA "Y_alexandria_kept_abcd";'),
        entry(9, "COMMENT", "EXTENSION x", "COMMENT ON EXTENSION x IS '…';", 8),
        entry(10, "EVENT TRIGGER", "w", "CREATE … EXECUTE FUNCTION s_alexandria_kept_abcd.w();"),
    )
    assert [found.dump_id for found in without_aside(entries)] == [4, 6]
    whole = (*entries, entry(7, "SCHEMA", "shop_alexandria_kept_abcd"))
    assert without_aside(whole) == whole


def test_names_that_sql_quotes_are_known_again() -> None:
    there = There(
        schemas={'My "own"', "plain"},
        foreign_schemas={'My "own"'},
        extensions={"uuid-ossp"},
        members=(),
    )
    entries = (
        # pg_dump writes names as they are, but for what a comment or a privilege is of.
        entry(1, "EXTENSION", "uuid-ossp"),
        entry(2, "COMMENT", 'EXTENSION "uuid-ossp"', "COMMENT …", 1),
        entry(3, "SCHEMA", 'My "own"'),
        entry(4, "COMMENT", 'SCHEMA "My ""own"""', "COMMENT …", 3),
        entry(5, "ACL", 'SCHEMA "My ""own"""', "GRANT …", 3),
        entry(6, "COMMENT", "SCHEMA plain"),
    )
    assert [found.dump_id for found in missing(entries, there)] == [6]
