"""The oracle of a restore: rows and schema are what they were before the damage."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from site_support import Ended, Site


@dataclass(frozen=True, kw_only=True)
class Good:
    """A database as it was when all was well."""

    site: Site
    #: Tables whose rows may lie elsewhere after a restore, such as the partitions of a hash.
    moving: tuple[str, ...] = ()
    rows: dict[str, str] = field(init=False)
    schema: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", self._rows(self.site.database))
        object.__setattr__(self, "schema", self.site.schema_text())

    def assert_back(self, database: str | None = None) -> None:
        """Assert that a database, by default the site's, is as it was."""
        assert self._rows(database or self.site.database) == self.rows
        assert self.site.schema_text(database) == self.schema

    def _rows(self, database: str) -> dict[str, str]:
        found = self.site.fingerprint(database)
        # Each snapshot leaves a row there, in the database that it was taken of.
        left_out = {*self.moving, "alexandria_backup.markers"}
        return {label: rows for label, rows in found.items() if label not in left_out}


def keep_in_frames(site: Site, *, pages: int = 2) -> Site:
    """Make the site's place a repository that has no table in the base archive."""
    site.make_repository()
    with site.config.open("a", encoding="utf-8") as config:
        config.write(f"[snapshot]\nframed_above = 0\nframe_pages = {pages}\n")
    return site


def wreck(site: Site) -> None:
    """Lose a table, the rows of another, and the truth of a third."""
    site.sql("DROP TABLE playlist_track")
    site.sql("DELETE FROM invoice_line")
    site.sql("UPDATE customer SET email = 'gone'")


def brought_back(
    site: Site,
    archive: Path | str,
    *options: str,
    code: int = 0,
    damage: Callable[[Site], object] = wreck,
    good: Good | None = None,
) -> Ended:
    """Damage the site, restore an archive of it, and assert that it is as it was."""
    good = good or Good(site=site)
    damage(site)
    assert site.fingerprint() != good.rows
    ended = site.run("restore", str(archive), "--yes", *options)
    assert ended.returncode == code, ended.stderr
    good.assert_back()
    return ended


def snapshot(site: Site) -> None:
    """Take a snapshot into the site's repository."""
    taken = site.run("snapshot", "create")
    assert taken.returncode in {0, 3}, taken.stderr
