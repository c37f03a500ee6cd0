"""What a schema may hold, by name: each in schema `shop`, dropped before a restore."""

from pathlib import Path

import psycopg
from site_support import Site


def _shapes() -> dict[str, str]:
    text = Path(__file__).with_name("shapes.sql").read_text(encoding="utf-8")
    sections = (section.partition("\n") for section in text.split("-- shape: ")[1:])
    return {name.strip(): script for name, _, script in sections}


SHAPES = _shapes()
#: Their rows may lie in another partition after a restore.
HASHED = ("shop.by_mood_0", "shop.by_mood_1", "shop.by_mood_2")


def create_shapes(site: Site, *scripts: str) -> None:
    conninfo = site.server.conninfo(site.database).reveal()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA shop")
        for script in scripts:
            connection.execute(script)


def drop_shapes(site: Site) -> None:
    site.sql("DROP SCHEMA shop CASCADE")
    site.sql("DELETE FROM playlist_track")
