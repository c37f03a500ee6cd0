"""The table for people, `results.json` for machines, and the page in the documentation."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from bench.measuring import Result
from bench.workshop import Workshop

_HERE = Path(__file__).parent
_PAGE = _HERE.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


def show(results: Sequence[Result]) -> None:
    """Print one table."""
    print("\n".join(_table(results)), end="\n\n", flush=True)


def conditions(workshop: Workshop) -> str:
    """Return machine, versions and size, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    server = workshop.stock("psql", "-Atc", "SHOW server_version").output.strip()
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {platform.system()}, "
        f"Python {platform.python_version()}, PostgreSQL {server} on the same machine, "
        f"Alexandria Backup {version('alexandria-backup')}; "
        f"{workshop.gigabytes:g} GB of COPY text, medians of {workshop.runs} alternating runs"
    )


def write(results: Sequence[Result], conditions: str, *, docs: bool) -> None:
    """Write `bench/results.json` and, if asked, the table in `docs/benchmarks.md`."""
    document = [asdict(result) for result in results]
    (_HERE / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if docs:
        page = _PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(_BEGIN)
        _, _, after = rest.partition(_END)
        lines = [_BEGIN, "", f"Measured on {conditions}.", "", *_table(results), "", _END]
        _PAGE.write_text(before + "\n".join(lines) + after, encoding="utf-8")


def _table(results: Sequence[Result]) -> list[str]:
    return [
        "| what | goal | measured | ours | theirs |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {_cell(result.name)} | {result.goal or '–'} | {result.shown} | "
            f"{_seconds(result.ours_median_s)} | {_seconds(result.theirs_median_s)} |"
            for result in results
        ),
    ]


def _cell(text: str) -> str:
    """A bar ends a cell, also within backticks."""
    return text.replace("|", r"\|")


def _seconds(seconds: float | None) -> str:
    return f"{seconds:.2f} s" if seconds is not None else ""
