"""The step of a restore that compares the replacement with the archive, before it is swapped in."""

from dataclasses import dataclass
from typing import ClassVar, Final

from alexandria_backup.copying.proof import prove_catalogue, prove_tables
from alexandria_backup.errors import DatabaseUnreachable, ProofFailed, StatementFailed
from alexandria_backup.events import Warned
from alexandria_backup.postgres.amcheck import Checked, check_pages
from alexandria_backup.postgres.catalog import sequences_behind, tables
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_qualified
from alexandria_backup.postgres.sqlstates import INSUFFICIENT_PRIVILEGE, LOCK_NOT_AVAILABLE
from alexandria_backup.runbooks.chain_reader import ChainSeen, chain_seen
from alexandria_backup.runbooks.restore_check import refuse_broken
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import Proof, RestoreState
from alexandria_backup.runbooks.step import Done, Explanation, shell

#: How many faults a message names.
_MOST_FAULTS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Prove:
    """Compare the shadow with the archive: rows, digests, indexes, sequences, audit chain."""

    name: ClassVar[str] = "prove"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Say what is compared."""
        return Explanation(
            sentence=f"compare `{state.shadow}` with the archive, row by row",
            commands=(
                "alexandria audit verify",
                *(
                    (shell("pg_amcheck", "--heapallindexed", "--install-missing", state.shadow),)
                    if state.request.amcheck
                    else ()
                ),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise ProofFailed at whatever is not as the archive says."""
        source = state.known_source
        with self.parts.servers.session(state.shadow, "prove") as shadow:
            proved = prove_tables(
                shadow,
                source.tables,
                pinned=source.pinned_rendering,
                encoding=source.encoding,
                emit=self.parts.emit,
                read_back=state.read_back,
            )
            prove_catalogue(
                shadow,
                large_objects=source.large_objects,
                not_validated=source.not_validated,
            )
            state = self._warn_of_sequences(shadow, state)
            chain = self._prove_chain(shadow, state)
            skipped = self._run_checks(state)
            pages = self._check_pages(shadow) if state.request.amcheck else None
        not_compared = (
            *proved.not_compared,
            *skipped,
            *(pages.not_checked if pages else ()),
            *self._prove_access(state),
        )
        proof = Proof(
            tables=proved.tables,
            rows=proved.rows,
            digests=proved.digests,
            large_objects=source.large_objects,
            chain=chain.status if chain else None,
            checks=0 if skipped else len(self.parts.checks.queries),
            amcheck=pages.indexes + pages.tables if pages else None,
            not_compared=not_compared,
        )
        said = f"{proof.rows:,} rows in {proof.tables} tables, {proof.digests} row by row"
        return Done(
            # What was seen here counts from now on, whatever was recorded.
            state.model_copy(
                update={"proof": proof, "source": source.model_copy(update={"chain": chain})}
            ),
            said + (f", audit chain {chain.status}" if chain else ""),
        )

    def undo(self, state: RestoreState) -> RestoreState:
        """Nothing was changed."""
        return state

    def _warn_of_sequences(self, shadow: Session, state: RestoreState) -> RestoreState:
        """A sequence may have been behind in the source, too: the archive's value was restored."""
        warnings = tuple(
            f"sequence `{item.schema}.{item.name}` would next give {item.next_value}, and "
            f"`{item.column}` holds {item.furthest} already: inserts will collide"
            for item in sequences_behind(shadow)
        )
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        return state.model_copy(update={"warnings": (*state.warnings, *warnings)})

    def _prove_chain(self, shadow: Session, state: RestoreState) -> ChainSeen | None:
        """The chain in the shadow must be the archive's, to the last row and with its verdict."""
        expected = state.known_source.chain
        if expected is None:
            return None
        found = chain_seen(self.parts.chain.live(shadow))
        if found is None or not expected.is_of_same_rows(found):
            # What a manifest says may have come about by another recipe, or with another key.
            archive = self.parts.place.archive(state.request.archive)
            expected = chain_seen(self.parts.chain.archive(archive, self.parts.emit)[1]) or expected
        if found is None or not expected.is_of_same_rows(found):
            raise ProofFailed(
                "the audit chain that was loaded is not the archive's: "
                f"{found.summary if found else 'none'}; expected {expected.summary}"
            )
        refuse_broken(found, state)
        return found

    def _run_checks(self, state: RestoreState) -> tuple[str, ...]:
        """Returns a reason where the application's own checks cannot be asked."""
        checks = self.parts.checks
        if state.request.tables and checks.queries:
            return ("`[application] checks`: they are of the whole database",)
        for name, problem in checks.problems(
            lambda: self.parts.servers.session(state.shadow, "checks")
        ):
            raise ProofFailed(
                f"the application's check `{name}` {problem}",
                hint="see `[application] checks` in the settings",
            )
        return ()

    def _check_pages(self, shadow: Session) -> Checked:
        """What the server wrote must be what it reads, whatever memory and disk it has."""
        checked = check_pages(shadow, self.parts.emit)
        if checked.findings:
            raise ProofFailed(
                f"`amcheck` finds {len(checked.findings)} faults in what was just written: "
                + "; ".join(checked.findings[:_MOST_FAULTS]),
                hint="check memory and disk of the server, and its collations' versions",
            )
        return checked

    def _prove_access(self, state: RestoreState) -> tuple[str, ...]:
        """The application's own role must read the restored tables that it can read today.

        Returns a reason where that cannot be compared.
        """
        servers = self.parts.servers
        if state.live is None or servers.administrator is None:
            return ()
        if state.works_in_place:
            return ("what the application's role may read: it was put aside",)
        try:
            with servers.as_application(state.target) as live:
                today = _readable(live)
            with servers.as_application(state.shadow) as shadow:
                lost = today - _readable(shadow)
        except StatementFailed as error:
            if error.sqlstate != LOCK_NOT_AVAILABLE:
                raise
            return (f"what the application's role may read: {error.message}",)
        except DatabaseUnreachable as error:
            return (f"what the application's role may read: {error.message}",)
        # Who may read an extension's tables is decided by the extension.
        lost &= {table.label for table in state.known_source.tables if table.complete}
        if lost:
            names = ", ".join(f"`{name}`" for name in sorted(lost))
            raise ProofFailed(
                f"the application's role cannot read what it can read today: {names}",
                hint="restore owners and privileges: leave out `--no-owner`",
            )
        return ()


def _readable(session: Session) -> set[str]:
    """Return the tables with rows of their own from which the session's role can read."""
    found = set()
    for table in tables(session):
        if table.reads_elsewhere:
            continue
        source = quote_qualified(table.schema, table.name)
        try:
            session.one(f"SELECT 1 FROM {source} LIMIT 1")  # noqa: S608 - quoted
        except StatementFailed as error:
            if error.sqlstate != INSUFFICIENT_PRIVILEGE:
                raise
            continue
        found.add(f"{table.schema}.{table.name}")
    return found
