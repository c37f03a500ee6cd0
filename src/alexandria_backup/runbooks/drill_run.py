"""One drill from its first step to the result that is kept."""

from dataclasses import dataclass

from alexandria_backup.errors import AlexandriaError, ProofFailed, SnapshotDamaged, SnapshotMissing
from alexandria_backup.runbooks.chain_reader import ChainSeen
from alexandria_backup.runbooks.drill import TIMED
from alexandria_backup.runbooks.drill_stage import Stage
from alexandria_backup.runbooks.drill_verdict import Keeper, as_told
from alexandria_backup.runbooks.procedure import PlannedStep, Procedure, RunSummary
from alexandria_backup.runbooks.restore_state import RestoreState


@dataclass(frozen=True, kw_only=True)
class Drilled:
    """What a good drill has shown."""

    snapshot: str
    run: str
    #: Such as `PostgreSQL 18.4`.
    server: str
    tables: int
    rows: int
    #: Tables whose rows were compared by digest as well as by number.
    digests: int
    large_objects: int
    chain: ChainSeen | None
    #: Names of the queries of `[drill] checks`, and the statements of `[application] checks`: all
    #: have passed.
    checks: tuple[str, ...]
    #: Reading the snapshot in full, loading it, proving it: what a restore takes at most before its
    #: swap, since it reads what a repository has in frames while it loads.
    find_seconds: float
    load_seconds: float
    prove_seconds: float
    #: The three together.
    restore_seconds: float
    #: What the drill does not show, and why.
    not_compared: tuple[str, ...]
    warnings: tuple[str, ...]
    #: Whether the result was signed and kept, so that the snapshot's status is `drilled`.
    recorded: bool


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A drill that is ready to be planned or run."""

    procedure: Procedure[RestoreState]
    stage: Stage
    keeper: Keeper

    def plan(self) -> tuple[PlannedStep, ...]:
        """Read the snapshot, look for a server, and explain all; nothing is started or kept.

        Raises what `run` raises.
        """
        try:
            return self.procedure.plan()
        except AlexandriaError as error:
            raise as_told(error) from error

    def run(self) -> Drilled:
        """Do all of it, and keep what was found.

        Raises SnapshotDamaged or ProofFailed where the snapshot is not good, which is kept, too;
        SnapshotMissing where it was removed meanwhile, of which nothing is kept; DrillInconclusive
        where the drill could not run; Interrupted. Nothing of it is left then.
        """
        try:
            summary = self.procedure.run(lambda _: None)
        except AlexandriaError as error:
            told = as_told(error)
            # One that was removed meanwhile is not bad, and nobody asks for its results any more.
            gone = isinstance(told, SnapshotMissing)
            if isinstance(told, SnapshotDamaged | ProofFailed) and not gone:
                self.keeper.bad(told)
            raise told from error
        finally:
            self.stage.close()
        return self._result(summary)

    def _result(self, summary: RunSummary[RestoreState]) -> Drilled:
        state, stage = summary.state, self.stage
        proof = state.proof
        if proof is None:
            raise AssertionError("a drill that ended well has proved something")
        spent = {step.step: step.seconds for step in summary.steps}
        find, load, prove = (spent[name] for name in TIMED)
        recorded = self.keeper.good(
            {
                "server": stage.version,
                "rows": str(proof.rows),
                "checks": str(len(stage.checks.queries)),
                "find_seconds": f"{find:.3f}",
                "load_seconds": f"{load:.3f}",
                "prove_seconds": f"{prove:.3f}",
            }
        )
        return Drilled(
            snapshot=stage.entry.id,
            run=summary.run,
            server=stage.version,
            tables=proof.tables,
            rows=proof.rows,
            digests=proof.digests,
            large_objects=proof.large_objects,
            chain=state.known_source.chain,
            checks=tuple(stage.checks.queries),
            find_seconds=find,
            load_seconds=load,
            prove_seconds=prove,
            restore_seconds=find + load + prove,
            not_compared=(*stage.left_out, *proof.not_compared),
            warnings=state.warnings,
            recorded=recorded,
        )
