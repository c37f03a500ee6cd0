"""One tree of errors; a class owns its exit code, its identifier and its meaning.

    AlexandriaError                        1
    ├── UsageError                         2
    │   └── SettingsInvalid                2
    ├── CredentialsNotFound               10
    │   └── DsnInvalid                    10
    ├── DatabaseUnreachable               11
    │   ├── PasswordRejected              11
    │   └── DatabaseMissing               11
    ├── StatementFailed                    1
    │   └── ConnectionLost                 1
    ├── PrecheckRefused                   12
    │   ├── PoolerRefused                 12
    │   ├── ClientToolsMissing            12
    │   ├── RightsMissing                 12
    │   ├── RolesMissing                  12
    │   ├── SpaceMissing                  12
    │   ├── ExtensionsMissing             12
    │   └── OtherApplication              12
    ├── SessionsRemain                     1
    ├── ClientToolFailed                   1
    ├── ServerSpaceShort                   1
    ├── StorageError                       1
    │   ├── StoreUnreachable               1
    │   ├── StoreDenied                    1
    │   ├── StoreFull                      1
    │   ├── ObjectMissing                  1
    │   └── ObjectExists                   1
    ├── SnapshotDamaged                   20
    │   ├── SnapshotMissing               20
    │   ├── ArchiveDamaged                20
    │   ├── ManifestInvalid               20
    │   ├── BundleDamaged                 20
    │   └── RepositoryInvalid             20
    ├── WrongKey                          21
    ├── LockedByAnotherRun                22
    ├── DrillInconclusive                 23
    ├── AuditBroken                       30
    ├── AuditUnverified                   31
    ├── JournalInvalid                     1
    ├── ProofFailed                        1
    │   └── ChecksFailed                   1
    ├── RestoreUndone                     40
    ├── RestoreStopped                    41
    ├── ApplicationNotReady               42
    ├── PlatformRefused                   43
    │   ├── ClusterUnreachable            43
    │   ├── ClusterDenied                 43
    │   ├── ClusterObjectMissing          43
    │   └── ClusterConflict               43
    └── Interrupted                      130

A message is lower case, says what happened to what, and has no full stop; literals stand in
backticks. A hint is a command to type or the one thing to do next.
"""

from enum import IntEnum, unique
from typing import ClassVar


@unique
class ExitCode(IntEnum):
    """How the program ends: an API for scripts, never renumbered."""

    #: Done.
    DONE = 0
    #: Failed.
    FAILED = 1
    #: The command line or the settings are wrong.
    USAGE = 2
    #: Done, with warnings.
    DONE_WITH_WARNINGS = 3
    #: Credentials were not found, or are unusable.
    CREDENTIALS_NOT_FOUND = 10
    #: The database cannot be reached.
    DATABASE_UNREACHABLE = 11
    #: A pre-check refused; nothing was changed.
    PRECHECK_REFUSED = 12
    #: The snapshot is missing or damaged.
    SNAPSHOT_DAMAGED = 20
    #: The key is not the one that is needed.
    WRONG_KEY = 21
    #: Another run holds the lock.
    LOCKED = 22
    #: A drill could not run: nothing is known of the snapshot.
    DRILL_INCONCLUSIVE = 23
    #: The audit chain is broken.
    AUDIT_BROKEN = 30
    #: The audit chain could not be verified.
    AUDIT_UNVERIFIED = 31
    #: The restore failed and was undone; nothing changed.
    RESTORE_UNDONE = 40
    #: The restore stopped half-way; resume it or abort it.
    RESTORE_STOPPED = 41
    #: Restored, but the application is not ready.
    APPLICATION_NOT_READY = 42
    #: The platform that runs the application refused.
    PLATFORM_REFUSED = 43
    #: Interrupted by the operator.
    INTERRUPTED = 130


class AlexandriaError(Exception):
    """The root of everything that this program raises on purpose."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    #: A stable identifier for scripts and for the documentation.
    code: ClassVar[str] = "failed"
    #: What to do where whoever raises knows nothing better.
    usual_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint

    def __str__(self) -> str:
        return self.message


class UsageError(AlexandriaError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.USAGE
    code = "usage"


class SettingsInvalid(UsageError):
    """A settings file or an `ALEXANDRIA_*` variable is unknown, malformed or contradictory."""

    code = "settings-invalid"


class CredentialsNotFound(AlexandriaError):
    """No DSN was found, or the configured source of it failed."""

    exit_code = ExitCode.CREDENTIALS_NOT_FOUND
    code = "credentials-not-found"


class DsnInvalid(CredentialsNotFound):
    """A DSN was found and is not one that libpq understands."""

    code = "dsn-invalid"


class DatabaseUnreachable(AlexandriaError):
    """The server does not answer, or does not let us in."""

    exit_code = ExitCode.DATABASE_UNREACHABLE
    code = "database-unreachable"


class PasswordRejected(DatabaseUnreachable):
    """The server answered and refused the role or its password."""

    code = "password-rejected"


class DatabaseMissing(DatabaseUnreachable):
    """The server answered and has no database of this name."""

    code = "database-missing"


class StatementFailed(AlexandriaError):
    """The server refused a statement."""

    code = "statement-failed"

    def __init__(
        self, message: str, *, sqlstate: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        #: The five characters of PostgreSQL's errcodes, or None where the server sent none.
        self.sqlstate = sqlstate


class ConnectionLost(StatementFailed):
    """The connection ended in the middle of a statement."""

    code = "connection-lost"


class PrecheckRefused(AlexandriaError):
    """Something that was checked beforehand forbids the procedure; nothing was changed."""

    exit_code = ExitCode.PRECHECK_REFUSED
    code = "precheck-refused"


class PoolerRefused(PrecheckRefused):
    """The connection goes through a connection pooler; a direct one is needed."""

    code = "pooler-refused"


class ClientToolsMissing(PrecheckRefused):
    """No `pg_dump` and `pg_restore` fit the server's major version."""

    code = "client-tools-missing"


class RightsMissing(PrecheckRefused):
    """The role may not do what the procedure needs."""

    code = "rights-missing"


class RolesMissing(PrecheckRefused):
    """Roles that own or may use what is restored do not exist on the server."""

    code = "roles-missing"


class SpaceMissing(PrecheckRefused):
    """The disk has too little room."""

    code = "space-missing"


class ExtensionsMissing(PrecheckRefused):
    """The server lacks extensions that the snapshot needs."""

    code = "extensions-missing"


class OtherApplication(PrecheckRefused):
    """The archive seems to belong to another application."""

    code = "other-application"


class SessionsRemain(AlexandriaError):
    """Sessions stay in a database that must be free of them."""

    code = "sessions-remain"


class ClientToolFailed(AlexandriaError):
    """`pg_dump`, `pg_restore` or another of PostgreSQL's programs ended with an error."""

    code = "client-tool-failed"

    def __init__(
        self, message: str, *, hint: str | None = None, lost_connection: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        #: True where its connection to the server ended, or did not come to be: a later attempt
        #: may go well.
        self.lost_connection = lost_connection


class ServerSpaceShort(AlexandriaError):
    """A load was stopped before the server's disk was full."""

    code = "server-space-short"


class StorageError(AlexandriaError):
    """A file or object could not be stored, read, listed or removed."""

    code = "storage-failed"


class StoreUnreachable(StorageError):
    """The object store does not answer."""

    code = "store-unreachable"


class StoreDenied(StorageError):
    """The store refused: missing permission or wrong credentials."""

    code = "store-denied"


class StoreFull(StorageError):
    """The disk or the quota is exhausted."""

    code = "store-full"


class ObjectMissing(StorageError):
    """There is no object of this name."""

    code = "object-missing"


class ObjectExists(StorageError):
    """There is an object of this name already; nothing is ever overwritten."""

    code = "object-exists"


class SnapshotDamaged(AlexandriaError):
    """A snapshot is not what its manifest says."""

    exit_code = ExitCode.SNAPSHOT_DAMAGED
    code = "snapshot-damaged"


class SnapshotMissing(SnapshotDamaged):
    """There is no such snapshot."""

    code = "snapshot-missing"


class ArchiveDamaged(SnapshotDamaged):
    """A file is not a whole, readable archive of pg_dump's custom format."""

    code = "archive-damaged"
    usual_hint = "get the whole file again, or use another snapshot"


class ManifestInvalid(SnapshotDamaged):
    """A manifest is malformed, of another version, or not signed by a trusted key."""

    code = "manifest-invalid"


class BundleDamaged(SnapshotDamaged):
    """A bundle is cut off or altered, is none, or holds what no bundle may hold."""

    code = "bundle-damaged"


class RepositoryInvalid(SnapshotDamaged):
    """A place is no repository, or what it says of itself cannot be believed."""

    code = "repository-invalid"


class WrongKey(AlexandriaError):
    """A key does not open, verify or fit what it is used on."""

    exit_code = ExitCode.WRONG_KEY
    code = "wrong-key"


class LockedByAnotherRun(AlexandriaError):
    """Another run works on the same database."""

    exit_code = ExitCode.LOCKED
    code = "locked"


class DrillInconclusive(AlexandriaError):
    """A drill could not run, or not to its end, for a reason that is none of the snapshot's."""

    exit_code = ExitCode.DRILL_INCONCLUSIVE
    code = "drill-inconclusive"


class AuditBroken(AlexandriaError):
    """The audit chain was verified and is broken."""

    exit_code = ExitCode.AUDIT_BROKEN
    code = "audit-broken"


class AuditUnverified(AlexandriaError):
    """The audit chain could not be verified; that is not success."""

    exit_code = ExitCode.AUDIT_UNVERIFIED
    code = "audit-unverified"


class JournalInvalid(AlexandriaError):
    """A run's journal is missing, damaged or of another format version."""

    code = "journal-invalid"


class ProofFailed(AlexandriaError):
    """What was loaded is not what the snapshot says."""

    code = "proof-failed"


class ChecksFailed(ProofFailed):
    """What was loaded is what the snapshot says, and not what the operator's queries ask for."""

    code = "checks-failed"


class RestoreUndone(AlexandriaError):
    """The restore failed and was undone; the live database is as it was."""

    exit_code = ExitCode.RESTORE_UNDONE
    code = "restore-undone"


class RestoreStopped(AlexandriaError):
    """The restore stopped half-way and waits for `run resume` or `run abort`."""

    exit_code = ExitCode.RESTORE_STOPPED
    code = "restore-stopped"


class ApplicationNotReady(AlexandriaError):
    """The data is restored and the application does not answer as it should."""

    exit_code = ExitCode.APPLICATION_NOT_READY
    code = "application-not-ready"


class PlatformRefused(AlexandriaError):
    """What runs the application refused to stop or start it."""

    exit_code = ExitCode.PLATFORM_REFUSED
    code = "platform-refused"


class ClusterUnreachable(PlatformRefused):
    """The Kubernetes API does not answer, or what answers is something else."""

    code = "cluster-unreachable"


class ClusterDenied(PlatformRefused):
    """The Kubernetes API does not know us, or does not let us."""

    code = "cluster-denied"


class ClusterObjectMissing(PlatformRefused):
    """The cluster has no such object."""

    code = "cluster-object-missing"


class ClusterConflict(PlatformRefused):
    """An object was changed by somebody else while we decided on a change of it."""

    code = "cluster-conflict"


class Interrupted(AlexandriaError):
    """The operator interrupted."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"
