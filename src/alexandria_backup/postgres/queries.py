"""Named queries: the SQL of this room stands in `sql/*.sql`, not between lines of Python."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: ([a-z0-9_]+)[ \t]*$", re.MULTILINE)


@cache
def load(file: str) -> Mapping[str, str]:
    """Return the queries of `sql/<file>.sql` by name.

    A query begins after a line `-- name: its_name` and ends before the next such line. Parameters
    are psycopg's: `%s`, and then a literal percent sign is `%%`.
    """
    text = (files("alexandria_backup.postgres") / "sql" / f"{file}.sql").read_text("utf-8")
    parts = _NAME.split(text)
    return MappingProxyType(
        {name: query.strip() for name, query in zip(parts[1::2], parts[2::2], strict=True)}
    )
