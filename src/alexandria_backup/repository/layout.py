"""Every name in a repository: how it is built, and how it is read back.

    repository.json                      what this place is; only hints, never the trust root
    snapshots/<id>.manifest              what makes objects a snapshot; written last
    objects/<aa>/<sha256>                immutable stored bytes, named by their own digest
    ledger/<time>-<sha256>               what happened here; named by the entry's own digest
    results/<snapshot>/<time>-<random>   what verify and drill found
    partials/<run>/<seq>                 what an unfinished snapshot has stored so far
    leases/<uuid>                        somebody reads or writes: nothing may be swept
    tombstones/<run>                     what a prune is about to remove
    runs/<run>/<seq>.json                journals of runs
    reserve                              room for the day on which the disk is full

A name is never believed: whatever a store lists is parsed here, and what does not parse is foreign.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

DESCRIPTION: Final = "repository.json"
RESERVE: Final = "reserve"
SNAPSHOTS: Final = "snapshots/"
OBJECTS: Final = "objects/"
LEDGER: Final = "ledger/"
RESULTS: Final = "results/"
PARTIALS: Final = "partials/"
LEASES: Final = "leases/"
TOMBSTONES: Final = "tombstones/"
RUNS: Final = "runs/"
MANIFEST_SUFFIX: Final = ".manifest"

# Digits and letters that nobody misreads over the telephone.
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_APPLICATION: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
_SECOND: Final = r"\d{8}T\d{6}Z"
_INSTANT: Final = r"\d{8}T\d{6}\.\d{6}Z"
_SNAPSHOT: Final = rf"{_APPLICATION}-{_SECOND}-[a-z0-9]{{4}}"
_RUN: Final = rf"[a-z][a-z-]{{0,30}}-{_SECOND}-[a-z0-9]{{4}}"
_SHA256: Final = r"[0-9a-f]{64}"


class Kind(StrEnum):
    """What a name in a repository stands for."""

    DESCRIPTION = "description"
    MANIFEST = "manifest"
    OBJECT = "object"
    LEDGER_ENTRY = "ledger entry"
    RESULT = "result"
    PARTIAL = "partial"
    LEASE = "lease"
    TOMBSTONE = "tombstone"
    JOURNAL = "journal"
    RESERVE = "reserve"
    #: Nothing that this program puts there.
    FOREIGN = "foreign"


_FORMS: Final = {
    Kind.DESCRIPTION: re.compile(re.escape(DESCRIPTION)),
    Kind.RESERVE: re.compile(RESERVE),
    Kind.MANIFEST: re.compile(rf"{SNAPSHOTS}(?P<key>{_SNAPSHOT}){re.escape(MANIFEST_SUFFIX)}"),
    Kind.OBJECT: re.compile(
        rf"{OBJECTS}(?P<start>[0-9a-f]{{2}})/(?P<key>(?P=start)[0-9a-f]{{62}})"
    ),
    Kind.LEDGER_ENTRY: re.compile(rf"{LEDGER}{_INSTANT}-(?P<key>{_SHA256})"),
    Kind.RESULT: re.compile(rf"{RESULTS}(?P<key>{_SNAPSHOT})/{_INSTANT}-[a-z0-9]{{4}}"),
    Kind.PARTIAL: re.compile(rf"{PARTIALS}(?P<key>{_RUN})/\d{{6}}"),
    Kind.LEASE: re.compile(rf"{LEASES}(?P<key>[0-9a-f-]{{36}})"),
    Kind.TOMBSTONE: re.compile(rf"{TOMBSTONES}(?P<key>{_RUN})"),
    Kind.JOURNAL: re.compile(rf"{RUNS}(?P<key>{_RUN})/\d{{6}}\.json"),
}


@dataclass(frozen=True, kw_only=True)
class ParsedName:
    """A name, taken apart."""

    kind: Kind
    #: The snapshot's or run's id, the digest or the UUID that the name carries; else empty.
    key: str = ""


def parse(name: str) -> ParsedName:
    """Return what a name stands for; `foreign` where it is none of this program's."""
    for kind, form in _FORMS.items():
        match = form.fullmatch(name)
        if match:
            return ParsedName(kind=kind, key=match.groupdict().get("key") or "")
    return ParsedName(kind=Kind.FOREIGN)


def is_snapshot_id(text: str) -> bool:
    """Tell whether this can be the id of a repository's snapshot."""
    return re.fullmatch(_SNAPSHOT, text) is not None


def new_snapshot_id(application: str, at: datetime) -> str:
    """Return a new id: `alexandria-ee-20261123T120000Z-k3x9`, at `at` in UTC."""
    return f"{application}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_random()}"


def new_run_id(work: str, at: datetime) -> str:
    """Return a new id for a run of the repository's own work, such as `prune-20261123T…-k3x9`."""
    return f"{work}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_random()}"


def manifest_name(snapshot: str) -> str:
    """Return the name of a snapshot's manifest."""
    return f"{SNAPSHOTS}{snapshot}{MANIFEST_SUFFIX}"


def object_name(sha256: str) -> str:
    """Return the name of the object whose stored bytes have this SHA-256, in hex."""
    return f"{OBJECTS}{sha256[:2]}/{sha256}"


def ledger_name(at: datetime, sha256: str) -> str:
    """Return the name of the ledger entry whose document has this SHA-256."""
    return f"{LEDGER}{_instant(at)}-{sha256}"


def new_result_name(snapshot: str, at: datetime) -> str:
    """Return a name for a new result about a snapshot."""
    return f"{RESULTS}{snapshot}/{_instant(at)}-{_random()}"


def is_result_name(name: str, snapshot: str, at: datetime) -> bool:
    """Tell whether this is a name that a result about `snapshot`, found at `at`, is given."""
    return name.rpartition("-")[0] == f"{RESULTS}{snapshot}/{_instant(at)}"


def partial_name(run: str, number: int) -> str:
    """Return the name of the `number`-th record of what a run has stored."""
    return f"{PARTIALS}{run}/{number:06}"


def lease_name(uuid: str) -> str:
    """Return the name of a lease."""
    return f"{LEASES}{uuid}"


def tombstone_name(run: str) -> str:
    """Return the name of what a prune is about to remove."""
    return f"{TOMBSTONES}{run}"


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"


def _random() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(4))
