"""SIGKILL at every journalled transition of a restore in place, and of its rollback.

In the middle the database is neither the old one nor the new; then the old one is whole beside it.
"""

import pytest
from in_place_support import (
    fingerprint_aside,
    kept_schemas,
    large_objects,
    make_large_objects,
    reads_only,
    without_administrator,
)
from killed_support import end, killed, points
from oracle_support import keep_in_frames, snapshot
from site_support import Site

from alexandria_backup.runbooks.restore_state import RestoreChoices
from alexandria_backup.runbooks.transition import Phase

#: `started`, two for each of 11 steps, `finished`.
_RESTORE_TRANSITIONS = 24
#: `started`, two for each of 8 steps, `finished`.
_ROLLBACK_TRANSITIONS = 18
#: More sessions than a restore in place of the sample opens.
_SESSIONS_AT_MOST = 40
_LOCK = "alexandria_backup_restoring"

#: When all is put aside and the journal does not know; likewise when all is open again.
_PUT_ASIDE, _OPENED = (13, "before"), (19, "before")
_SLICE = [
    (11, "after", "abort"),
    (*_PUT_ASIDE, "resume"),
    (*_PUT_ASIDE, "abort"),
    (14, "after", "resume"),
    (17, "after", "abort"),
    (*_OPENED, "resume"),
    (*_OPENED, "abort"),
    (22, "after", "abort"),
]
_ALL = [
    (seq, moment, ending)
    for seq, moment in points(_RESTORE_TRANSITIONS, ("before", "after"))
    for ending in ("resume", "abort")
]


def in_campaign(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.campaign)


def damage(site: Site) -> None:
    site.sql("SELECT lo_unlink(4712), lo_put(4713, 2, 'ouch')")
    site.sql("DELETE FROM playlist_track")
    site.sql("DROP TABLE invoice_line")
    site.sql("UPDATE customer SET email = 'gone'")


def nobody_is_lost(site: Site, *wholes: dict[str, str]) -> bool:
    """Assert that there is a whole database, put aside or not; return whether it is put aside."""
    aside = _LOCK in kept_schemas(site) and any("public" in name for name in kept_schemas(site))
    assert (fingerprint_aside(site) if aside else site.fingerprint()) in wholes
    return aside


def check_restore(site: Site, seq: int, moment: str, ending: str) -> None:
    without_administrator(site)
    make_large_objects(site)
    good, good_schema, good_objects = site.fingerprint(), site.schema_text(), large_objects(site)
    snapshot(site)
    damage(site)
    broken, broken_schema, broken_objects = (
        site.fingerprint(),
        site.schema_text(),
        large_objects(site),
    )

    killed(site, "restore", seq, moment, RestoreChoices(in_place=True))
    aside = nobody_is_lost(site, good, broken)
    opened = not aside and kept_schemas(site) != []
    if opened:
        site.sql("CREATE TABLE written_since (a int)")
        site.sql(f'ALTER TABLE written_since OWNER TO "{site.role}"')
        good["public.written_since"] = "0:0"

    run = end(site, "restore", ending)
    finished = site.wiring().runs.journal(run).last.phase is Phase.FINISHED
    assert finished or ending == "abort"
    assert site.fingerprint() == (good if finished else broken)
    assert large_objects(site) == (good_objects if finished else broken_objects)
    assert opened or site.schema_text() == (good_schema if finished else broken_schema)
    # The application runs again, writes, and nothing is left but what has been in use.
    assert site.platform_log[-1:] in ([], ["start"])
    assert not reads_only(site)
    assert len(kept_schemas(site)) == (2 if finished or opened else 0)
    if finished or opened:
        # Back, or forward again: what was written after the opening is still there.
        assert site.run("rollback", run, "--yes").returncode == 0
        assert site.fingerprint() == (broken if finished else good)
        assert large_objects(site) == (broken_objects if finished else good_objects)


@pytest.mark.parametrize(
    ("seq", "moment", "ending"),
    [*_SLICE, *(in_campaign(*point) for point in _ALL if point not in _SLICE)],
)
def test_a_restore_in_place_that_is_killed_ends_well(
    site: Site, seq: int, moment: str, ending: str
) -> None:
    check_restore(site, seq, moment, ending)


@pytest.mark.parametrize(
    ("seq", "moment", "ending"),
    [(15, "before", "resume"), *(in_campaign(*point) for point in _ALL)],
)
def test_a_restore_in_place_from_a_repository_that_is_killed_ends_well(
    site: Site, seq: int, moment: str, ending: str
) -> None:
    keep_in_frames(site)
    check_restore(site, seq, moment, ending)


@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(
    "number", [7, *(pytest.param(n, marks=pytest.mark.campaign) for n in (1, 2, 3, 5, 12, 20))]
)
def test_a_restore_in_place_that_is_killed_among_the_rows_ends_well(
    site: Site, number: int, ending: str
) -> None:
    keep_in_frames(site)
    check_restore(site, number, "rows", ending)


@pytest.mark.campaign
@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize("session", range(2, _SESSIONS_AT_MOST))
def test_a_restore_in_place_that_is_killed_anywhere_inside_a_step_ends_well(
    site: Site, session: int, ending: str
) -> None:
    check_restore(site, session, "session", ending)


def check_rollback(site: Site, seq: int, moment: str, ending: str) -> None:
    without_administrator(site)
    make_large_objects(site)
    good, good_objects = site.fingerprint(), large_objects(site)
    snapshot(site)
    damage(site)
    broken, broken_objects = site.fingerprint(), large_objects(site)
    restored = site.run("restore", "latest", "--in-place", "--yes")
    assert restored.returncode == 0, restored.stderr

    killed(site, "rollback", seq, moment)
    nobody_is_lost(site, good, broken)

    run = end(site, "rollback", ending)
    finished = site.wiring().runs.journal(run).last.phase is Phase.FINISHED
    assert site.fingerprint() == (broken if finished else good)
    assert large_objects(site) == (broken_objects if finished else good_objects)
    assert site.platform_log[-1:] == ["start"]
    assert not reads_only(site)
    assert len(kept_schemas(site)) == 2
    # Forward, or back, again: whatever happened, the other one is still there.
    assert site.run("rollback", "--yes").returncode == 0
    assert site.fingerprint() == (good if finished else broken)
    assert large_objects(site) == (good_objects if finished else broken_objects)


_ROLLBACK_SLICE = [(11, "before", "resume"), (11, "before", "abort"), (13, "before", "abort")]


@pytest.mark.parametrize(
    ("seq", "moment", "ending"),
    [
        *_ROLLBACK_SLICE,
        *(
            in_campaign(seq, moment, ending)
            for seq, moment in points(_ROLLBACK_TRANSITIONS, ("before", "after"))
            for ending in ("resume", "abort")
            if (seq, moment, ending) not in _ROLLBACK_SLICE
        ),
    ],
)
def test_a_rollback_in_place_that_is_killed_ends_well(
    site: Site, seq: int, moment: str, ending: str
) -> None:
    check_rollback(site, seq, moment, ending)
