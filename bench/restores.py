"""Restores: until all is proved, against tools that prove nothing; and how long nobody can work."""

import itertools
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measuring import Child, Result, alternating, faster
from bench.workshop import DATABASE, Workshop

_COPY, _RECIPE, _JOBS = "ours_copy", "recipe_copy", "jobs_copy"
#: The paper runbook: what is there goes first, then all comes back by one session.
_DROP = (
    '"$BIN/psql" -qX -v ON_ERROR_STOP=1 --dbname="$DSN" '
    '-c "SET client_min_messages = warning" -c "DROP SCHEMA public CASCADE" '
    '-c "DROP SCHEMA IF EXISTS alexandria_backup CASCADE" '
    '-c "CREATE SCHEMA public"'
)
_RESTORE = '"$BIN/pg_restore" --exit-on-error --dbname="$DSN" "$DIR/{file}"'
_DUMP = '"$BIN/pg_dump" --format=custom --compress={level} --file="$DIR/{file}" --dbname="$DSN"'
#: Sizes at which the downtime is measured, as shares of the whole: 0.1, 1 and 4 GB of 4.
_SHARES = (1 / 40, 1 / 4, 1)
#: The application stops and starts in no time: what is measured is ours alone.
_NOTHING_TO_STOP = {
    "ALEXANDRIA_APPLICATION__STOP_COMMAND": '["true"]',
    "ALEXANDRIA_APPLICATION__START_COMMAND": '["true"]',
}
#: Each of these runs restores a whole database.
_MOST_RUNS = 3
_STEPS = ("find", "load", "prove")
_MEGABYTE = 1_000_000


def run(workshop: Workshop) -> list[Result]:
    """Measure restores to a proved copy, their memory, and the downtime at several sizes."""
    return [*_to_verified(workshop), *_downtime(workshop)]


def _to_verified(workshop: Workshop) -> list[Result]:
    place = workshop.new_repository("restores")
    workshop.ours("snapshot", "create", "--yes", repository=place)
    workshop.pipe(_DUMP.format(level=9, file="restores.pgdump"))
    # What a second session saves would be lost in decompressing: the best case of theirs.
    workshop.pipe(_DUMP.format(level=0, file="restores-plain.pgdump"))
    workshop.new_database(_RECIPE)
    workshop.pipe(_RESTORE.format(file="restores.pgdump"), name=_RECIPE)
    steps: dict[str, list[float]] = {name: [] for name in _STEPS}

    def restored(*, watch: bool = False) -> Child:
        workshop.drop_database(_COPY)
        arguments = ("restore", "latest", "--to-database", _COPY, "--yes", "--json")
        return workshop.ours(*arguments, repository=place, watch=watch)

    # Apart from the others: to look costs time.
    peaks = restored(watch=True).peaks

    def ours() -> float:
        ended = restored()
        for name, seconds in _seconds_of_steps(ended.output).items():
            steps[name].append(seconds)
        return ended.seconds

    def recipe() -> float:
        command = f"{_DROP} && {_RESTORE.format(file='restores.pgdump')}"
        return workshop.pipe(command, name=_RECIPE).seconds

    def jobs() -> float:
        workshop.new_database(_JOBS)
        file = workshop.folder / "restores-plain.pgdump"
        arguments = ("--exit-on-error", "--jobs=2", file)
        return workshop.stock("pg_restore", *arguments, name=_JOBS).seconds

    seconds = alternating({"ours": ours, "recipe": recipe, "jobs": jobs}, runs=workshop.runs)
    for name in (_COPY, _RECIPE, _JOBS):
        workshop.drop_database(name)
    return [
        faster(
            "restore until all is proved vs the paper recipe, which proves nothing",
            ours=seconds["ours"],
            theirs=seconds["recipe"],
            runs=workshop.runs,
            goal="≥ 1.4 x faster",
        ),
        faster(
            "restore until all is proved vs `pg_restore -j2` of an uncompressed file",
            ours=seconds["ours"],
            theirs=seconds["jobs"],
            runs=workshop.runs,
            goal="≥ 1.15 x faster",
        ),
        *(
            Result(
                name=f"of that: {name}",
                value=statistics.median(steps[name]),
                unit="s",
                runs=workshop.runs,
            )
            for name in _STEPS
        ),
        *(
            Result(
                name=f"memory of a restore: the largest process `{name}`",
                goal="< 200 MB + 2 x the largest row",
                value=peak / _MEGABYTE,
                unit="MB",
            )
            for name, peak in sorted(peaks.items())
        ),
    ]


def _downtime(workshop: Workshop) -> list[Result]:
    runs = min(workshop.runs, _MOST_RUNS)
    results = []
    for share in _SHARES:
        size = workshop.gigabytes * share
        name = DATABASE
        if share != 1:
            name = "smaller"
            workshop.new_database(name, gigabytes=size)
        seconds = alternating(_contenders(workshop, name, size), runs=runs)
        results.append(
            faster(
                f"downtime of a restore, {size:.3g} GB, vs the paper recipe's",
                ours=seconds["ours"],
                theirs=seconds["recipe"],
                runs=runs,
            )
        )
    workshop.drop_database("smaller")
    downtimes = [result.ours_median_s or 0.0 for result in results]
    return [
        *results,
        Result(
            name=f"downtime at {workshop.gigabytes:g} GB, as a multiple of the one at "
            f"{workshop.gigabytes * _SHARES[0]:.3g} GB",
            goal="constant: about 1",
            value=downtimes[-1] / downtimes[0],
            runs=runs,
        ),
    ]


def _contenders(
    workshop: Workshop, name: str, size: float
) -> dict[str, Callable[[], float | None]]:
    """Return a restore over a live database, ours and theirs; each tells its downtime."""
    place = workshop.new_repository(f"downtime{size:.4f}")
    workshop.ours("snapshot", "create", "--yes", repository=place, name=name)
    snapshot = _newest(workshop, place, name)
    workshop.pipe(_DUMP.format(level=9, file="downtime.pgdump"), name=name)
    turns = itertools.count()

    def ours() -> float:
        # The newest one is the safety snapshot of the turn before, or of this very database.
        arguments = ("restore", snapshot, "--yes", "--json", "--reason", f"turn {next(turns)}")
        ended = workshop.ours(*arguments, repository=place, name=name, environ=_NOTHING_TO_STOP)
        summary = _result(ended.output)
        workshop.ours(
            *("run", "accept", summary["run"], "--discard", "--yes"), repository=place, name=name
        )
        return float(summary["downtime_seconds"])

    def recipe() -> float:
        # On paper the application is down from before the drop until the last index is built.
        return workshop.pipe(
            f"{_DROP} && {_RESTORE.format(file='downtime.pgdump')}", name=name
        ).seconds

    return {"ours": ours, "recipe": recipe}


def _newest(workshop: Workshop, place: Path, name: str) -> str:
    listed = workshop.ours("snapshot", "list", "--json", repository=place, name=name)
    return str(_result(listed.output)[-1]["id"])


def _events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def _result(output: str) -> Any:  # noqa: ANN401 - whatever the command documents
    return next(event["result"] for event in _events(output) if event["event"] == "result")


def _seconds_of_steps(output: str) -> dict[str, float]:
    return {
        event["step"]: event["seconds"]
        for event in _events(output)
        if event["event"] == "step_finished" and event["step"] in _STEPS
    }
