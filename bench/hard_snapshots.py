"""Snapshots where page ranges help little, their memory, and how cost grows with size.

What has no goal is printed all the same: nobody should have to find it out by themselves.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

from bench import database
from bench.measuring import Result, alternating, faster
from bench.workshop import DATABASE, Workshop

RECIPE = '"$BIN/pg_dump" --format=custom --compress=9 --file="$DIR/recipe.pgdump" --dbname="$DSN"'
_OBJECTS, _TABLES, _ROW, _SIZED = "large_objects", "small_tables", "one_row", "sized"
#: Each of these runs copies a database twice.
_MOST_RUNS = 3
_MEGABYTE = 1_000_000
_ROW_MEGABYTES = 300
#: Sizes at which a full snapshot is measured, as shares of the whole: 0.5, 1 and 4 GB of 4.
_SHARES = (1 / 8, 1 / 4)


def run(workshop: Workshop) -> list[Result]:
    """Measure all of it; what is changed in the seeded database is changed last."""
    return [
        *_memory(workshop),
        *_growth(workshop),
        *_special(workshop, _OBJECTS, _fill_objects, "a tenth of it in large objects"),
        *_special(workshop, _TABLES, _fill_tables, "2,000 small tables"),
        *_at_random(workshop),
    ]


def _memory(workshop: Workshop) -> list[Result]:
    workshop.new_database(_ROW)
    with workshop.session(_ROW) as session:
        session.execute("CREATE TABLE public.rows (id int, content text)")
        session.execute(
            "INSERT INTO public.rows SELECT 1, string_agg(md5(i::text), '') "
            "FROM generate_series(1, %s) AS i",
            [_ROW_MEGABYTES * _MEGABYTE // 32],
        )
        # More than what threads of one process read.
        session.execute(
            "INSERT INTO public.rows SELECT i, repeat(md5(i::text), 20) "
            "FROM generate_series(1, 200000) AS i"
        )
    results = []
    for name, most in ((DATABASE, 200), (_ROW, 200 + 2 * _ROW_MEGABYTES)):
        place = workshop.new_repository("memory")
        peaks = workshop.ours(
            "snapshot", "create", "--yes", repository=place, name=name, watch=True
        ).peaks
        what = "" if name == DATABASE else f" with a row of {_ROW_MEGABYTES} MB"
        results.append(
            Result(
                name=f"memory of a full snapshot{what}: the largest process",
                goal=f"< {most} MB",
                value=max(peaks.values()) / _MEGABYTE,
                unit="MB",
            )
        )
    workshop.drop_database(_ROW)
    return results


def _growth(workshop: Workshop) -> list[Result]:
    """Compare seconds per gigabyte: 1 is a cost in proportion, less pays for each start."""
    runs = min(workshop.runs, _MOST_RUNS)
    whole = _full_seconds(workshop, DATABASE, runs) / workshop.gigabytes
    results = []
    for share in _SHARES:
        size = workshop.gigabytes * share
        workshop.new_database(_SIZED, gigabytes=size)
        seconds = _full_seconds(workshop, _SIZED, runs)
        results.append(
            Result(
                name=f"seconds for each GB of a full snapshot: {workshop.gigabytes:g} GB "
                f"against {size:g} GB",
                value=whole / (seconds / size),
                unit="x",
                ours_median_s=seconds,
                runs=runs,
            )
        )
    workshop.drop_database(_SIZED)
    return results


def _full_seconds(workshop: Workshop, name: str, runs: int) -> float:
    def ours() -> float:
        place = workshop.new_repository("growth")
        return workshop.ours("snapshot", "create", "--yes", repository=place, name=name).seconds

    return alternating({"ours": ours}, runs=runs)["ours"]


def _special(
    workshop: Workshop, name: str, fill: Callable[[Workshop], None], what: str
) -> list[Result]:
    """Measure a first and a second snapshot of a database of another shape."""
    runs = min(workshop.runs, _MOST_RUNS)
    workshop.new_database(name)
    fill(workshop)
    place = workshop.folder

    def first() -> float:
        nonlocal place
        place = workshop.new_repository(name)
        return _ours(workshop, place, name)

    def recipe() -> float:
        return workshop.pipe(RECIPE, name=name).seconds

    seconds = alternating({"ours": first, "recipe": recipe}, runs=runs)
    again = alternating({"ours": lambda: _ours(workshop, place, name)}, runs=runs)
    workshop.drop_database(name)
    return [
        faster(
            f"{number} snapshot, {what}, vs the paper recipe",
            ours=ours,
            theirs=seconds["recipe"],
            runs=runs,
        )
        for number, ours in (("full", seconds["ours"]), ("second", again["ours"]))
    ]


def _ours(workshop: Workshop, place: Path, name: str) -> float:
    return workshop.ours("snapshot", "create", "--yes", repository=place, name=name).seconds


def _fill_objects(workshop: Workshop) -> None:
    number = max(1, round(workshop.gigabytes * 1e9 * 0.1 / 100_000))
    with workshop.session(_OBJECTS) as session:
        session.execute(
            "SELECT count(lo_from_bytea(0, convert_to(string_agg(md5(i::text), ''), 'UTF8'))) "
            "OVER () FROM generate_series(1, %s::bigint * 3125) AS i GROUP BY i / 3125",
            [number],
        )


def _fill_tables(workshop: Workshop) -> None:
    with workshop.session(_TABLES) as session:
        session.execute(
            "DO $$BEGIN FOR i IN 1..2000 LOOP EXECUTE format('CREATE TABLE public.t%s (id int "
            "PRIMARY KEY, body text)', i); EXECUTE format('INSERT INTO public.t%s SELECT n, "
            "md5(n::text) FROM generate_series(1, 20) AS n', i); END LOOP; END$$"
        )


def _at_random(workshop: Workshop) -> list[Result]:
    """Measure what no page range helps with: rows changed all over a table."""
    place = workshop.new_repository("hard")
    workshop.ours("snapshot", "create", "--yes", repository=place)
    turns = itertools.count(1)

    def ours() -> float:
        with workshop.session() as session:
            database.change_at_random(session, share=0.01, turn=next(turns))
        return _ours(workshop, place, DATABASE)

    seconds = alternating(
        {"ours": ours, "recipe": lambda: workshop.pipe(RECIPE).seconds}, runs=workshop.runs
    )
    return [
        faster(
            "second snapshot, 1 % of the rows of a table changed at random, vs the paper recipe",
            ours=seconds["ours"],
            theirs=seconds["recipe"],
            runs=workshop.runs,
        )
    ]
