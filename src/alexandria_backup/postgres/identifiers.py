"""Names and texts as SQL: exact quoting, and names that fit PostgreSQL's limit."""

from hashlib import sha256

from alexandria_backup.errors import UsageError

#: The longest name, in bytes: NAMEDATALEN - 1. The server cuts longer ones without an error.
NAME_LIMIT = 63
_DIGEST_LENGTH = 8


def quote_identifier(name: str) -> str:
    """Return `name` as an SQL identifier, always in double quotes.

    Raises UsageError for a name that cannot be: empty, or with a NUL character.
    """
    if not name:
        raise UsageError("a name is empty")
    return '"' + _without_nul(name).replace('"', '""') + '"'


def quote_qualified(schema: str, name: str) -> str:
    """Return `schema.name` as SQL, both parts quoted."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def quote_grantee(grantee: str | None) -> str:
    """Return a role as GRANT and REVOKE name it; None is PUBLIC."""
    return "PUBLIC" if grantee is None else quote_identifier(grantee)


def quote_literal(text: str) -> str:
    """Return `text` as an SQL string, right whatever `standard_conforming_strings` says.

    Raises UsageError for a text with a NUL character, which PostgreSQL cannot hold.
    """
    doubled = _without_nul(text).replace("'", "''")
    if "\\" not in doubled:
        return f"'{doubled}'"
    # The space keeps a preceding word from growing into `…E'`, as in libpq's PQescapeLiteral.
    return " E'" + doubled.replace("\\", "\\\\") + "'"


def fits(name: str) -> bool:
    """Tell whether the server keeps `name` whole as the name of a database."""
    return 0 < len(name.encode()) <= NAME_LIMIT


def fit_name(base: str, suffix: str) -> str:
    """Return `base + suffix` in at most 63 bytes of UTF-8.

    Where it is too long, `base` is cut between two characters and a short digest of all of `base`
    is put between, so that two long names with the same beginning stay two names. Raises
    UsageError where the suffix alone leaves no room.
    """
    if fits(base + suffix):
        return base + suffix
    digest = "_" + sha256(base.encode()).hexdigest()[:_DIGEST_LENGTH]
    room = NAME_LIMIT - len(digest) - len(suffix.encode())
    if room < 1:
        raise UsageError(f"the suffix `{suffix}` leaves no room for a name")
    return base.encode()[:room].decode(errors="ignore") + digest + suffix


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise UsageError("a name or text holds a NUL character")
    return text
