"""Results: what verify and drill found, signed and kept; a snapshot's status rests on them."""

import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Final, Literal

from alexandria_backup.repository.access import Access, Found, Owned
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.layout import (
    RESULTS,
    Kind,
    is_result_name,
    new_result_name,
    parse,
)
from alexandria_backup.repository.manifest_parts import Instant, PlainName, Sha256Hex
from alexandria_backup.storage.store import ObjectInfo


class Examination(StrEnum):
    """What was done, from the least to the most."""

    #: Signatures, manifest, and each object there with its size.
    VERIFIED = "verified"
    #: Everything was read, opened and compared, as a restore does.
    READ_BACK = "read back"
    #: It was restored into a throwaway server and checked there.
    DRILLED = "drilled"


#: The detail that tells what a drill has failed by, and its value where that is the checks alone.
FAILED_BY: Final = "failed_by"
BY_CHECKS: Final = "checks"


class Result(Owned):
    """What an examination of one snapshot found."""

    role: Literal["result"] = "result"
    format: Literal[1] = 1
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

    @property
    def only_checks(self) -> bool:
        """Whether all was as recorded, and only an operator's queries were not content."""
        return not self.good and self.details.get(FAILED_BY) == BY_CHECKS


_FORM: Final = Form(role="result", model=Result, version=1, largest=16 << 20)


class Results:
    """The results of one repository."""

    def __init__(self, access: Access) -> None:
        self._access = access

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
        now = datetime.now(UTC)
        result = Result(
            repository=self._access.repository,
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
        data = self._access.encode(_FORM, result)
        self._access.store.put(new_result_name(snapshot, now), data)
        return result

    def all(self) -> tuple[Found[Result], ...]:
        """Return every result, oldest first; what is wrong with one stands in its place."""
        return self._listed(RESULTS)

    def about(self, snapshot: str) -> tuple[Found[Result], ...]:
        """Return every result about one snapshot, as `all` does."""
        return self._listed(f"{RESULTS}{snapshot}/")

    def _listed(self, prefix: str) -> tuple[Found[Result], ...]:
        listed = self._access.store.list(prefix)
        named = [info for info in listed if parse(info.name).kind is Kind.RESULT]
        # The time in a name is the one that is signed, or the result is not believed.
        named.sort(key=lambda info: info.name.rpartition("/")[2])
        return tuple(self._access.read_all(_FORM, named, self._opened))

    def _opened(self, info: ObjectInfo, data: bytes) -> Result:
        result = self._access.decode(_FORM, data)
        if result.snapshot != parse(info.name).key:
            raise _FORM.invalid(f"the result is one of snapshot `{result.snapshot}`")
        if not is_result_name(info.name, result.snapshot, result.at):
            raise _FORM.invalid(
                f"its name does not fit its time, {result.at:%Y-%m-%d %H:%M:%S} UTC"
            )
        return result


def bad_objects(results: Iterable[Found[Result]]) -> frozenset[str]:
    """Return every object that an examination has ever found missing or damaged."""
    return frozenset(
        digest for found in results if found.document for digest in found.document.bad_objects
    )


def standing_of(
    results: Iterable[Result], now: datetime
) -> tuple[Examination | None, Result | None]:
    """Return the most that was done and found good, and the newest result that found it bad.

    `results` are of one manifest, oldest first. One that is good takes back an earlier bad one only
    where it did at least as much, and not where it is of later than `now`: a clock that is wrong
    must not outlast what is found until then. A drill that failed by the operator's queries alone
    has read everything back and found it as recorded: that is no damage, and it is not drilled.
    """
    best: Examination | None = None
    bad: Result | None = None
    order = list(Examination)
    for result in results:
        if not result.good and not result.only_checks:
            bad, best = result, None
            continue
        if bad is not None and (
            result.at > now or order.index(result.examination) < order.index(bad.examination)
        ):
            continue
        bad = None
        if result.only_checks:
            best = Examination.READ_BACK
        elif best is None or order.index(result.examination) > order.index(best):
            best = result.examination
    return best, bad
