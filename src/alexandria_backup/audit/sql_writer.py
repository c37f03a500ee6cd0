"""The recipe as a SQL function: for writers in other languages, and for triggers.

The function needs no extension: HMAC (RFC 2104) is made of the server's own `sha256`. The key is a
parameter, and so it passes through the server; keep `log_statement` and `log_parameter_max_length`
from writing it down.
"""

from importlib.resources import files
from string import Template
from typing import Final

from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.encodings import LENGTH_PREFIXED
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.recipe_choices import Genesis, Previous
from alexandria_backup.audit.writer import WRITER_LOCK
from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified

#: What a caller gives, in the order of the parameters.
_GIVEN: Final = (
    Role.PRINCIPAL,
    Role.ACTION,
    Role.AGENT,
    Role.SESSION,
    Role.METADATA,
    Role.TENANT_ID,
)
_NULL: Final = r"'\x00'::bytea"


def append_function(table: AuditTable, recipe: Recipe, *, name: str = "append_audit_log") -> str:
    """Return the statement that makes `name(key bytea, principal text, action text, …)`.

    It appends a row to the table as `append` does, in the caller's transaction, and returns its id.
    Raises UsageError for recipes that are not written so: only those that are length-prefixed, in
    hex, with the raw previous HMAC last, and one chain.
    """
    fitting = (
        recipe.encoding == LENGTH_PREFIXED
        and recipe.timestamps == "epoch-microseconds"
        and recipe.previous is Previous.RAW_LAST
        and recipe.output is Output.HEX
        and recipe.start == Genesis.ZEROS
        and not recipe.per_tenant
        and set(recipe.fields) <= set(Role)
    )
    if not fitting:
        raise UsageError(
            f"the recipe `{recipe.name}` has no SQL function: it is not length-prefixed in hex, "
            "with raw previous HMAC last, in one chain",
            hint="write rows with `alexandria_backup.audit.writer.append`",
        )
    stored = [
        role
        for role in (Role.ID, *_GIVEN, Role.CREATED_AT, Role.HMAC, Role.PREV_HMAC)
        if role in table.columns
    ]
    text = (files("alexandria_backup.audit") / "append_function.sql").read_text("utf-8")
    return Template(text).substitute(
        function=quote_qualified(table.schema, name),
        table=quote_qualified(table.schema, table.name),
        id=quote_identifier(table.columns[Role.ID]),
        hmac=quote_identifier(table.columns[Role.HMAC]),
        lock=WRITER_LOCK,
        domain=recipe.domain.hex(),
        message=" || ".join(_value(table, field) for field in recipe.fields),
        columns=", ".join(quote_identifier(table.columns[role]) for role in stored),
        values=", ".join(_stored(table, role) for role in stored),
    )


def _value(table: AuditTable, field: str) -> str:
    """Return how a value enters the message."""
    if field == Role.CREATED_AT:
        return _prefixed("((extract(epoch FROM v_created_at) * 1000000)::bigint)::text")
    if table.column(field) is None:
        return _NULL
    # As the server will give it back: `jsonb` rewrites what it is given.
    return _prefixed(_converted(table, field) + "::text")


def _prefixed(text: str) -> str:
    encoded = f"convert_to({text}, 'UTF8')"
    return rf"coalesce('\x01'::bytea || int4send(length({encoded})) || {encoded}, {_NULL})"


def _converted(table: AuditTable, role: str) -> str:
    name = "v_id" if role == Role.ID else f"p_{role}"
    sql_type = table.types.get(role, "text")
    return name if sql_type == "text" else f"({name}::{sql_type})"


def _stored(table: AuditTable, role: str) -> str:
    names = {
        Role.CREATED_AT: "v_created_at",
        Role.HMAC: "encode(v_hmac, 'hex')",
        Role.PREV_HMAC: "encode(v_previous, 'hex')",
    }
    return names.get(Role(role)) or _converted(table, role)
