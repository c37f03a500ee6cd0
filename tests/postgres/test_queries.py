"""Named queries are found by name, and each one names its schemas."""

import re
from importlib.resources import files

import pytest

from alexandria_backup.postgres.queries import load

FILES = sorted(
    entry.name.removesuffix(".sql")
    for entry in (files("alexandria_backup.postgres") / "sql").iterdir()
)


@pytest.mark.parametrize("file", FILES)
def test_every_table_is_qualified(file: str) -> None:
    queries = load(file)
    assert queries
    for name, query in queries.items():
        assert query, name
        named = set(re.findall(r"\b(\w+)(?: \([\w, ]+\))? AS \(", query))
        sources = re.findall(r"\b(?:FROM|JOIN) +(?!LATERAL|\()(\S+)", query)
        assert not [source for source in sources if "." not in source and source not in named], name
