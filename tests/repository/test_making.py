from collections.abc import Iterator
from pathlib import Path

import pytest
from repository_support import Site

from alexandria_backup.errors import (
    PrecheckRefused,
    RepositoryInvalid,
    StorageError,
    StoreDenied,
)
from alexandria_backup.repository.findings import RepositoryFinding, Severity, abridged
from alexandria_backup.repository.layout import DESCRIPTION, LEASES, object_name
from alexandria_backup.repository.making import make_repository
from alexandria_backup.repository.trust import Keys, Pins
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectInfo


class Forgetful(MemoryStore):
    """Lists nothing, whatever was put."""

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        return iter(())


class Garbling(MemoryStore):
    """Gives back other bytes than were put."""

    def get(self, name: str) -> bytes:
        return super().get(name)[::-1]


@pytest.mark.parametrize(
    ("store", "words"),
    [(Forgetful(), "does not list what was just stored"), (Garbling(), "gives back other bytes")],
)
def test_a_place_that_does_not_do_is_refused(
    tmp_path: Path, store: MemoryStore, words: str
) -> None:
    with pytest.raises(StorageError, match=words):
        make_repository(store, Keys(), Pins(tmp_path))
    assert store.head(DESCRIPTION) is None
    assert store._objects == {}


@pytest.mark.parametrize("verb", ["put", "get", "list", "delete"])
def test_a_right_that_is_missing_shows_now(tmp_path: Path, verb: Verb) -> None:
    store = MemoryStore()
    denied = FaultyStore(store, [Fault(verb=verb, how=How.BEFORE, call=0, error=StoreDenied)])
    with pytest.raises(StoreDenied):
        make_repository(denied, Keys(), Pins(tmp_path))
    assert store.head(DESCRIPTION) is None


@pytest.mark.parametrize("name", ["shop-20261123T120000.pgdump", "holiday/beach.jpg", "objects/x"])
def test_a_place_with_other_things_is_refused(tmp_path: Path, name: str) -> None:
    store = MemoryStore()
    store.put(name, b"")
    with pytest.raises(PrecheckRefused, match="is not empty"):
        make_repository(store, Keys(), Pins(tmp_path))
    assert [info.name for info in store.list()] == [name]


def test_journals_are_no_other_things(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put("runs/snapshot-20261123T120000Z-k3x9/000001.json", b"{}")
    assert make_repository(store, Keys(), Pins(tmp_path)).created
    assert [*store.list(LEASES)] == []


def test_one_that_lost_its_description_is_not_made_anew(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.snapshot()
    site.store.delete(DESCRIPTION)
    with pytest.raises(RepositoryInvalid, match="and it is not there"):
        make_repository(site.store, Keys(), site.pins)
    with pytest.raises(RepositoryInvalid, match=r"has lost its `repository\.json`"):
        make_repository(site.store, Keys(), Pins(tmp_path / "another machine"))


def test_an_orphan_alone_is_a_repository_that_lost_its_description(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put(object_name("ab" * 32), b"")
    with pytest.raises(RepositoryInvalid, match="has lost its"):
        make_repository(store, Keys(), Pins(tmp_path))


def test_a_crash_before_the_ledger_is_made_up_for(tmp_path: Path) -> None:
    store, pins = MemoryStore(), Pins(tmp_path)
    for call in range(1, 20):
        broken = FaultyStore(store, [Fault(verb="put", how=How.BEFORE, call=call)])
        try:
            make_repository(broken, Keys(), pins)
        except StorageError:
            continue
        break
    report = make_repository(store, Keys(), pins).repository.ledger.read()
    assert [entry.action.value for entry in report.entries.values()] == ["init"]
    assert report.problems == ()


def test_a_million_findings_of_a_kind_are_one_fact() -> None:
    def found(code: str, severity: Severity, number: int) -> RepositoryFinding:
        return RepositoryFinding(severity=severity, code=code, about=str(number), message="m")

    many = [found("foreign", Severity.WARNING, number) for number in range(1000)]
    shown = abridged([*many, found("object-missing", Severity.ERROR, 0)])
    assert (len(shown), shown[0].code) == (22, "object-missing")
    assert shown[-1].message == "and 980 more"
