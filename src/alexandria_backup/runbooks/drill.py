"""Drill: restore a snapshot into a throwaway server, prove it there, and throw it away.

Loading and proving are a restore's own steps. What differs is around them: a server that is
nobody's, more questions at the end, and a result that is kept. There is no journal, since there is
nothing to go on with: what a killed drill has left, the next one removes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from alexandria_backup.errors import (
    AlexandriaError,
    ChecksFailed,
    StatementFailed,
)
from alexandria_backup.events import Warned
from alexandria_backup.runbooks.drill_find import Find
from alexandria_backup.runbooks.drill_server import NAME
from alexandria_backup.runbooks.drill_stage import Stage
from alexandria_backup.runbooks.restore_ground import Beside
from alexandria_backup.runbooks.restore_load import Load
from alexandria_backup.runbooks.restore_prove import Prove
from alexandria_backup.runbooks.restore_shadow import CreateShadow
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, Step, shell

#: The steps that an operator would wait for in a real restore, before the swap.
TIMED: Final = ("find", "load", "prove")


def drill_runbook(stage: Stage) -> Runbook[RestoreState]:
    """Return the steps of a drill, in order."""
    steps: Sequence[Step[RestoreState]] = (
        Find(stage=stage),
        Choose(stage=stage),
        Start(stage=stage),
        Create(stage=stage),
        LoadThere(stage=stage),
        ProveThere(stage=stage),
        Ask(stage=stage),
        Remove(stage=stage),
    )
    return Runbook(name=NAME, steps=tuple(steps), state_type=RestoreState)


@dataclass(frozen=True, kw_only=True)
class Choose(ReadingStep):
    """Look which servers there are to restore into."""

    name: ClassVar[str] = "choose-server"

    stage: Stage

    def explain(self, state: RestoreState) -> Explanation:  # noqa: ARG002 - the port's form
        """Say what is looked for."""
        return Explanation(
            sentence="look for a server to restore into: one of our own, or the one of `[drill]`"
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise DrillInconclusive where there is none."""
        candidates = self.stage.candidates(state.known_source)
        return Done(state, ", else ".join(candidate.name for candidate in candidates))


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start the server, or connect to it, and check that it can take the snapshot."""

    name: ClassVar[str] = "start-server"
    changes: ClassVar[bool] = True

    stage: Stage

    def explain(self, state: RestoreState) -> Explanation:  # noqa: ARG002 - the port's form
        """Say that it is nobody's."""
        return Explanation(sentence="start a throwaway server; what killed drills left is removed")

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Open the first that fits; raises DrillInconclusive where none does."""
        state = self.stage.open(state)
        return Done(state, self.stage.version)

    def undo(self, state: RestoreState) -> RestoreState:
        """Remove it, with all that it holds; what stays is told, and hides no error."""
        _close(self.stage)
        return state


@dataclass(frozen=True, kw_only=True)
class _OnStage:
    """Base of the steps that work in the throwaway server: all they do goes with it."""

    changes: ClassVar[bool] = True

    stage: Stage

    def undo(self, state: RestoreState) -> RestoreState:
        """It goes with the server, or with the database."""
        return state


@dataclass(frozen=True, kw_only=True)
class Create(_OnStage):
    """Create the database, as the source was where the server can."""

    name: ClassVar[str] = "create-database"

    def explain(self, state: RestoreState) -> Explanation:
        """Give the command that makes it."""
        return Explanation(
            sentence=f"create database `{state.shadow}` there",
            commands=(shell("createdb", "--template=template0", state.shadow),),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Create it; where the server lacks the locale, with the plain one."""
        create = CreateShadow(parts=self.stage.parts)
        try:
            return create.do(state)
        except StatementFailed as error:
            plain = self.stage.with_plain_locale(state, error)
            return create.do(create.undo(plain))


@dataclass(frozen=True, kw_only=True)
class LoadThere(_OnStage):
    """Load the snapshot as a restore does."""

    name: ClassVar[str] = "load"

    def explain(self, state: RestoreState) -> Explanation:
        """Give the pg_restore command."""
        request = state.request
        return Explanation(
            sentence=f"load `{request.archive}` into `{state.shadow}`, as a restore does",
            commands=(
                shell(
                    *("pg_restore", "--exit-on-error", "--no-tablespaces"),
                    *(f"--jobs={request.jobs}", f"--dbname={state.shadow}"),
                    self.stage.place.as_file(request.archive).file,
                ),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise ProofFailed where the snapshot cannot be loaded."""
        with self.stage.judging("the snapshot cannot be loaded"):
            return Load(
                parts=self.stage.parts, ground=Beside(create=CreateShadow(parts=self.stage.parts))
            ).do(state)


@dataclass(frozen=True, kw_only=True)
class ProveThere(_OnStage):
    """Compare what was loaded with the snapshot, as a restore does before its swap."""

    name: ClassVar[str] = "prove"

    def explain(self, state: RestoreState) -> Explanation:
        """Say what is compared."""
        return Explanation(sentence=f"compare `{state.shadow}` with the snapshot, row by row")

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise ProofFailed at whatever is not as the snapshot says."""
        with self.stage.judging("what was loaded cannot be read"):
            return Prove(parts=self.stage.parts).do(state)


@dataclass(frozen=True, kw_only=True)
class Ask(_OnStage):
    """Ask the queries of the settings."""

    name: ClassVar[str] = "check"

    def explain(self, state: RestoreState) -> Explanation:
        """Name them."""
        names = ", ".join(f"`{name}`" for name in self.stage.checks.queries) or "none is set"
        return Explanation(
            sentence=f"ask the queries of `[application] checks` and `[drill] checks`: {names}",
            commands=tuple(
                shell("psql", f"--dbname={state.shadow}", "-c", query)
                for query in self.stage.checks.queries.values()
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise ChecksFailed, naming each check that has failed."""
        checks, servers = self.stage.checks, self.stage.parts.servers
        with self.stage.judging("the checks cannot be asked"):
            failed = dict(checks.problems(lambda: servers.session(state.shadow, "drill")))
        if failed:
            told = "; ".join(f"`{name}` {problem}" for name, problem in failed.items())
            raise ChecksFailed(
                f"{len(failed)} of {len(checks.queries)} checks have failed: {told}",
                hint="see `[drill] checks` and `[application] checks` in the settings",
            )
        return Done(state, f"{len(checks.queries)} passed" if checks.queries else "none set")


@dataclass(frozen=True, kw_only=True)
class Remove(_OnStage):
    """Throw everything away."""

    name: ClassVar[str] = "remove"

    def explain(self, state: RestoreState) -> Explanation:
        """Say what goes."""
        return Explanation(sentence=f"remove `{state.shadow}`, and the server that was started")

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Remove it; what cannot be removed does not make the snapshot worse, and is told."""
        warning = _close(self.stage)
        if warning is not None:
            return Done(state.model_copy(update={"warnings": (*state.warnings, warning)}))
        return Done(state, "nothing is left")


def _close(stage: Stage) -> str | None:
    """Remove the server, or its database; return the warning where that cannot be."""
    try:
        stage.close()
    except AlexandriaError as error:
        warning = f"the drill's database is still there: {error.message}"
        stage.emit(Warned(message=warning, hint="the next drill drops it"))
        return warning
    return None
