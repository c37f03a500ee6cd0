"""Results: what verify and drill found, signed and kept; a snapshot's status rests on them."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Final, Literal

from alexandria_backup.errors import SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.repository.description import RepositoryId
from alexandria_backup.repository.documents import Form, refuse_foreign
from alexandria_backup.repository.fetching import fetch_all
from alexandria_backup.repository.layout import RESULTS, Kind, new_result_name, parse
from alexandria_backup.repository.manifest_parts import Instant, Part, PlainName, Sha256Hex
from alexandria_backup.sealing.signing import SigningKey, TrustedKey
from alexandria_backup.storage.store import ObjectStore


class Examination(StrEnum):
    """What was done, from the least to the most."""

    #: Signatures, manifest, and each object there with its size.
    VERIFIED = "verified"
    #: Everything was read, opened and compared, as a restore does.
    READ_BACK = "read back"
    #: It was restored into a throwaway server and checked there.
    DRILLED = "drilled"


class Result(Part):
    """What an examination of one snapshot found."""

    role: Literal["result"] = "result"
    format: Literal[1] = 1
    repository: RepositoryId
    snapshot: PlainName
    #: SHA-256 of the manifest's document: the result is about no other.
    manifest: Sha256Hex
    examination: Examination
    good: bool
    #: What was wrong, in one line; None where nothing was.
    problem: str | None
    #: Objects that were missing or damaged: nothing is ever taken over from them again.
    bad_objects: tuple[Sha256Hex, ...]
    at: Instant
    tool: str
    host: str
    #: Whatever else is worth keeping, such as `rows` or `seconds`.
    details: dict[str, str]


_FORM: Final = Form(role="result", model=Result, version=1, largest=16 << 20)


@dataclass(frozen=True, kw_only=True)
class FoundResult:
    """A result as it lies in the store."""

    name: str
    #: None where it cannot be read or believed.
    result: Result | None
    problem: str | None


class Results:
    """The results of one repository."""

    def __init__(
        self,
        store: ObjectStore,
        repository: str,
        trusted: Sequence[TrustedKey],
        key: SigningKey | None,
    ) -> None:
        self._store = store
        self._repository = repository
        self._trusted = tuple(trusted)
        self._key = key

    def write(
        self,
        snapshot: str,
        manifest: str,
        examination: Examination,
        *,
        problem: str | None = None,
        bad_objects: Iterable[str] = (),
        details: dict[str, str] | None = None,
    ) -> Result:
        """Write down what an examination found; good where there is no problem.

        `manifest` is the SHA-256 of the manifest's document. Raises WrongKey where results must be
        signed and there is no key, and StorageError.
        """
        if self._trusted and self._key is None:
            raise WrongKey(
                "results of this repository are signed, and this machine has no signing key",
                hint="set `signing.key_file`",
            )
        now = datetime.now(UTC)
        result = Result(
            repository=self._repository,
            snapshot=snapshot,
            manifest=manifest,
            examination=examination,
            good=problem is None,
            problem=problem,
            bad_objects=tuple(sorted(set(bad_objects))),
            at=now,
            tool=version("alexandria-backup"),
            host=socket.gethostname(),
            details=details or {},
        )
        self._store.put(new_result_name(snapshot, now), _FORM.encode(result, self._key))
        return result

    def all(self) -> tuple[FoundResult, ...]:
        """Return every result, oldest first; what is wrong with one stands in its place."""
        return self._listed(RESULTS)

    def about(self, snapshot: str) -> tuple[FoundResult, ...]:
        """Return every result about one snapshot, as `all` does."""
        return self._listed(f"{RESULTS}{snapshot}/")

    def _listed(self, prefix: str) -> tuple[FoundResult, ...]:
        listed = sorted(self._store.list(prefix), key=lambda info: info.name.rpartition("/")[2])
        named = [info for info in listed if parse(info.name).kind is Kind.RESULT]
        return tuple(
            self._found(info.name, data)
            for info, data in fetch_all(self._store, named, largest=_FORM.largest)
        )

    def _found(self, name: str, data: bytes | StorageError | SnapshotDamaged) -> FoundResult:
        try:
            if not isinstance(data, bytes):
                raise data
            result = _FORM.decode(data, self._trusted).document
            refuse_foreign(self._repository, result.repository, "the result")
            if result.snapshot != parse(name).key:
                raise _FORM.invalid(f"the result is one of snapshot `{result.snapshot}`")
        except (SnapshotDamaged, StorageError, WrongKey) as error:
            return FoundResult(name=name, result=None, problem=error.message)
        return FoundResult(name=name, result=result, problem=None)


def bad_objects(results: Iterable[FoundResult]) -> frozenset[str]:
    """Return every object that an examination has ever found missing or damaged."""
    return frozenset(
        digest for found in results if found.result for digest in found.result.bad_objects
    )


def standing_of(results: Iterable[Result]) -> tuple[Examination | None, Result | None]:
    """Return the most that was done and found good, and the newest result that found it bad.

    `results` are of one manifest, oldest first. One that is good takes back an earlier bad one only
    where it did at least as much.
    """
    best: Examination | None = None
    bad: Result | None = None
    order = list(Examination)
    for result in results:
        if not result.good:
            bad, best = result, None
            continue
        if bad is not None and order.index(result.examination) < order.index(bad.examination):
            continue
        bad = None
        if best is None or order.index(result.examination) > order.index(best):
            best = result.examination
    return best, bad
