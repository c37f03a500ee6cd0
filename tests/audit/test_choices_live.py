"""Every choice of a recipe, on a real server: written by `append`, verified, edited, found out."""

from typing import Any, Final

import pytest

from alexandria_backup.audit.discovery import discover_table
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.recipe_choices import Previous
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.timestamps import FORMS
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.postgres.connect import Session

KEY: Final = bytes(range(32))
FIELDS: Final = (
    Role.ID, Role.PRINCIPAL, Role.ACTION, Role.AGENT, Role.SESSION, Role.METADATA, Role.TENANT_ID,
    Role.CREATED_AT,
)  # fmt: skip
CHOICES: Final[dict[str, dict[str, Any]]] = {
    "delimited": {"encoding": "delimited:|", "null": "-"},
    "json-sorted": {"encoding": "json-sorted", "parse": frozenset({"metadata"})},
    "jcs": {"encoding": "jcs", "parse": frozenset({"metadata"})},
    **{f"previous {one}": {"previous": one} for one in Previous if one is not Previous.FIELD},
    "previous field": {"previous": Previous.FIELD, "fields": (*FIELDS, Role.PREV_HMAC)},
    **{f"output {one}": {"output": one} for one in Output},
    **{f"timestamps {form}": {"timestamps": form} for form in FORMS},
    "nothing first": {"start": "nothing"},
    "a text first": {"start": "text:begin", "previous": Previous.TEXT_LAST},
    "zeros as text": {"previous": Previous.TEXT_FIRST, "output": Output.BASE64},
    "tenants": {"per_tenant": True},
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_chain_of_any_recipe_verifies_and_shows_an_edit(session: Session, name: str) -> None:
    told = {"name": name, "domain": b"own\n", "fields": FIELDS, **CHOICES[name]}
    recipe = Recipe(**told)
    if recipe.output is Output.BYTEA:
        session.execute(
            "ALTER TABLE public.audit_logs ALTER hmac TYPE bytea USING NULL, "
            "ALTER prev_hmac TYPE bytea USING NULL"
        )
    table = discover_table(session)
    assert table is not None
    for number in range(6):
        append(
            session,
            table=table,
            recipe=recipe,
            key=KEY,
            entry=NewEntry(
                principal="zoë|x",
                action=f"a{number}",
                metadata=f'{{"n": {number}, "b": [1.5, null]}}',
                tenant_id="t" if number % 2 else "u",
            ),
        )
    key = AuditKey.of(KEY)
    good = verify_live(session, recipe=recipe, key=key)
    assert (good.status, good.rows) == (Status.INTACT, 6), good.findings
    again = verify_live(session, recipe=recipe, key=key, anchors=good.anchors)
    assert again.status is Status.VERIFIED
    session.execute("UPDATE public.audit_logs SET agent = 'eve' WHERE action = 'a3'")
    edited = verify_live(session, recipe=recipe, key=key)
    assert edited.counts == {Code.ROW_HMAC_MISMATCH: 1}
