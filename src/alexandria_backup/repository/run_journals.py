"""What a check finds in the journals of runs, as far as a repository understands them.

What a line means is its runbook's. Here it is asked whether the lines of a run follow each other:
each carries its number, and the digest of the line before it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from alexandria_backup.errors import RepositoryInvalid, StorageError
from alexandria_backup.repository.fetching import fetch_all
from alexandria_backup.repository.findings import RepositoryFinding, Severity
from alexandria_backup.repository.layout import Kind, parse
from alexandria_backup.storage.store import ObjectInfo, ObjectStore

#: A line carries the state of its run: lists of tables and the like.
_LARGEST_BYTES: Final = 64 * 1024 * 1024
#: How long a run may stand still before it is told of.
_STILL: Final = timedelta(days=1)
_OVER: Final = {"finished", "aborted"}


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line of a journal, or what is wrong with it."""

    name: str
    modified: datetime
    number: int
    sha256: str = ""
    previous: str | None = None
    over: bool = False
    problem: str | None = None


def journal_findings(
    store: ObjectStore, infos: Sequence[ObjectInfo], now: datetime
) -> Iterator[RepositoryFinding]:
    """Read all journals among `infos`; raises StorageError where the store cannot be reached."""
    journals = [info for info in infos if parse(info.name).kind is Kind.JOURNAL]
    runs: dict[str, list[_Line]] = {}
    for info, data in fetch_all(store, journals, largest=_LARGEST_BYTES):
        runs.setdefault(parse(info.name).key, []).append(_line(info, data))
    for run, lines in sorted(runs.items()):
        yield from _of_run(run, sorted(lines, key=lambda line: line.number), now)


def _of_run(run: str, lines: Sequence[_Line], now: datetime) -> Iterator[RepositoryFinding]:
    bad = [line for line in lines if line.problem is not None]
    for line in bad:
        yield _finding(Severity.WARNING, "journal-damaged", line.name, line.problem or "")
    before: _Line | None = None
    for line in lines:
        follows = before is not None and line.number == before.number + 1
        if before is None or not follows:
            if line.number != (before.number + 1 if before else 1):
                # A store that failed for a moment has missed it; the machine of the run has it.
                yield _finding(
                    Severity.NOTE, "journal-gap", line.name, "a line before it is not there"
                )
        elif not (line.problem or before.problem) and line.previous != before.sha256:
            message = "it does not follow the line before it: two histories, or one was altered"
            yield _finding(Severity.WARNING, "journal-damaged", line.name, message)
        before = line
    if before is not None and not before.problem and not before.over:
        age = now - before.modified
        if age > _STILL:
            message = f"it has stood still for {age.days} days: `alexandria run show {run}`"
            yield _finding(Severity.NOTE, "run-unfinished", f"runs/{run}/", message)


def _line(info: ObjectInfo, data: bytes | StorageError | RepositoryInvalid) -> _Line:
    number = int(info.name[-len("000001.json") : -len(".json")])
    if not isinstance(data, bytes):
        return _Line(name=info.name, modified=info.modified, number=number, problem=data.message)
    try:
        document = json.loads(data)
        said = (document["run"], document["seq"])
        previous, phase = document["previous"], document["phase"]
    except (ValueError, KeyError, TypeError):
        problem: str | None = "it is no line of a journal"
        return _Line(name=info.name, modified=info.modified, number=number, problem=problem)
    expected = (parse(info.name).key, number)
    return _Line(
        name=info.name,
        modified=info.modified,
        number=number,
        sha256=sha256(data).hexdigest(),
        previous=previous,
        over=phase in _OVER,
        problem=None if said == expected else "it is a line of another run, or another line",
    )


def _finding(severity: Severity, code: str, about: str, message: str) -> RepositoryFinding:
    return RepositoryFinding(severity=severity, code=code, about=about, message=message)
