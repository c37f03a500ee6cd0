"""A server whose clock was wrong for a while: nothing is lost, and the newest stays the newest."""

from dataclasses import replace
from datetime import timedelta

import pytest
from repository_snapshot_support import results, snapshots, taken
from site_support import Site

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.server import ServerFacts, server_facts


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    def facts(session: Session) -> ServerFacts:
        found = server_facts(session)
        return replace(found, now=found.now + ahead)

    monkeypatch.setattr("alexandria_backup.runbooks.repository_snapshot.server_facts", facts)


def test_a_snapshot_after_one_that_was_dated_years_ahead_is_the_newest(
    saver: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken(saver)
    set_clock(monkeypatch, timedelta(days=400))
    ahead = taken(saver)
    monkeypatch.undo()
    third = taken(saver, code=3)
    # What it takes over from is the newest there is, whatever that says of its time.
    assert third["reference"] == ahead["snapshot"]
    assert third["frames_taken"] > 0
    assert "stood later" in third["warnings"][0]
    fourth = taken(saver)
    assert fourth["reference"] == third["snapshot"]
    shown = results(saver.run("snapshot", "show", "latest", "--json"))
    assert fourth["snapshot"] in str(shown)


def test_a_snapshot_of_a_clock_that_went_back_takes_over_and_says_so(
    saver: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = taken(saver)
    set_clock(monkeypatch, -timedelta(days=400))
    second = taken(saver, code=3)
    monkeypatch.undo()
    assert second["reference"] == first["snapshot"]
    assert second["frames_taken"] > 0
    assert len(snapshots(saver)) == 2
