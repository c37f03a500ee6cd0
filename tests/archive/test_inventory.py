from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.archive import inventory
from alexandria_backup.archive.grants import roles_in, with_roles
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.errors import ArchiveDamaged


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("GRANT SELECT ON TABLE public.t TO reader;", {"reader"}),
        ("GRANT SELECT ON TABLE public.t TO PUBLIC;", set()),
        ('GRANT SELECT ON TABLE t TO "PUBLIC", "a ""b""; TO c" WITH GRANT OPTION;',
         {"PUBLIC", 'a "b"; TO c'}),
        ("GRANT ALL ON TABLE t TO GROUP old;", {"old"}),
        ("GRANT ALL ON TABLE t TO server;\nGRANT ALL ON TABLE t TO granted;",
         {"server", "granted"}),
        ('GRANT SELECT("to",a) ON TABLE "TO x" TO r1,r2;', {"r1", "r2"}),
        ("REVOKE ALL ON SCHEMA public FROM PUBLIC;\nREVOKE ALL ON SCHEMA public FROM old;",
         {"old"}),
        ("SET SESSION AUTHORIZATION giver;\nGRANT SELECT ON TABLE t TO taker;\n"
         "RESET SESSION AUTHORIZATION;", {"giver", "taker"}),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s REVOKE ALL ON TABLES FROM b;\n"
         'ALTER DEFAULT PRIVILEGES FOR ROLE "A" GRANT SELECT ON TABLES TO c;',
         {"a", "b", "A", "c"}),
        ("CREATE POLICY p ON public.t FOR SELECT TO a, b USING ((x = 'TO c'::text));",
         {"a", "b"}),
        ("CREATE POLICY p ON public.t USING ((x = 'y'::text));", set()),
        ("CREATE USER MAPPING FOR u SERVER s OPTIONS (\n    \"user\" 'TO x'\n);", {"u"}),
        ("CREATE USER MAPPING FOR PUBLIC SERVER s;", set()),
        ("-- GRANT a TO b;\nGRANT SELECT ON TABLE t /* TO c */ TO d;", {"d"}),
        ("SELECT 'GRANT a TO b';", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_roles_in_statements(statement: str, expected: set[str]) -> None:
    assert roles_in(statement) == expected


@given(st.text(max_size=80) | st.lists(st.sampled_from(
    ["GRANT", "TO", "FROM", "(", ")", '"', "'", ";", ",", "$$", "a", "PUBLIC", "--", "/*", " "]
)).map("".join))  # fmt: skip
def test_any_text_has_roles_or_is_refused(text: str) -> None:
    with suppress(ArchiveDamaged):
        assert "" not in roles_in(text)


def entries_of(craft: Any, *made: dict[str, Any]) -> tuple[TocEntry, ...]:
    archive = craft()
    archive.extra_entries = [
        archive.entry(number, **entry) for number, entry in enumerate(made, start=100)
    ]
    return ArchiveReader([archive.build()]).entries


def test_the_database_itself_needs_its_roles_only_when_asked(craft: Any) -> None:
    entries = entries_of(
        craft,
        {"description": b"DATABASE", "tag": b"db", "owner": b"boss"},
        {
            "description": b"ACL",
            "tag": b"DATABASE db",
            "owner": b"boss",
            "definition": b"GRANT CONNECT ON DATABASE db TO guest;\n",
        },
        {"description": b"TABLE", "tag": b"t", "owner": b"app"},
        {"description": b"STATISTICS DATA", "tag": b"t", "owner": None},
    )
    assert inventory.roles_needed(entries) == ("app", "postgres")
    needed = inventory.roles_needed(entries, with_database=True)
    assert needed == ("app", "boss", "guest", "postgres")


def test_a_comment_for_public_does_not_create_it(craft: Any) -> None:
    remark = b"-- *not* creating schema, since initdb creates it\n"
    schema = {"description": b"SCHEMA", "tag": b"public"}
    assert not inventory.creates_public_schema(entries_of(craft, {**schema, "definition": remark}))
    assert inventory.creates_public_schema(
        entries_of(craft, {**schema, "definition": b"CREATE SCHEMA public;\n"})
    )


def test_kinds_are_told_apart(craft: Any) -> None:
    entries = entries_of(
        craft,
        {"description": b"EXTENSION", "tag": b"vector"},
        {"description": b"COMMENT", "tag": b"EXTENSION vector"},
        {"description": b"SUBSCRIPTION", "tag": b"sub"},
        {"description": b"PUBLICATION", "tag": b"pub"},
        {"description": b"PUBLICATION TABLE", "tag": b"pub t"},
        {"description": b"EVENT TRIGGER", "tag": b"trigger"},
        {"description": b"TABLE", "tag": b"t", "namespace": b"public"},
        {"description": b"TABLE DATA", "tag": b"t", "namespace": b"public", "had_dumper": 1,
         "position": (1, 0), "section": 3},
        {"description": b"TABLE DATA", "tag": b"of extension", "namespace": b"ext",
         "had_dumper": 1, "position": (1, 0), "section": 3},
        {"description": b"VIEW", "tag": b"v", "namespace": b"public"},
    )  # fmt: skip
    assert inventory.extensions(entries) == ("vector",)
    assert [entry.tag for entry in inventory.subscriptions(entries)] == ["sub"]
    assert [entry.tag for entry in inventory.publications(entries)] == ["pub"]
    assert [entry.tag for entry in inventory.event_triggers(entries)] == ["trigger"]
    assert inventory.tables(entries) == (("public", "t"), ("ext", "of extension"))


def test_a_line_break_in_a_name_makes_no_line_in_the_list(craft: Any) -> None:
    entries = entries_of(craft, {"description": b"TABLE", "tag": b"t\n9; 0 0 TABLE evil"})
    text = inventory.list_file(entries, lambda entry: entry.description == "TABLE")
    assert [line for line in text.splitlines() if not line.startswith(";")] == [
        "100; 0 0 TABLE - t 9; 0 0 TABLE evil postgres"
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("GRANT SELECT ON TABLE a TO a;", 'GRANT SELECT ON TABLE a TO "A ""1"" b";'),
        ("GRANT ALL ON TABLE t TO b,a WITH GRANT OPTION;",
         'GRANT ALL ON TABLE t TO b,"A ""1"" b" WITH GRANT OPTION;'),
        ('REVOKE ALL ON SCHEMA a FROM "a";\nGRANT ALL ON SCHEMA a TO PUBLIC;',
         'REVOKE ALL ON SCHEMA a FROM "A ""1"" b";\nGRANT ALL ON SCHEMA a TO PUBLIC;'),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT SELECT ON TABLES TO a;",
         'ALTER DEFAULT PRIVILEGES FOR ROLE "A ""1"" b" GRANT SELECT ON TABLES TO "A ""1"" b";'),
        ("CREATE POLICY a ON a TO a USING ((a = 'TO a'::text)); -- TO a",
         "CREATE POLICY a ON a TO \"A \"\"1\"\" b\" USING ((a = 'TO a'::text)); -- TO a"),
        ("GRANT SELECT ON TABLE t TO b;", "GRANT SELECT ON TABLE t TO b;"),
    ],
)  # fmt: skip
def test_roles_are_replaced_where_they_are_roles(statement: str, expected: str) -> None:
    assert with_roles(statement, {"a": 'A "1" b'}) == expected


@given(st.text(max_size=80))
def test_replacing_nobody_changes_nothing(text: str) -> None:
    with suppress(ArchiveDamaged):
        assert with_roles(text, {"": "b", "no such role": "c"}) == text
