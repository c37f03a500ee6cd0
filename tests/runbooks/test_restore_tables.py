"""Some tables of a snapshot in a database of their own: whole, and nothing beside them."""

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest
from oracle_support import keep_in_frames, snapshot
from shapes_support import SHAPES, create_shapes
from site_support import Ended, Site

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.storage.local import LocalStore

TABLES = (
    "SELECT schemaname || '.' || tablename FROM pg_tables "
    "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
)
CONSTRAINTS = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass ORDER BY 1"
INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = %s ORDER BY 1"


NEEDS = """
CREATE SCHEMA needs;
CREATE TYPE needs.kind AS ENUM ('a', 'b');
CREATE DOMAIN needs.positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE needs.own_numbers START 700;
CREATE SEQUENCE needs.strangers START 900;
CREATE FUNCTION needs.next_kind() RETURNS needs.kind LANGUAGE sql AS $$ SELECT 'b'::needs.kind $$;
CREATE FUNCTION needs.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TABLE needs.form (x int, y text);
INSERT INTO needs.form VALUES (1, 'stays behind');
CREATE TABLE needs.most (
    id serial PRIMARY KEY, number bigint DEFAULT nextval('needs.own_numbers'),
    kind needs.kind DEFAULT needs.next_kind(), p needs.positive, shape needs.form,
    place public.vector(2), artist int REFERENCES public.artist, parent int REFERENCES needs.most);
CREATE INDEX near ON needs.most USING hnsw (place public.vector_l2_ops);
CREATE TRIGGER touched BEFORE UPDATE ON needs.most FOR EACH ROW EXECUTE FUNCTION needs.touch();
CREATE POLICY known ON needs.most USING (artist IN (SELECT artist_id FROM public.artist));
CREATE POLICY own ON needs.most USING (id > 0);
COMMENT ON INDEX needs.near IS 'of places';
COMMENT ON COLUMN needs.most.kind IS 'its kind';
CREATE VIEW needs.seen AS SELECT id FROM needs.most;
INSERT INTO needs.most (p, shape, place, artist)
    SELECT i, (i, 'x')::needs.form, ARRAY[i, 0]::public.vector, 1 + mod(i, 20)
    FROM generate_series(1, 90) i;
SELECT nextval('needs.own_numbers')
"""


@pytest.fixture(params=["files", "repository"])
def kept(site: Site, request: pytest.FixtureRequest) -> Site:
    """A site that keeps files, or a repository with each table in frames of its own."""
    return keep_in_frames(site) if request.param == "repository" else site


@pytest.fixture
def copy(site: Site) -> str:
    return f"{site.database}_copy"


def restored(site: Site, copy: str, *tables: str, archive: str = "latest") -> Ended:
    """Restore these tables into a database beside the live one, and expect no warning."""
    options = [word for table in tables for word in ("--table", table)]
    ended = site.run("restore", archive, "--to-database", copy, *options, "--yes")
    assert ended.returncode == 0, ended.stderr
    return ended


def test_one_table_comes_with_its_rows_indexes_and_constraints(kept: Site, copy: str) -> None:
    snapshot(kept)
    good = kept.fingerprint()
    indexes = kept.sql(INDEXES, "track")
    kept.sql("DELETE FROM playlist_track")
    kept.sql("DELETE FROM invoice_line")
    kept.sql("DELETE FROM track")

    ended = restored(kept, copy, "public.track")

    assert kept.fingerprint(copy) == {"public.track": good["public.track"]}
    assert kept.sql(INDEXES, "track", database=copy) == indexes
    assert ("track_pkey",) in kept.sql(CONSTRAINTS, "track", database=copy)
    assert "left out  foreign key `track_album_id_fkey` of `public.track`" in ended.stdout
    assert "proved    1 tables" in ended.stdout
    assert kept.value("SELECT count(*) FROM track") == 0


def test_foreign_keys_among_the_tables_that_are_restored_stay(kept: Site, copy: str) -> None:
    snapshot(kept)
    ended = restored(kept, copy, "album", "artist")
    assert kept.sql(TABLES, database=copy) == [("public.album",), ("public.artist",)]
    assert ("album_artist_id_fkey",) in kept.sql(CONSTRAINTS, "album", database=copy)
    assert "left out" not in ended.stdout


@pytest.fixture
def awkward(
    request: pytest.FixtureRequest, new_site: Callable[..., Site], server: EmbeddedServer
) -> Iterator[Site]:
    """A site with tables that need something of every kind, on each version."""
    site = new_site(server)
    site.sql("CREATE EXTENSION vector")
    create_shapes(site, *(SHAPES[name] for name in ("partitions", "columns", "rules", "functions")))
    site.sql(NEEDS)
    return site


def test_what_a_table_needs_is_created_and_nothing_else(awkward: Site) -> None:
    site, copy = keep_in_frames(awkward), f"{awkward.database}_copy"
    snapshot(site)
    good = site.fingerprint()

    ended = restored(site, copy, "needs.most")

    rows = site.fingerprint(copy)
    assert rows.pop("needs.form") == "0:0"
    assert rows == {"needs.most": good["needs.most"]}
    assert "empty     `needs.form`" in ended.stdout
    for left in ("foreign key `most_artist_fkey`", "policy `known`"):
        assert f"left out  {left} of `needs.most`" in ended.stdout
    names = {name for (name,) in site.sql(CONSTRAINTS, "needs.most", database=copy)}
    assert {"most_pkey", "most_parent_fkey"} <= names
    assert "most_artist_fkey" not in names
    assert site.sql("SELECT polname FROM pg_policy", database=copy) == [("own",)]
    assert site.value("SELECT obj_description('needs.near'::regclass)", database=copy)
    # Sequences go on where they were, and a new row gets its defaults.
    sequences = "SELECT sequencename FROM pg_sequences ORDER BY 1"
    assert site.sql(sequences, database=copy) == [("most_id_seq",), ("own_numbers",)]
    inserted = "INSERT INTO needs.most (p) VALUES (1) RETURNING id, number, kind::text"
    assert site.sql(inserted, database=copy) == site.sql(inserted)
    with pytest.raises(psycopg.errors.CheckViolation):
        site.sql("INSERT INTO needs.most (p) VALUES (-1)", database=copy)
    views = "SELECT count(*) FROM pg_views WHERE schemaname = 'needs'"
    assert site.value(views, database=copy) == 0


def test_partitions_come_with_their_root_and_alone(awkward: Site) -> None:
    site, copy = awkward, f"{awkward.database}_copy"
    site.dump("all.pgdump")
    good = site.fingerprint()
    restored(site, copy, "shop.sale", archive=str(site.folder / "all.pgdump"))
    names = ("sale", "sale_old", "sale_new", "sale_new_even", "sale_new_rest")
    assert site.fingerprint(copy) == {f"shop.{name}": good[f"shop.{name}"] for name in names}
    alone = f"{copy}_2"
    restored(site, alone, "sale_old", archive=str(site.folder / "all.pgdump"))
    assert site.fingerprint(alone) == {"shop.sale_old": good["shop.sale_old"]}


def test_every_table_by_itself_is_what_it_was(awkward: Site) -> None:
    site = awkward
    archive = site.dump("all.pgdump")
    good = site.fingerprint()
    for number, table in enumerate(("shop.cols", "shop.refers", "shop.watched", "shop.secret")):
        copy = f"{site.database}_{number}"
        restored(site, copy, table, archive=str(archive))
        assert site.fingerprint(copy) == {table: good[table]}
    identities = "SELECT count(*) FROM pg_attribute WHERE attidentity <> ''"
    assert site.value(identities, database=f"{site.database}_0") == 2


def test_frames_of_other_tables_are_not_read(
    site: Site, copy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_frames(site)
    snapshot(site)
    manifest = json.loads(site.run("snapshot", "show", "latest", "--json").stdout)["result"]
    frames = {t["name"]: t["framed"]["frames"] for t in manifest["tables"]}
    objects = {
        name: {part["object"] for frame in found for part in frame["parts"]}
        for name, found in frames.items()
    }
    read: set[str] = set()
    chunks = LocalStore.read

    def noted(store: LocalStore, name: str, start: int = 0) -> Iterator[bytes]:
        read.add(name.rpartition("/")[2])
        return chunks(store, name, start)

    monkeypatch.setattr(LocalStore, "read", noted)
    restored(site, copy, "track", "genre")
    monkeypatch.undo()
    fetched = {name for name, found in objects.items() if any(o in read for o in found)}
    assert fetched == {"track", "genre"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--table", "trak"), "no table `trak`; the nearest is `public.track`"),
        (("--table", "public.playlist_trck"), "the nearest is `public.playlist_track`"),
        (("--table", "zzzzzzzz"), "the archive has no table `zzzzzzzz`"),
        (("--table", "It's"), "hint: --table 'public.It'\"'\"'s 100%'"),
        (("--table", "busy"), "`public.busy` is a view, and only tables have rows to restore"),
        (("--table", "busy"), "hint: --table public.genre --table public.track"),
        (("--table", '"public"."counted"'), "`public.counted` is a materialized view"),
        (("--table", "twice"), "`twice` may be any of `other.twice`, `public.twice`"),
    ],
)
def test_a_table_that_is_not_there_is_refused(
    site: Site, copy: str, options: tuple[str, ...], said: str
) -> None:
    site.sql("CREATE SCHEMA other; CREATE TABLE other.twice (a int); CREATE TABLE twice (a int)")
    site.sql('CREATE TABLE "It\'s 100%%" (a int)')
    site.sql("CREATE VIEW of_genres AS SELECT genre_id AS g FROM genre")
    site.sql("CREATE VIEW busy AS SELECT * FROM of_genres JOIN track ON g = genre_id")
    site.sql("CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM track")
    archive = site.dump()
    ended = site.run("restore", str(archive), "--to-database", copy, *options, "--yes")
    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr
    assert copy not in site.databases()


def test_tables_alone_never_take_the_place_of_the_live_database(site: Site) -> None:
    ended = site.run("restore", "latest", "--table", "track", "--yes")
    assert ended.returncode == 2
    assert "hint: add `--to-database NAME`" in ended.stderr


def test_rows_that_are_loaded_through_another_table_are_refused(site: Site, copy: str) -> None:
    create_shapes(site, SHAPES["hash_on_enum"])
    archive = site.dump(options=("-Fc", "--load-via-partition-root"))
    arguments = ("restore", str(archive), "--to-database", copy, "--yes", "--table")
    ended = site.run(*arguments, "by_mood_0")
    assert ended.returncode == 2
    assert "hint: --table shop.by_mood" in ended.stderr
    assert site.run(*arguments, "by_mood").returncode == 0
    assert site.value("SELECT count(*) FROM shop.by_mood", database=copy) == 500


@pytest.mark.parametrize(
    "name", ['public."My ""own"" Table"', '"My ""own"" Table"', "PUBLIC.GENRE"]
)
def test_names_may_be_written_as_in_sql(site: Site, copy: str, name: str) -> None:
    site.sql('CREATE TABLE "My ""own"" Table" AS SELECT 7 AS a')
    archive = site.dump()
    ended = site.run("restore", str(archive), "--to-database", copy, "--yes", "--table", name)
    assert ended.returncode == 0, ended.stderr
    table = name.lower() if "GENRE" in name else '"My ""own"" Table"'
    assert site.value(f"SELECT count(*) > 0 FROM {table}", database=copy)


def test_a_function_that_reads_what_is_left_out_is_told_with_the_table_to_add(
    site: Site, copy: str
) -> None:
    site.sql(
        "CREATE FUNCTION known(g int) RETURNS bool LANGUAGE plpgsql AS "
        "'BEGIN RETURN EXISTS (SELECT FROM public.genre WHERE genre_id = g); END'"
    )
    # By its name it comes after `genre`: pg_dump knows nothing of what a function reads.
    site.sql("CREATE TABLE heard (g int CHECK (public.known(g))); INSERT INTO heard VALUES (1)")
    archive = site.dump()
    arguments = ("restore", str(archive), "--to-database", copy, "--yes", "--jobs=1")
    ended = site.run(*arguments, "--table", "heard")
    assert ended.returncode == 40, ended.stderr
    assert "--table public.genre   # too" in ended.stderr
    again = site.run(*arguments, "--table", "heard", "--table", "public.genre")
    assert again.returncode == 0, again.stderr
