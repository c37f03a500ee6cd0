"""SIGKILL at every journalled transition: the live database is whole, both ways out end well."""

from collections.abc import Callable

import pytest
from killed_support import end, killed, points, ran
from oracle_support import keep_in_frames
from site_support import Site

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.transition import Phase

#: `started`, two for each of 11 steps, `finished`.
_RESTORE_TRANSITIONS = 24
#: Both renames are committed, and the journal does not say so yet.
_SWAPPED = (19, "before")
#: More sessions than a restore of the sample opens; the first is the lock's.
_SESSIONS_AT_MOST = 30
#: `started`, two for each of 7 steps, `finished`.
_ROLLBACK_TRANSITIONS = 16


def damage(site: Site) -> None:
    site.sql("DELETE FROM playlist_track")
    site.sql("UPDATE customer SET email = 'gone'")


def snapshot(site: Site) -> None:
    assert site.run("snapshot", "create").returncode == 0


def live_is_whole(site: Site, *wholes: dict[str, str]) -> None:
    """Look at the database of the live name; where it is fenced, at what the fence protects."""
    fenced = not site.value(
        "SELECT datallowconn FROM pg_database WHERE datname = %s",
        site.database,
        database="postgres",
    )
    if fenced:
        site.sql(f'ALTER DATABASE "{site.database}" ALLOW_CONNECTIONS true', database="postgres")
    try:
        assert site.fingerprint() in wholes
    finally:
        if fenced:
            site.sql(
                f'ALTER DATABASE "{site.database}" ALLOW_CONNECTIONS false', database="postgres"
            )


def check_restore(site: Site, seq: int, moment: str, ending: str) -> None:
    good, good_schema = site.fingerprint(), site.schema_text()
    snapshot(site)
    damage(site)
    broken = site.fingerprint()

    killed(site, "restore", seq, moment)
    live_is_whole(site, good, broken)
    swapped = len(site.databases()) == 2 and not any("shadow" in n for n in site.databases())
    if swapped:
        site.sql("CREATE TABLE written_since (a int)")
        good["public.written_since"] = "0:0"

    run = end(site, "restore", ending)
    finished = site.wiring().runs.journal(run).last.phase is Phase.FINISHED
    assert finished or ending == "abort"
    assert site.fingerprint() == (good if finished else broken)
    assert swapped or site.schema_text() == good_schema
    # The application runs again, and nothing is left but what has been in use.
    assert site.platform_log[-1:] in ([], ["start"])
    assert len(site.databases()) == (2 if finished or swapped else 1)
    if swapped and not finished:
        # What was written after the swap is kept, and one command brings it back.
        assert site.run("rollback", run, "--yes").returncode == 0
        assert site.fingerprint() == good
    if finished:
        assert site.run("rollback", "--yes").returncode == 0
        assert site.fingerprint() == broken


@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(("seq", "moment"), points(_RESTORE_TRANSITIONS, ("after",)))
def test_a_restore_that_is_killed_ends_well(site: Site, seq: int, moment: str, ending: str) -> None:
    check_restore(site, seq, moment, ending)


@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(
    ("seq", "moment"),
    [
        pytest.param(*point, marks=() if point == _SWAPPED else pytest.mark.campaign)
        for point in points(_RESTORE_TRANSITIONS, ("before",))
    ],
)
def test_a_restore_that_is_killed_before_it_could_say_so_ends_well(
    new_site: Callable[..., Site], server16: EmbeddedServer, seq: int, moment: str, ending: str
) -> None:
    check_restore(new_site(server16), seq, moment, ending)


@pytest.mark.parametrize(
    ("seq", "moment", "ending"),
    [
        (9, "after", "resume"),
        (10, "after", "abort"),
        *(
            pytest.param(seq, moment, ending, marks=pytest.mark.campaign)
            for seq, moment in points(_RESTORE_TRANSITIONS, ("before", "after"))
            for ending in ("resume", "abort")
        ),
    ],
)
def test_a_restore_from_a_repository_that_is_killed_ends_well(
    site: Site, seq: int, moment: str, ending: str
) -> None:
    site.make_repository()
    check_restore(site, seq, moment, ending)


@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(
    "number", [1, 7, *(pytest.param(n, marks=pytest.mark.campaign) for n in (2, 3, 5, 12, 20))]
)
def test_a_restore_that_is_killed_among_the_rows_ends_well(
    site: Site, number: int, ending: str
) -> None:
    keep_in_frames(site)
    check_restore(site, number, "rows", ending)


@pytest.mark.parametrize(
    ("session", "ending"),
    [(6, "resume"), (8, "abort"), (10, "resume"), (12, "abort"), (15, "resume"), (17, "abort")],
)
def test_a_restore_that_is_killed_inside_a_step_ends_well(
    site: Site, session: int, ending: str
) -> None:
    check_restore(site, session, "session", ending)


@pytest.mark.campaign
@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize("session", range(2, _SESSIONS_AT_MOST))
def test_a_restore_that_is_killed_anywhere_inside_a_step_ends_well(
    site: Site, session: int, ending: str
) -> None:
    check_restore(site, session, "session", ending)


def test_no_session_of_a_restore_is_forgotten(site: Site) -> None:
    """The campaign kills at each of them: the last one that it tries is never opened."""
    snapshot(site)
    ended = ran(site, "restore", _SESSIONS_AT_MOST, "session")
    assert ended.returncode == 0, ended.stderr


def check_rollback(site: Site, seq: int, moment: str, ending: str) -> None:
    good = site.fingerprint()
    snapshot(site)
    damage(site)
    broken = site.fingerprint()
    assert site.run("restore", "latest", "--yes").returncode == 0
    assert site.fingerprint() == good

    killed(site, "rollback", seq, moment)
    live_is_whole(site, good, broken)

    run = end(site, "rollback", ending)
    finished = site.wiring().runs.journal(run).last.phase is Phase.FINISHED
    assert site.fingerprint() == (broken if finished else good)
    assert site.platform_log[-1:] == ["start"]
    assert len(site.databases()) == 2
    # Forward, or back, again: whatever happened, the other one is still there.
    assert site.run("rollback", "--yes").returncode == 0
    assert site.fingerprint() == (good if finished else broken)


@pytest.mark.parametrize(
    ("seq", "ending"),
    [(7, "resume"), (8, "abort"), (10, "resume"), (11, "resume"), (11, "abort"), (13, "abort")],
)
def test_a_rollback_that_is_killed_ends_well(site: Site, seq: int, ending: str) -> None:
    check_rollback(site, seq, "before" if seq == 11 else "after", ending)


@pytest.mark.campaign
@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(("seq", "moment"), points(_ROLLBACK_TRANSITIONS, ("before", "after")))
def test_a_rollback_that_is_killed_anywhere_ends_well(
    site: Site, seq: int, moment: str, ending: str
) -> None:
    check_rollback(site, seq, moment, ending)
