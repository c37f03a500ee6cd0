"""The runner on a small real procedure: each step makes a folder, undoing it removes the folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from alexandria_backup.errors import (
    ApplicationNotReady,
    Interrupted,
    JournalInvalid,
    LockedByAnotherRun,
    RestoreStopped,
    RestoreUndone,
    StatementFailed,
    StoreUnreachable,
    UsageError,
)
from alexandria_backup.events import Event, StepFinished, StepUndone, Warned, discard
from alexandria_backup.runbooks.journal import Journal, list_runs
from alexandria_backup.runbooks.runner import Runner
from alexandria_backup.runbooks.step import Done, Explanation, Runbook, RunState, Step
from alexandria_backup.runbooks.transition import Phase
from alexandria_backup.storage.memory import MemoryStore

RUN = "restore-20261123T120000Z-test"


class Counted(RunState):
    made: int = 0


@dataclass
class MakeFolder:
    """A step that really changes something, and fails on demand."""

    name: str
    root: Path
    changes: bool = True
    fails: BaseException | None = None
    undo_fails: BaseException | None = None

    def explain(self, state: Counted) -> Explanation:
        return Explanation(sentence=f"make {self.name}", commands=(f"mkdir {self.name}",))

    def do(self, state: Counted) -> Done[Counted]:
        if self.fails is not None:
            raise self.fails
        if self.changes:
            (self.root / self.name).mkdir(exist_ok=True)
        return Done(state.model_copy(update={"made": state.made + 1}), f"made {self.name}")

    def undo(self, state: Counted) -> Counted:
        if self.undo_fails is not None:
            raise self.undo_fails
        if (self.root / self.name).is_dir():
            (self.root / self.name).rmdir()
        return state


@dataclass
class World:
    """A runbook of four steps over a folder; `swap` is the commit point."""

    root: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    events: list[Event] = field(default_factory=list)
    NAMES: ClassVar = ("find", "load", "swap", "start")

    def __post_init__(self) -> None:
        self.steps = {
            n: MakeFolder(name=n, root=self.root, changes=n != "find") for n in self.NAMES
        }

    def runner(self, *, steps: tuple[Step[Counted], ...] | None = None) -> Runner[Counted]:
        runbook: Runbook[Counted] = Runbook(
            name="restore",
            steps=steps or tuple(self.steps.values()),  # type: ignore[arg-type]
            state_type=Counted,
            commit="swap",
            replaces_live=True,
        )
        return Runner(runbook, self.journal(), self.events.append)

    def journal(self) -> Journal:
        return Journal(RUN, [self.store], self.events.append)

    def there(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}

    def phases(self) -> list[tuple[str | None, str]]:
        return [(line.step, line.phase.value) for line in self.journal().transitions]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(root=tmp_path)


def agree(_: Counted) -> None:
    """Say yes."""


def go(world: World) -> Counted:
    return world.runner().start(Counted(run=RUN), agree)


def test_all_steps_are_done_in_order_and_each_is_journalled_before_and_after(world: World) -> None:
    assert go(world).made == 4
    assert world.there() == {"load", "swap", "start"}
    expected: list[tuple[str | None, str]] = [(None, "started")]
    for name in World.NAMES:
        expected += [(name, "doing"), (name, "done")]
    assert world.phases() == [*expected, (None, "finished")]
    assert [e.step for e in world.events if isinstance(e, StepFinished)] == list(World.NAMES)


def test_a_failure_before_the_commit_point_is_undone_and_named(world: World) -> None:
    world.steps["swap"].fails = StatementFailed("the server said no", hint="ask it again")
    with pytest.raises(RestoreUndone, match=r"step `swap` failed .* the server said no") as caught:
        go(world)
    assert caught.value.exit_code == 40
    assert caught.value.hint == "ask it again"
    assert world.there() == set()
    assert [e.step for e in world.events if isinstance(e, StepUndone)] == ["swap", "load"]
    assert world.phases()[-1] == (None, "aborted")


def test_an_unexpected_error_is_undone_too_and_shows_nothing_of_its_text(world: World) -> None:
    world.steps["swap"].fails = KeyError("password=hunter2")
    with pytest.raises(RestoreUndone) as caught:
        go(world)
    assert "hunter2" not in str(caught.value)
    assert b"hunter2" not in b"".join(world.store.get(i.name) for i in world.store.list())
    assert world.there() == set()


def test_a_failure_that_changed_nothing_keeps_its_own_exit_code(world: World) -> None:
    world.steps["find"].fails = StatementFailed("no such table")
    with pytest.raises(StatementFailed):
        go(world)


def test_a_refused_confirmation_changes_nothing(world: World) -> None:
    def refuse(state: Counted) -> None:
        assert state.made == 1, "asked after the steps that read, before the first that changes"
        raise Interrupted("no")

    with pytest.raises(Interrupted):
        world.runner().start(Counted(run=RUN), refuse)
    assert world.there() == set()
    # No step that changes anything was begun, so none is undone.
    assert world.phases() == [
        (None, "started"), ("find", "doing"), ("find", "done"), (None, "aborted"),
    ]  # fmt: skip


def test_a_run_that_ended_before_the_question_is_asked_again(world: World) -> None:
    go(world)
    for info in sorted(world.store.list(), key=lambda info: info.name)[3:]:
        world.store.delete(info.name)

    def refuse(_: Counted) -> None:
        raise Interrupted("no")

    with pytest.raises(Interrupted):
        world.runner().resume(refuse)
    assert world.phases()[-1] == (None, "aborted")


def test_an_interruption_is_undone(world: World) -> None:
    world.steps["swap"].fails = KeyboardInterrupt()
    with pytest.raises(Interrupted, match="nothing changed"):
        go(world)
    assert world.there() == set()


def test_after_the_commit_point_nothing_is_undone_by_itself(world: World) -> None:
    world.steps["start"].fails = ApplicationNotReady("`/ready` answers 503")
    with pytest.raises(ApplicationNotReady) as caught:
        go(world)
    assert caught.value.exit_code == 42
    assert f"alexandria run resume {RUN}" in (caught.value.hint or "")
    assert world.there() == {"load", "swap"}

    world.steps["start"].fails = None
    assert world.runner().resume(agree).made == 4
    assert world.there() == {"load", "swap", "start"}


def test_what_cannot_be_undone_stops_and_can_be_aborted_later(world: World) -> None:
    world.steps["swap"].fails = StatementFailed("first")
    world.steps["load"].undo_fails = StatementFailed("second")
    with pytest.raises(RestoreStopped, match=r"first.*second") as caught:
        go(world)
    assert caught.value.hint == f"alexandria run abort {RUN}"
    assert world.there() == {"load"}

    world.steps["load"].undo_fails = None
    world.runner().abort()
    assert world.there() == set()


def test_an_abort_that_was_begun_goes_on_as_an_abort_when_resumed(world: World) -> None:
    world.steps["swap"].fails = StatementFailed("first")
    world.steps["load"].undo_fails = StatementFailed("second")
    with pytest.raises(RestoreStopped):
        go(world)
    world.steps["load"].undo_fails = None
    world.runner().resume(agree)
    assert world.there() == set()
    assert world.phases()[-1] == (None, "aborted")


@pytest.mark.parametrize("kept", range(1, 10))
@pytest.mark.parametrize("ending", ["resume", "abort"])
def test_a_run_cut_off_after_any_transition_ends_well(
    world: World, tmp_path: Path, kept: int, ending: str
) -> None:
    go(world)
    written = sorted(world.store.list(), key=lambda info: info.name)
    for info in written[kept:]:
        world.store.delete(info.name)
    runner = world.runner()
    if ending == "resume":
        assert runner.resume(agree).made == 4
        assert world.there() == {"load", "swap", "start"}
    else:
        runner.abort()
        # What the journal does not know of was never begun, as it is written first.
        begun = {line.step for line in world.journal().transitions if line.phase is Phase.DOING}
        assert world.there() == {"load", "swap", "start"} - begun


def test_a_run_that_is_over_is_neither_resumed_nor_aborted(world: World) -> None:
    go(world)
    with pytest.raises(UsageError, match="is over: it was done"):
        world.runner().resume(agree)
    with pytest.raises(UsageError) as caught:
        world.runner().abort()
    assert caught.value.hint == f"alexandria rollback {RUN}"


def test_two_processes_cannot_write_one_journal(world: World) -> None:
    one, two = world.journal(), world.journal()
    one.write(Phase.STARTED, runbook="restore", step=None, state=Counted(run=RUN))
    with pytest.raises(LockedByAnotherRun):
        two.write(Phase.STARTED, runbook="restore", step=None, state=Counted(run=RUN))


class DeafStore(MemoryStore):
    """A repository that cannot be written to."""

    def put(self, name: str, data: bytes) -> None:
        raise StoreUnreachable(f"no answer while storing `{name}`")


def test_a_repository_that_takes_no_journal_is_a_warning_said_once(tmp_path: Path) -> None:
    events: list[Event] = []
    journal = Journal(RUN, [MemoryStore(), DeafStore()], events.append)
    for _ in range(3):
        journal.write(Phase.STARTED, runbook="restore", step=None, state=Counted(run=RUN))
    assert len([e for e in events if isinstance(e, Warned)]) == 1


def test_the_state_folder_must_take_the_journal() -> None:
    journal = Journal(RUN, [DeafStore(), MemoryStore()], discard)
    with pytest.raises(StoreUnreachable):
        journal.write(Phase.STARTED, runbook="restore", step=None, state=Counted(run=RUN))


def test_another_machine_reads_the_journal_from_the_repository(world: World) -> None:
    repository = MemoryStore()
    Journal(RUN, [MemoryStore(), repository], discard).write(
        Phase.STARTED, runbook="restore", step=None, state=Counted(run=RUN, made=7)
    )
    elsewhere = Journal(RUN, [MemoryStore(), repository], discard)
    assert elsewhere.last.state["made"] == 7
    assert list_runs([repository], discard) == (RUN,)


def two_machines(*, lines_apart: tuple[int, int]) -> tuple[MemoryStore, MemoryStore]:
    """Begin a run in both stores, then go on with it in each alone."""
    state, repository = MemoryStore(), MemoryStore()
    Journal(RUN, [state, repository], discard).write(
        Phase.STARTED, runbook="restore", step=None, state=Counted(run=RUN)
    )
    for machine, (store, lines) in enumerate(zip((state, repository), lines_apart, strict=True)):
        journal = Journal(RUN, [store], discard)
        for line in range(lines):
            journal.write(
                Phase.DOING, runbook="restore", step=f"{machine}.{line}", state=Counted(run=RUN)
            )
    return state, repository


@pytest.mark.parametrize("lines_apart", [(1, 1), (2, 1), (1, 2), (3, 3)])
def test_two_histories_of_a_run_are_not_taken_for_one(lines_apart: tuple[int, int]) -> None:
    stores = two_machines(lines_apart=lines_apart)
    for order in (stores, stores[::-1]):
        with pytest.raises(JournalInvalid, match="two histories"):
            Journal(RUN, order, discard)


@pytest.mark.parametrize("lines_apart", [(0, 0), (2, 0), (0, 2)])
def test_a_store_that_missed_the_newest_lines_is_no_other_history(
    lines_apart: tuple[int, int],
) -> None:
    stores = two_machines(lines_apart=lines_apart)
    assert len(Journal(RUN, stores, discard).transitions) == 1 + sum(lines_apart)


def test_a_line_that_was_changed_shows_in_the_next_one(world: World) -> None:
    go(world)
    name = sorted(info.name for info in world.store.list())[2]
    changed = world.store.get(name).replace(b'"made": 1', b'"made": 8')
    world.store.delete(name)
    world.store.put(name, changed)
    with pytest.raises(JournalInvalid, match="up to line 4: it was changed"):
        world.journal()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(b'"format": 1', b'"format": 2'), "another version"),
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: text.replace(b'"seq": 1', b'"seq": 5'), "expected 1"),
        (lambda text: text.replace(b"-test", b"-best"), "of run"),
        (lambda text: text.replace(b'"pid"', b'"pidd"'), "is damaged"),
    ],
)
def test_a_journal_that_is_not_ours_is_refused(
    world: World, change: Callable[[bytes], bytes], message: str
) -> None:
    world.journal().write(Phase.STARTED, runbook="restore", step=None, state=Counted(run=RUN))
    (info,) = world.store.list()
    changed = change(world.store.get(info.name))
    world.store.delete(info.name)
    world.store.put(info.name, changed)
    with pytest.raises(JournalInvalid, match=message):
        world.journal()
