"""What the steps of a drill share: the server while it is there, and what is not compared."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from alexandria_backup.errors import (
    AlexandriaError,
    DrillInconclusive,
    Interrupted,
    PrecheckRefused,
    RightsMissing,
    RolesMissing,
    SettingsInvalid,
    StatementFailed,
    UsageError,
)
from alexandria_backup.events import Emit, Note
from alexandria_backup.postgres.catalog import default_versions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.server import (
    RoleFacts,
    ServerFacts,
    messages_language,
    role_facts,
    server_facts,
)
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.runbooks import (
    prechecks,
    prechecks_extensions,
    prechecks_space,
    rights,
)
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.check_queries import CheckQueries
from alexandria_backup.runbooks.drill_server import Candidate, DrillServer
from alexandria_backup.runbooks.drill_verdict import judged
from alexandria_backup.runbooks.places import SnapshotPlace
from alexandria_backup.runbooks.restore_find import facts_for_new, without_owner
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState, Source


@dataclass(kw_only=True)
class Stage:
    """The server of one drill; closing it leaves nothing behind."""

    entry: SnapshotEntry
    place: SnapshotPlace
    chain: ChainReader
    #: Asked at the end.
    checks: CheckQueries
    #: The servers that there are for a snapshot, the preferred one first; raises DrillInconclusive.
    candidates: Callable[[Source], Sequence[Candidate]]
    #: What the steps of a restore need, on a server.
    parts_on: Callable[[DrillServer], RestoreParts]
    emit: Emit
    #: How the server differs from the source's: a load that fails then shows nothing of the
    #: snapshot.
    unlike: list[str] = field(default_factory=list)
    #: One line for each thing that the drill does not show.
    left_out: list[str] = field(default_factory=list)
    #: The server's own words for what it is; empty before it is opened.
    version: str = ""
    _stack: ExitStack = field(default_factory=ExitStack)
    _server: DrillServer | None = None

    @property
    def server(self) -> DrillServer:
        """The server; raises UsageError before it is opened."""
        if self._server is None:
            raise UsageError("the drill has no server")
        return self._server

    @property
    def parts(self) -> RestoreParts:
        """What the steps of a restore work with there."""
        return self.parts_on(self.server)

    def leave_out(self, what: str) -> None:
        """Remember, and tell, that the drill does not show something."""
        self.left_out.append(what)
        self.emit(Note(message=what))

    @contextmanager
    def judging(self, what: str) -> Iterator[None]:
        """Turn the server's refusals within the block into a verdict; see `judged`."""
        with judged(self.server, what, unlike=self.unlike):
            yield

    def open(self, state: RestoreState) -> RestoreState:
        """Open the first candidate that can take the snapshot; return what the database is to be.

        Raises DrillInconclusive, which says why each of them cannot.
        """
        refusals: list[AlexandriaError] = []
        for candidate in self.candidates(state.known_source):
            with ExitStack() as stack:
                try:
                    server = stack.enter_context(candidate.open())
                    with server.servers.maintenance() as maintenance:
                        prepared = self._prepare(maintenance, server, state)
                        self.version = f"PostgreSQL {server_facts(maintenance).version}"
                except (Interrupted, SettingsInvalid):
                    raise
                except AlexandriaError as error:
                    refusals.append(error)
                    self.emit(Note(message=f"{candidate.name} does not do: {error.message}"))
                    continue
                self._server, self._stack = server, stack.pop_all()
                return prepared
        raise DrillInconclusive(
            "no server can take the snapshot, so nothing is known: "
            + "; ".join(error.message for error in refusals),
            hint=next((error.hint for error in reversed(refusals) if error.hint), None),
        )

    def close(self) -> None:
        """Remove the server, or its database; doing it twice equals doing it once."""
        self._server = None
        self._stack.pop_all().close()

    def with_plain_locale(self, state: RestoreState, error: StatementFailed) -> RestoreState:
        """Return a state whose database has a locale that every server has."""
        facts = state.known_facts
        shown = facts.locale or facts.collate
        self.unlike.append(f"locale `{shown}` was not to be had, and `C` was taken")
        self.leave_out(f"{self.unlike[-1]}: {error.message}")
        plain = replace(
            facts, locale_provider="c", collate="C", ctype="C", locale=None, icu_rules=None
        )
        return state.model_copy(update={"facts": plain})

    def _prepare(
        self, maintenance: Session, server: DrillServer, state: RestoreState
    ) -> RestoreState:
        self.checks.refuse_mistakes(maintenance)
        source, facts = state.known_source, server_facts(maintenance)
        role = role_facts(maintenance)
        reserve = self.parts_on(server).server_reserve_bytes
        _refuse_unfit(maintenance, facts, role, source, reserve=reserve)
        server.tools(max(facts.major, source.pg_restore))
        self.unlike[:] = self._told_apart(maintenance, role)
        wanted = self._facts(maintenance, state)
        no_owner = False
        if server.own:
            for name in rights.missing_roles(maintenance, source, wanted):
                maintenance.execute(f"CREATE ROLE {quote_identifier(name)} NOLOGIN")
        else:
            try:
                missing = rights.missing_roles(maintenance, source, wanted)
                rights.refuse_missing_roles(source, missing)
                rights.refuse_foreign_owners(maintenance, role, facts, source, wanted)
            except (RolesMissing, RightsMissing) as error:
                no_owner = True
                wanted = without_owner(maintenance, wanted, keep=False)
                self.leave_out(f"owners and privileges are left out: {error.message}")
        request = state.request.model_copy(update={"no_owner": no_owner})
        return state.model_copy(update={"facts": wanted, "request": request})

    def _told_apart(self, maintenance: Session, role: RoleFacts) -> Iterator[str]:
        """Yield what makes a refusal of this server no finding on the snapshot."""
        manifest = self.entry.manifest
        installable = default_versions(maintenance)
        for name, version in (manifest.extensions if manifest is not None else {}).items():
            here = installable.get(name, version)
            if version and here != version:
                self.leave_out(
                    f"extension `{name}` is {here} here, and was {version} in the source"
                )
                yield self.left_out[-1]
        language = messages_language(maintenance)
        if language is not None and not role.superuser:
            yield f"its messages are in `{language}`, by which its own trouble is not told apart"

    def _facts(self, maintenance: Session, state: RestoreState) -> DatabaseFacts:
        """Return what the database is to be: as the source, but for what is the server's."""
        here = database_facts(maintenance, maintenance.dsn.database)
        facts = facts_for_new(
            maintenance, state.shadow, self.entry, encoding=state.known_source.encoding
        )
        return replace(
            facts,
            tablespace=here.tablespace if here else facts.tablespace,
            connection_limit=-1,
            comment=None,
            settings=(),
        )


def _refuse_unfit(
    maintenance: Session, server: ServerFacts, role: RoleFacts, source: Source, *, reserve: int
) -> None:
    """Raise PrecheckRefused where the server cannot take the snapshot.

    `reserve` is what the load leaves free on its disk: one that touches it is stopped.
    """
    prechecks.refuse_standby(server)
    if not role.superuser and not role.create_database:
        raise RightsMissing(
            f"role `{role.name}` may not create databases",
            hint=f"psql -c 'alter role \"{role.name}\" createdb'",
        )
    major = source.server_version.partition(".")[0]
    if major.isdigit() and int(major) > server.major:
        raise PrecheckRefused(
            f"the snapshot is of PostgreSQL {major}, and the server is {server.version}",
            hint="set `[drill] dsn_file` to the DSN of a server of that version",
        )
    prechecks_extensions.refuse_missing_extensions(maintenance, source, server, database=None)
    free = prechecks_space.measured_free(server)
    if free is not None:
        # Only to refuse: what free space nobody knows is no matter of the snapshot.
        tuple(prechecks_space.space(server, source, free, reserve))
