"""A check tells which journals of runs have gaps, are damaged, or wait for somebody."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from repository_support import Site

from alexandria_backup.repository.checking import check
from alexandria_backup.repository.layout import RUNS

RUN = "restore-20261123T120000Z-abcd"
OTHER = "restore-20261123T120000Z-zzzz"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.snapshot()
    return site


def lines(*phases: str, run: str = RUN) -> list[bytes]:
    written: list[bytes] = []
    for number, phase in enumerate(phases, start=1):
        previous = sha256(written[-1]).hexdigest() if written else None
        line = {"run": run, "seq": number, "previous": previous, "phase": phase}
        written.append(json.dumps(line).encode())
    return written


def kept(site: Site, written: list[bytes], *, without: int | None = None) -> None:
    for number, line in enumerate(written, start=1):
        if number != without:
            site.store.put(f"{RUNS}{RUN}/{number:06}.json", line)


def found(site: Site, *, days: int = 0) -> list[tuple[str, str]]:
    now = datetime.now(UTC) + timedelta(days=days)
    report = check(site.repository(), now=now, deep=False, emit=lambda _: None)
    journals = [finding for finding in report.findings if finding.about.startswith(RUNS)]
    return [(finding.code, finding.about.rpartition("/")[2]) for finding in journals]


def test_a_run_that_is_over_is_nothing_to_tell(site: Site) -> None:
    kept(site, lines("started", "doing", "done", "finished"))
    assert found(site, days=9) == []


def test_a_run_that_stands_still_is_told_of(site: Site) -> None:
    kept(site, lines("started", "doing"))
    assert found(site) == []
    assert found(site, days=2) == [("run-unfinished", "")]


@pytest.mark.parametrize(("missing", "at"), [(1, "000002.json"), (2, "000003.json")])
def test_a_line_that_is_missing_is_told_of(site: Site, missing: int, at: str) -> None:
    kept(site, lines("started", "doing", "finished"), without=missing)
    assert found(site) == [("journal-gap", at)]


def test_a_line_of_another_history_is_told_of(site: Site) -> None:
    written = lines("started", "doing", "finished")
    written[1] = lines("started", "failed")[1]
    kept(site, written)
    assert found(site) == [("journal-damaged", "000003.json")]


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"\xff", lines("started", run=OTHER)[0], lines("a", "finished")[1]]
)
def test_what_is_no_line_of_this_run_is_told_of(site: Site, line: bytes) -> None:
    kept(site, [line])
    assert found(site, days=9) == [("journal-damaged", "000001.json")]
