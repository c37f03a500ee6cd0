"""Names that are no text: a database of encoding SQL_ASCII takes any bytes for one."""

from dataclasses import dataclass

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load

_RENAME = {
    "schema": "format('alter schema %I rename to new_name', {name})",
    "relation": "format('alter table %s rename to new_name', {oid}::regclass)",
    "column": "format('alter table %s rename column %I to new_name', {oid}::regclass, {name})",
}


@dataclass(frozen=True, kw_only=True)
class NameWithoutText:
    """A name that is no UTF-8, and so can be in no manifest."""

    #: `schema`, `relation` or `column`.
    kind: str
    #: Its bytes, those that are no text written as `\\xfc`.
    shown: str
    #: The statement that gives it another name, without writing it.
    rename: str


def names_without_text(session: Session) -> tuple[NameWithoutText, ...]:
    """Return the names of schemas, relations and columns that are no UTF-8."""
    if session.value("SHOW server_encoding") != "SQL_ASCII":
        return ()
    found = [(kind, oid, bytes(name)) for kind, oid, name in session.all(load("names")["names"])]
    return tuple(
        NameWithoutText(
            kind=kind,
            shown=name.decode("utf-8", errors="backslashreplace"),
            rename=_statement(kind, oid, name),
        )
        for kind, oid, name in found
        if not _is_text(name)
    )


def _is_text(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _statement(kind: str, oid: int, name: bytes) -> str:
    written = f"convert_from('\\x{name.hex()}', 'SQL_ASCII')"
    rename = _RENAME[kind].format(oid=oid, name=written)
    return f"do $do$ begin execute {rename}; end $do$"
