"""Verify and diff of bundles: what the one reader says, as values to be shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from alexandria_backup.bundle.differences import Difference, differences
from alexandria_backup.bundle.exclusions import Exclusions
from alexandria_backup.bundle.live import Placed, live_entries, sparse_members
from alexandria_backup.bundle.manifest import BundleManifest, Head, Tail
from alexandria_backup.bundle.opened import OpenedBundle
from alexandria_backup.events import Emit
from alexandria_backup.sealing.signing import TrustedKey

#: How many differences are told.
_MOST: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class BundleDescription:
    """What a bundle says of itself."""

    head: Head
    tail: Tail
    sha256: str
    #: Names of trusted keys that signed it.
    signers: tuple[str, ...]
    #: Whether anybody has signed it.
    signed: bool
    #: What went wrong while a file was read that is in it all the same, a sentence each.
    troubles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BundleVerdict:
    """What a bundle was found to be."""

    bundle: str
    created: datetime
    entries: int
    bytes: int
    sha256: str
    signers: tuple[str, ...]
    differences: tuple[Difference, ...]
    #: How many paths had problems when it was made.
    problems: int
    #: One line for each thing that could not be verified.
    not_verified: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BundleDifference:
    """What changed from one bundle to another, or to what is on this machine."""

    left: str
    right: str
    differences: tuple[Difference, ...]


def describe_bundle(bundle: OpenedBundle, trusted: tuple[TrustedKey, ...]) -> BundleDescription:
    """Return what the manifest says; nothing else is read where it is not sealed."""
    manifest = bundle.manifest()
    troubled = islice(manifest.troubled(), _MOST) if manifest.tail.problems else ()
    return BundleDescription(
        head=manifest.head,
        tail=manifest.tail,
        sha256=manifest.sha256,
        signers=manifest.signers(trusted),
        signed=manifest.note is not None,
        troubles=tuple(f"`{entry.shown}` {entry.problem}" for entry in troubled),
    )


def verify_bundle(
    bundle: OpenedBundle, trusted: tuple[TrustedKey, ...], emit: Emit
) -> BundleVerdict:
    """Read a bundle to its end; members that are not what it says are told, not raised.

    Raises BundleDamaged where it is none, and WrongKey where nobody trusted has signed it.
    """
    found = bundle.read(emit=emit)
    manifest = found.manifest
    signers = manifest.signers(trusted)
    not_verified = []
    if manifest.note is not None and not trusted:
        not_verified.append("the signature was not checked: `signing.trusted_keys` names nobody")
    return BundleVerdict(
        bundle=manifest.head.bundle,
        created=manifest.head.created,
        entries=manifest.tail.entries,
        bytes=manifest.tail.bytes,
        sha256=manifest.sha256,
        signers=signers,
        differences=found.differences,
        problems=manifest.tail.problems,
        not_verified=tuple(not_verified),
    )


def compare_bundles(left: OpenedBundle, right: OpenedBundle) -> BundleDifference:
    """Return what changed from one bundle to the other, as their manifests say."""
    one, other = left.manifest(), right.manifest()
    found = differences(one.entries(), other.entries())
    return BundleDifference(
        left=one.head.bundle, right=other.head.bundle, differences=tuple(islice(found, _MOST))
    )


def compare_live(
    bundle: OpenedBundle, exclusions: Exclusions, staging: Path | None
) -> BundleDifference:
    """Return what changed on this machine since the bundle was made, in the sets that it has."""
    manifest = bundle.manifest()
    now = live_entries(
        _in_place(manifest),
        exclusions=exclusions,
        staging=staging,
        sparse=sparse_members(manifest),
        copies=True,
    )
    found = differences(manifest.entries(), now)
    return BundleDifference(
        left=manifest.head.bundle, right="live", differences=tuple(islice(found, _MOST))
    )


def _in_place(manifest: BundleManifest) -> Iterator[Placed]:
    for name, root in manifest.head.roots:
        yield Placed(set_name=name, root=root, where=Path(root))
