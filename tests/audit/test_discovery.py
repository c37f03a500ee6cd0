"""The table and its columns are found by their names, and doubt is an error that lists them."""

import pytest

from alexandria_backup.audit.discovery import discover_in_columns, discover_table, why_none
from alexandria_backup.audit.recipe import Role
from alexandria_backup.errors import AuditUnverified
from alexandria_backup.postgres.connect import Session


def test_the_applications_table(session: Session) -> None:
    found = discover_table(session)
    assert found is not None
    assert str(found) == "public.audit_logs"
    assert found.columns[Role.PREV_HMAC] == "prev_hmac"
    assert found.types[Role.CREATED_AT] == "timestamp with time zone"


def test_other_names_in_another_schema(session: Session) -> None:
    session.execute("""
        DROP TABLE public.audit_logs;
        CREATE SCHEMA "App 100%";
        CREATE TABLE "App 100%".audit_log (id uuid, hash text, prev_hash text, "x y" int);
    """)
    found = discover_table(session)
    assert found is not None
    assert (found.schema, found.name) == ("App 100%", "audit_log")
    assert (found.columns[Role.HMAC], found.columns[Role.PREV_HMAC]) == ("hash", "prev_hash")
    assert found.without_role == ("x y",)


def test_several_tables_are_listed_and_one_can_be_named(session: Session) -> None:
    session.execute("CREATE TABLE public.audit_log (LIKE public.audit_logs)")
    with pytest.raises(AuditUnverified, match=r"`public.audit_log`, `public.audit_logs`") as caught:
        discover_table(session)
    assert "ALEXANDRIA_AUDIT__TABLE" in str(caught.value.hint)
    named = discover_table(session, named=("public", "audit_log"))
    assert named is not None
    assert named.name == "audit_log"


def test_a_table_of_any_name_can_be_named(session: Session) -> None:
    session.execute("ALTER TABLE public.audit_logs RENAME TO journal")
    assert discover_table(session) is None
    assert discover_table(session, named=("public", "journal")) is not None
    with pytest.raises(AuditUnverified, match=r"no table `public\.nothing`"):
        discover_table(session, named=("public", "nothing"))
    session.execute("ALTER TABLE public.journal DROP COLUMN hmac")
    with pytest.raises(AuditUnverified, match="no audit chain"):
        discover_table(session, named=("public", "journal"))


def test_what_is_no_audit_table() -> None:
    assert discover_in_columns("public", "users", ("id", "hmac", "prev_hmac")) is None
    assert discover_in_columns("public", "audit_logs", ("id", "action")) is None


def test_what_comes_near_to_an_audit_table_is_told(session: Session) -> None:
    session.execute("ALTER TABLE public.audit_logs DROP COLUMN hmac")
    session.execute("CREATE TABLE public.journal (id text, hash text, prev_hash text)")
    assert discover_table(session) is None
    assert why_none(session) == (
        "`public.audit_logs` has no column `hmac` or `hash`",
        "tables that look like one: `public.journal`",
    )
    assert why_none(session, {"hmac": "seal"})[0].endswith("no column `seal`")
