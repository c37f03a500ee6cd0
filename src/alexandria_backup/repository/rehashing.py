"""Reading every object of a repository: `sha256sum` of each is its name, and no key is needed."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from alexandria_backup.errors import ObjectMissing, StorageError, StoreUnreachable
from alexandria_backup.events import Emit, Progress
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.examining import Bad, missing_objects, record
from alexandria_backup.repository.findings import RepositoryFinding, Severity
from alexandria_backup.repository.layout import object_name, parse
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.results import Examination


def rehash(
    repository: Repository,
    present: Mapping[str, int],
    entries: Sequence[SnapshotEntry],
    emit: Emit,
) -> tuple[tuple[RepositoryFinding, ...], int]:
    """Read all objects; return what is damaged, and how many were read.

    What was found is kept as a bad result of each snapshot that needs it, where this machine may
    sign one: the next snapshot then stores it anew. Raises StoreUnreachable.
    """
    bad: dict[str, str] = {}
    total, done = sum(present.values()), 0
    for name, size in present.items():
        problem = _damage(repository, name)
        if problem is not None:
            bad[name] = problem
        done += size
        emit(Progress(work="check", done=done, total=total, unit="bytes"))
    users = _users(entries)
    _keep(repository, entries, bad)
    findings = tuple(
        RepositoryFinding(
            severity=Severity.ERROR,
            code="object-damaged",
            about=name,
            message=f"{problem}; used by {', '.join(users.get(name, ())[:3]) or 'no snapshot'}",
        )
        for name, problem in bad.items()
    )
    return findings, len(present)


def damaged_objects(repository: Repository, entry: SnapshotEntry) -> tuple[Bad, ...]:
    """Read every object of one snapshot; return those that are missing or damaged."""
    if entry.manifest is None:
        return ()
    bad = {
        one.object: one
        for one in missing_objects(entry.manifest, objects_present(repository.store))
    }
    for digest in {part.object for part in entry.manifest.stored_parts()} - bad.keys():
        problem = _damage(repository, object_name(digest))
        if problem is not None:
            bad[digest] = Bad(object=digest, problem=problem)
    return tuple(bad.values())


def _keep(repository: Repository, entries: Sequence[SnapshotEntry], bad: Mapping[str, str]) -> None:
    for entry in entries:
        parts = entry.manifest.stored_parts() if entry.manifest else ()
        found = {p.object: bad[n] for p in parts if (n := object_name(p.object)) in bad}
        if found:
            named = tuple(Bad(object=digest, problem=what) for digest, what in found.items())
            record(repository, entry, Examination.READ_BACK, named)


def _damage(repository: Repository, name: str) -> str | None:
    digest = sha256()
    try:
        for chunk in repository.store.read(name):
            digest.update(chunk)
    except ObjectMissing:
        return None  # swept since it was listed
    except StoreUnreachable:
        raise
    except StorageError as error:
        return error.message
    return (
        None
        if digest.hexdigest() == parse(name).key
        else "was altered: its SHA-256 is not its name"
    )


def _users(entries: Sequence[SnapshotEntry]) -> Mapping[str, list[str]]:
    users: dict[str, list[str]] = {}
    for entry in entries:
        if entry.manifest:
            for digest in {part.object for part in entry.manifest.stored_parts()}:
                users.setdefault(object_name(digest), []).append(entry.id)
    return users
