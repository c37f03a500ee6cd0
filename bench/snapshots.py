"""Snapshots: all of a database, then what has changed, against the paper recipe and a fast pipe."""

import itertools
from pathlib import Path

from bench import database, hard_snapshots
from bench.hard_snapshots import RECIPE
from bench.measuring import Result, alternating, faster
from bench.workshop import Workshop, size_of

_PIPE = '"$BIN/pg_dump" --format=custom --compress=0 --dbname="$DSN" | zstd -q -T0 -1 > "$DIR/pipe"'


def run(workshop: Workshop) -> list[Result]:
    """Measure full and second snapshots, their sizes and their memory; then the hard cases."""
    return [*_full(workshop), *_second(workshop), *hard_snapshots.run(workshop)]


def _full(workshop: Workshop) -> list[Result]:
    numbers = itertools.count()
    places: list[Path] = []

    def ours() -> float:
        place = workshop.new_repository(f"full{next(numbers)}")
        places.append(place)
        return workshop.ours("snapshot", "create", "--yes", repository=place).seconds

    seconds = alternating(
        {
            "ours": ours,
            "recipe": lambda: workshop.pipe(RECIPE).seconds,
            "pipe": lambda: workshop.pipe(_PIPE).seconds,
        },
        runs=workshop.runs,
    )
    stored, recipe = size_of(places[-1]), size_of(workshop.folder / "recipe.pgdump")
    return [
        faster(
            "full snapshot vs the paper recipe",
            ours=seconds["ours"],
            theirs=seconds["recipe"],
            runs=workshop.runs,
            goal="≥ 6 x faster",
        ),
        faster(
            "full snapshot vs `pg_dump -Z0 | zstd -T0 -1`",
            ours=seconds["ours"],
            theirs=seconds["pipe"],
            runs=workshop.runs,
            goal="≥ 1.3 x faster",
        ),
        Result(
            name="stored bytes of a full snapshot, as a share of the recipe's",
            goal="≤ 1",
            value=stored / recipe,
        ),
    ]


def _second(workshop: Workshop) -> list[Result]:
    place = workshop.new_repository("second")
    workshop.ours("snapshot", "create", "--yes", repository=place)
    turns = itertools.count(1)
    grown: list[int] = []

    def ours() -> float:
        turn = next(turns)
        with workshop.session() as session:
            rows = session.value("SELECT count(*) FROM public.audit_logs")
            database.append_audit(session, count=rows // 400, already=rows)
            last = session.value("SELECT max(id) FROM public.messages")
            database.add_messages(session, first=last + 1, count=last // 400)
            database.change_a_few_places(session, share=0.002, turn=turn)
        before = size_of(place)
        seconds = workshop.ours("snapshot", "create", "--yes", repository=place).seconds
        grown.append(size_of(place) - before)
        return seconds

    seconds = alternating(
        {"ours": ours, "recipe": lambda: workshop.pipe(RECIPE).seconds}, runs=workshop.runs
    )
    return [
        faster(
            "second snapshot, under 1 % appended or changed, vs the paper recipe",
            ours=seconds["ours"],
            theirs=seconds["recipe"],
            runs=workshop.runs,
            goal="≥ 30 x faster",
        ),
        Result(
            name="stored bytes of a second snapshot, as a share of the recipe's",
            goal="≤ 0.03",
            value=sorted(grown)[len(grown) // 2] / size_of(workshop.folder / "recipe.pgdump"),
        ),
    ]
