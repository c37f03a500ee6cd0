"""Verify a snapshot: read every byte of it as a restore would, and compare with its manifest."""

from dataclasses import dataclass

from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.copying.proof import ExpectedTable
from alexandria_backup.copying.read_archive import ReadArchive
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.events import Emit
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.keyed_digests import may_be_same
from alexandria_backup.repository.manifest_parts import TablePart
from alexandria_backup.runbooks.chain_reader import ChainReader, ChainSeen, chain_seen


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a snapshot was found to be."""

    snapshot: str
    #: `as recorded` where a manifest says the same, else `whole, and no manifest to compare with`.
    verdict: str
    bytes: int
    sha256: str
    tables: int
    rows: int
    large_objects: int
    chain: ChainSeen | None
    #: Names of trusted keys that signed the manifest.
    signers: tuple[str, ...]
    #: One line for each thing that could not be verified.
    not_verified: tuple[str, ...]


def verify_snapshot(
    entry: SnapshotEntry, archive: ArchiveSource, chain: ChainReader, emit: Emit
) -> Verdict:
    """Read a snapshot to its end: `archive` is what `entry` says it has.

    Raises SnapshotDamaged, or a child of it, where it is not whole or not what was recorded.
    """
    if entry.problem is not None:
        raise SnapshotDamaged(
            f"`{entry.id}` is damaged: {entry.problem}", hint="alexandria snapshot list"
        )
    read, report = chain.archive(archive, emit)
    not_verified = [f"{name} could not be counted" for name in read.contents.unverified]
    if entry.manifest is None:
        not_verified.append(f"`{entry.id}` has no manifest: nobody says what it should hold")
    else:
        vouch_for(entry, read)
        compare_with_manifest(entry, read)
    return Verdict(
        snapshot=entry.id,
        verdict="as recorded" if entry.manifest else "whole, and no manifest to compare with",
        bytes=read.bytes,
        sha256=read.sha256,
        tables=len(read.contents.tables),
        rows=read.rows,
        large_objects=read.contents.large_objects.count,
        chain=chain_seen(report),
        signers=entry.signed.signers if entry.signed else (),
        not_verified=tuple(not_verified),
    )


def vouch_for(entry: SnapshotEntry, read: ReadArchive) -> None:
    """Raise SnapshotDamaged where the archive is not the one its manifest was written for."""
    manifest = entry.manifest
    if manifest is None or manifest.archive.name is None:
        # What a repository keeps in parts was compared part by part while it was read.
        return
    if (manifest.archive.bytes, manifest.archive.sha256) != (read.bytes, read.sha256):
        raise SnapshotDamaged(
            f"`{entry.archive}` is not the file that its manifest describes: "
            f"{read.bytes:,} bytes with sha256 {read.sha256[:12]}…, expected "
            f"{manifest.archive.bytes:,} bytes with {manifest.archive.sha256[:12]}…",
            hint="alexandria snapshot list   # choose another snapshot",
        )


def compare_with_manifest(entry: SnapshotEntry, read: ReadArchive) -> None:
    """Raise SnapshotDamaged where an archive holds other rows than its manifest, if any, says.

    The same bytes must mean the same rows to this version, too.
    """
    manifest = entry.manifest
    if manifest is None:
        return
    recorded = {(t.schema_name, t.name): t for t in manifest.tables}
    found = {(t.schema, t.name): t for t in read.expected_tables()}
    differ = [
        name
        for name in recorded.keys() | found.keys()
        if not _same(recorded.get(name), found.get(name), entry.digest_key)
    ]
    if differ:
        schema, name = min(differ)
        raise SnapshotDamaged(
            f"{len(differ)} tables of `{manifest.snapshot}` do not hold what was recorded, "
            f"such as `{schema}.{name}`",
            hint="alexandria snapshot list   # choose another snapshot",
        )


def _same(recorded: TablePart | None, found: ExpectedTable | None, key: bytes | None) -> bool:
    if recorded is None or found is None:
        return False
    # The parts of a framed table have digests of their own.
    return recorded.rows == found.rows and (
        recorded.framed is not None or may_be_same(recorded.digest, found.digest, key)
    )
