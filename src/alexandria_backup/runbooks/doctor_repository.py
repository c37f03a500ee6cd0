"""What the doctor says of the place where snapshots are kept, and of the newest one."""

from collections.abc import Callable, Iterator

from alexandria_backup.postgres.catalog import available_extensions, installed_extensions, tables
from alexandria_backup.postgres.connect import Session
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.opened import Repository
from alexandria_backup.runbooks.doctor_diagnosis import Diagnosis, Status, ok
from alexandria_backup.storage.store import ObjectStore

#: A dump is between these shares of the raw tables: the paper runbook's experience.
_DUMP_SHARE = (0.10, 0.50)


def repository_space(
    open_store: Callable[[], ObjectStore] | None, session: Session
) -> Iterator[Diagnosis]:
    """Look into the repository, and compare its room with a dump."""
    raw = sum(table.total_bytes for table in tables(session))
    low, high = (int(raw * share) for share in _DUMP_SHARE)
    estimate = f"tables have {raw:,} bytes, a dump about {low:,} to {high:,}"
    if open_store is None:
        yield Diagnosis(
            name="repository",
            status=Status.WARNING,
            message=f"none is set; {estimate}",
            hint="export ALEXANDRIA_REPOSITORY=/var/backups/alexandria",
        )
        return
    store = open_store()
    # A listing shows that it is there and that we may look.
    next(iter(store.list(recursive=False)), None)
    free = store.free_bytes()
    if free is not None and free < high:
        yield Diagnosis(
            name="repository",
            status=Status.FAILED if free < low else Status.WARNING,
            message=f"`{store.url}` has {free:,} bytes free; {estimate}",
            hint="free space there, or choose another repository",
        )
    else:
        room = "no limit known" if free is None else f"{free:,} bytes free"
        yield ok("repository", f"`{store.url}`, {room}; {estimate}")


def repository_keys(repository: Repository | None) -> Iterator[Diagnosis]:
    """Say who can read a repository, and whether this machine can write it."""
    if repository is None:
        return
    sealed = f"sealed to {len(repository.recipients)} recipients" * bool(repository.recipients)
    said = f"`{repository.id}`, {sealed or 'not encrypted'}, "
    said += f"signed by {', '.join(f'`{key.name}`' for key in repository.trusted) or 'nobody'}"
    refusal = repository.settled.refusal
    if refusal is not None:
        yield Diagnosis(
            name="repository keys",
            status=Status.FAILED,
            message=f"{said}; not writable from here: {refusal.message}",
            hint=refusal.hint,
        )
    elif repository.lost_heads():
        yield Diagnosis(
            name="repository keys",
            status=Status.WARNING,
            message=f"{said}; its ledger lacks entries that this machine has seen",
            hint="alexandria repository check",
        )
    else:
        yield ok("repository keys", said)


def extensions(newest: Manifest | None, session: Session) -> Iterator[Diagnosis]:
    """Compare what the database and the newest snapshot use with what the server has files for."""
    available = available_extensions(session)
    needed = {*installed_extensions(session), *(newest.extensions if newest else ())}
    missing = sorted(needed - set(available))
    of = f"the database and `{newest.snapshot}` use" if newest else "the database uses"
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        yield Diagnosis(
            name="extensions",
            status=Status.FAILED,
            message=f"the server has no files for {names}, which {of}",
            hint=f"apt install postgresql-{session.server_version // 10_000}-{missing[0]}",
        )
        return
    listed = ", ".join(f"`{name}`" for name in sorted(needed)) or "none"
    yield ok("extensions", f"the server has all that {of}: {listed}")
