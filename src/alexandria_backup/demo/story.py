"""The story that `alexandria demo` tells: an application works, is broken, and is brought back.

Every line of it is real: a PostgreSQL server, an application that goes on writing, archives on
disk, and the very procedures that the commands run. A result that is not as it must be ends it.
"""

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from alexandria_backup.demo import control
from alexandria_backup.demo.fill import create_schema, fill
from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.demo.keeper import hold
from alexandria_backup.demo.outcome import Outcome, Scene
from alexandria_backup.errors import ExitCode, Interrupted, ProofFailed, RestoreStopped, UsageError
from alexandria_backup.events import Emit, Note
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.identifiers import quote_literal
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.runbooks.doctor_diagnosis import Status
from alexandria_backup.runbooks.restore_state import RestoreChoices
from alexandria_backup.secret import Secret
from alexandria_backup.wiring.wiring import Wiring

#: The application's role and database: an ordinary role, as in production.
_ROLE = "alexandria"
_WRITES_PER_SECOND = 20.0
_SEED = 20261123


def tell(*, rows: int, keep: Path | None, emit: Emit) -> Outcome:
    """Tell the whole story and return what each scene took; raises at the first wrong result.

    Everything lies in one folder: `keep`, which must not exist yet, or one that is removed at the
    end. No process outlives this call.
    """
    with _folder(keep) as folder, ExitStack() as closing:
        stage = Stage.build(folder, closing, emit)
        kept_in = str(folder) if keep is not None else None
        try:
            return Story(stage=stage, emit=emit).tell(rows, kept_in=kept_in)
        except RestoreStopped as error:
            # Here nothing waits to be resumed: the server is gone with the demo.
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise Interrupted("the demo was interrupted") from error
            raise


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        try:
            keep.mkdir(parents=True)
        except FileExistsError:
            raise UsageError(
                f"`{keep}` exists, and the demo overwrites nothing",
                hint=f"alexandria demo --keep {keep}-2",
            ) from None
        except OSError as error:
            raise UsageError(f"`{keep}` cannot be made: {error.strerror}") from None
        yield keep.resolve()
        return
    # Readable by the server's own user, who is not root: each part of it is private by itself.
    folder = Path(tempfile.mkdtemp(prefix="alexandria-demo-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the story is played on: a server, the application's folder, and the settings."""

    folder: Path
    server: EmbeddedServer
    administrator: Dsn
    application: ApplicationFolder
    emit: Emit

    @classmethod
    def build(cls, folder: Path, closing: ExitStack, emit: Emit) -> "Stage":
        """Start the server, make role and database, write keys and DSN files (0600)."""
        server = closing.enter_context(EmbeddedServer.start(folder / "postgres", major=18))
        administrator = Dsn.parse(server.conninfo())
        password = secrets.token_urlsafe(16)
        with connect(administrator, purpose="demo") as session:
            session.execute(f"CREATE ROLE {_ROLE} LOGIN PASSWORD {quote_literal(password)}")
            session.execute(f"CREATE DATABASE {_ROLE} OWNER {_ROLE}")
        application = ApplicationFolder(root=folder / "application")
        application.root.mkdir(mode=0o700)
        (folder / "snapshots").mkdir(mode=0o700)
        private(application.key_file, secrets.token_bytes(32))
        dsn = Dsn.parse(server.conninfo(_ROLE, user=_ROLE)).conninfo().reveal()
        private(application.dsn_file, f"{dsn} password='{password}'\n".encode())
        private(folder / "admin-dsn", f"{administrator.conninfo().reveal()}\n".encode())
        closing.enter_context(hold(application.keeper_file))
        closing.callback(control.stop, application)
        return cls(
            folder=folder,
            server=server,
            administrator=administrator,
            application=application,
            emit=emit,
        )

    @property
    def dsn(self) -> Dsn:
        """The application's own DSN."""
        return Dsn.parse(Secret(self.application.dsn_file.read_text()))

    def session(self) -> Session:
        """Open a session as the application's role."""
        return connect(self.dsn, purpose="demo")

    def write_settings(self) -> None:
        """Write the `alexandria.toml` that an operator would."""
        root = self.application.root
        stop = control.stop_command(root)
        start = control.start_command(root, writes_per_second=_WRITES_PER_SECOND)
        (self.folder / "alexandria.toml").write_text(
            f"""\
repository = {quoted(str(self.folder / "snapshots"))}
state_dir = {quoted(str(self.folder / "state"))}

[database]
dsn_file = {quoted(str(self.application.dsn_file))}
admin_dsn_file = {quoted(str(self.folder / "admin-dsn"))}
client_tools = {quoted(str(self.server.bin_dir))}

[application]
name = "alexandria-ee"
url = {quoted(self.application.url())}
stop_command = [{", ".join(map(quoted, stop))}]
start_command = [{", ".join(map(quoted, start))}]

[audit]
required = true
key_file = {quoted(str(self.application.key_file))}
key_encoding = "raw"
""",
            encoding="utf-8",
        )

    def wiring(self) -> Wiring:
        """Return what the commands would work with in this folder."""
        return Wiring.load(
            config=self.folder / "alexandria.toml",
            environ={},
            cwd=self.folder,
            dsn_file=None,
            emit=self.emit,
        )


def private(path: Path, data: bytes) -> None:
    """Write a file that only this user can read, from its first byte on."""
    path.touch(mode=0o600)
    path.write_bytes(data)


def quoted(text: str) -> str:
    """Return `text` as a TOML string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What tells the database before the migration from the one after it."""

    #: Rows of the table that the migration drops; None where it is gone.
    documents: int | None
    migrated: int


@dataclass(kw_only=True)
class Story:
    """The scenes, in order; each checks its own result."""

    stage: Stage
    emit: Emit
    scenes: list[Scene] = field(default_factory=list)

    def tell(self, rows: int, *, kept_in: str | None) -> Outcome:
        """Play all scenes; raises ProofFailed at the first wrong result."""
        self._play("the application writes", lambda: self._write(rows))
        self._play("doctor looks at everything", self._doctor)
        self._play("snapshot, read back in full", self._snapshot)
        before = self._fingerprint()
        edited = self._edit_target()
        self._play("a migration goes wrong", lambda: self._break(edited))
        broken = self._fingerprint()
        self._play("audit verify", lambda: self._verify_names(edited))
        self._play("restore latest", lambda: self._restore(before))
        self._play("rollback", lambda: self._roll(broken))
        self._play("rollback again: forward", lambda: self._roll(before))
        report = self.stage.wiring().audits.verify(None)
        expect(report is not None and report.exit_code is ExitCode.DONE, "the chain is whole again")
        chain = str(report.status) if report else ""
        return Outcome(scenes=tuple(self.scenes), chain=chain, kept_in=kept_in)

    def _play(self, title: str, scene: Callable[[], Scene]) -> None:
        self.emit(Note(message=f"{title} …"))
        began = time.monotonic()
        played = replace(scene(), title=title, seconds=time.monotonic() - began)
        self.scenes.append(played)
        self.emit(Note(message=f"{title}: {played.result}"))

    def _write(self, rows: int) -> Scene:
        stage = self.stage
        with stage.session() as session:
            create_schema(session)
            key = stage.application.key_file.read_bytes()
            made = fill(session, rows=rows, seed=_SEED, key=key, emit=self.emit)
        control.start(stage.application, writes_per_second=_WRITES_PER_SECOND)
        stage.write_settings()
        probe = stage.wiring().rooms.application.probe
        expect(probe is not None and probe.is_ready(), "`/ready` answers 200")
        told = probe.license() if probe else None
        expect(told is not None and not told.missing, "`/license` shows tier, seats and expiry")
        licence = f"{told.tier}, {told.seats} seats, until {told.expires:%Y-%m-%d}" if told else ""
        return scene(f"`/ready` 200, licence {licence}", rows=made.rows)

    def _doctor(self) -> Scene:
        findings = self.stage.wiring().doctor()
        for finding in findings:
            self.emit(Note(message=f"{finding.status.value:<8} {finding.name}: {finding.message}"))
        failed = [finding.name for finding in findings if finding.status is Status.FAILED]
        expect(not failed, f"no check fails, and not {failed}")
        return scene(f"{len(findings)} checks, none failed")

    def _snapshot(self) -> Scene:
        wiring = self.stage.wiring()
        summary = wiring.taking.create(file=None, kind=SnapshotKind.MANUAL, note="demo").run(accept)
        listed = wiring.snapshots.all()
        taken = summary.state
        expect([entry.id for entry in listed] == [taken.snapshot], "the snapshot is listed")
        expect(listed[0].status == "read back", "the snapshot was read back")
        said = f"{taken.tables} tables; audit: {taken.chain.summary if taken.chain else 'none'}"
        return scene(said, bytes=taken.bytes, rows=taken.rows)

    def _edit_target(self) -> str:
        with self.stage.session() as session:
            return str(
                session.value(
                    'SELECT id FROM public.audit_logs ORDER BY id COLLATE pg_catalog."C" '
                    "OFFSET (SELECT pg_catalog.count(*) / 2 FROM public.audit_logs) LIMIT 1"
                )
            )

    def _break(self, edited: str) -> Scene:
        with self.stage.session() as session:
            session.execute("DROP TABLE public.documents CASCADE")
            lost = session.execute(
                "UPDATE public.messages SET content = 'migrated' WHERE id % 3 = 0"
            )
            session.execute(
                "UPDATE public.audit_logs SET principal = 'nobody@example.org' WHERE id = %s",
                (edited,),
            )
        return scene(
            f"a table dropped, {lost:,} messages overwritten, audit row {edited} edited", rows=lost
        )

    def _verify_names(self, edited: str) -> Scene:
        report = self.stage.wiring().audits.verify(None)
        expect(report is not None, "there is an audit chain")
        if report is None:
            return scene("")
        expect(report.exit_code is ExitCode.AUDIT_BROKEN, "the chain is found broken")
        named = [finding for finding in report.findings if finding.id == edited]
        expect(len(named) == 1 == len(report.findings), f"row {edited} is named, and no other")
        return scene(named[0].describe(), rows=report.rows)

    def _restore(self, expected: Fingerprint) -> Scene:
        procedure = self.stage.wiring().restores.restore(
            "latest", RestoreChoices(reason="the migration went wrong")
        )
        summary = procedure.run(accept)
        state = summary.state
        expect(summary.outcome == "done", f"the restore is done, and not {summary.outcome}")
        expect(state.safety is not None, "a safety snapshot was taken")
        self._expect_data(expected)
        proof = state.proof
        return scene(
            f"{proof.digests if proof else 0} tables proved row by row, "
            f"audit chain {proof.chain if proof else 'unknown'}",
            bytes=state.source.bytes if state.source else None,
            rows=proof.rows if proof else None,
            downtime=summary.downtime_seconds,
        )

    def _roll(self, expected: Fingerprint) -> Scene:
        summary = self.stage.wiring().restores.rollback(None, plan=False).run(accept)
        expect(summary.outcome == "done", f"the rollback is done, and not {summary.outcome}")
        self._expect_data(expected)
        return scene(f"`{summary.state.of_run}` swapped back", downtime=summary.downtime_seconds)

    def _expect_data(self, expected: Fingerprint) -> None:
        found = self._fingerprint()
        expect(found == expected, f"the data are {expected}, and not {found}")
        probe = self.stage.wiring().rooms.application.probe
        expect(probe is not None and probe.is_ready(), "the application is ready")

    def _fingerprint(self) -> Fingerprint:
        """Look at what the application does not write by itself."""
        with self.stage.session() as session:
            there = session.value("SELECT pg_catalog.to_regclass('public.documents') IS NOT NULL")
            documents = session.value("SELECT count(*) FROM public.documents") if there else None
            migrated = session.value(
                "SELECT count(*) FROM public.messages WHERE content = 'migrated'"
            )
        return Fingerprint(documents=documents, migrated=migrated)


def scene(
    result: str,
    *,
    bytes: int | None = None,  # noqa: A002 - the scene's own word
    rows: int | None = None,
    downtime: float | None = None,
) -> Scene:
    """Return what a scene came to; title and time are the player's to add."""
    return Scene(
        title="", seconds=0.0, result=result, bytes=bytes, rows=rows, downtime_seconds=downtime
    )


def expect(truth: bool, what: str) -> None:
    """Raise ProofFailed unless it is as the story says."""
    if not truth:
        raise ProofFailed(f"the demo expected that {what}")


def accept(_: object) -> None:
    """Answer yes: in the demo nobody is asked."""
