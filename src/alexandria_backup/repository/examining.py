"""Examining one snapshot without reading its objects: signatures, manifest, and what is there."""

from collections.abc import Mapping
from dataclasses import dataclass

from alexandria_backup.errors import SnapshotDamaged, StoreDenied, WrongKey
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.results import Examination


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An object that is not what a manifest says."""

    #: Its SHA-256, by which manifests name it.
    object: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What a verify without reading found."""

    snapshot: str
    #: Names of trusted keys that signed the manifest; empty in a repository that is not signed.
    signers: tuple[str, ...]
    objects: int
    bytes: int
    bad: tuple[Bad, ...]
    #: Whether the result was signed and kept.
    recorded: bool


def missing_objects(manifest: Manifest, present: Mapping[str, int]) -> tuple[Bad, ...]:
    """Return each object that a snapshot needs and that is not there with its size."""
    sizes = {part.object: part.bytes for part in manifest.stored_parts()}
    return tuple(
        Bad(object=digest, problem=problem)
        for digest, size in sizes.items()
        if (problem := _problem(size, present.get(object_name(digest)))) is not None
    )


def examine(repository: Repository, entry: SnapshotEntry) -> Examined:
    """Verify a snapshot's signatures, manifest, and that each object is there with its size.

    What was found is kept as a result, where this machine may sign one. An object that is missing
    is no error here but a finding. Raises SnapshotDamaged for a manifest that cannot be believed,
    and StorageError.
    """
    if entry.manifest is None or entry.signed is None or entry.document is None:
        raise SnapshotDamaged(
            f"`{entry.id}` has no manifest that can be believed: {entry.problem}",
            hint="alexandria repository check",
        )
    bad = missing_objects(entry.manifest, objects_present(repository.store))
    sizes = {part.object: part.bytes for part in entry.manifest.stored_parts()}
    return Examined(
        snapshot=entry.id,
        signers=entry.signed.signers,
        objects=len(sizes),
        bytes=sum(sizes.values()),
        bad=bad,
        recorded=record(repository, entry, Examination.VERIFIED, bad),
    )


def record(
    repository: Repository,
    entry: SnapshotEntry,
    examination: Examination,
    bad: tuple[Bad, ...],
    *,
    problem: str | None = None,
    details: dict[str, str] | None = None,
) -> bool:
    """Sign and keep what an examination found; False where this machine can only read.

    Also for `verify --deep` and for drills: `bad` are the objects that were missing or damaged, and
    `problem` is what was wrong otherwise. It was good where there is neither.
    """
    if entry.document is None:
        return False
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        problem = f"object `{object_name(bad[0].object)}` {bad[0].problem}{more}"
    try:
        repository.results.write(
            entry.id,
            entry.document,
            examination,
            problem=problem,
            bad_objects=[one.object for one in bad],
            details=details,
        )
    except (WrongKey, StoreDenied):
        return False
    return True


def _problem(size: int, found: int | None) -> str | None:
    if found is None:
        return "is missing"
    return None if found == size else f"has {found:,} bytes, and {size:,} were stored"
