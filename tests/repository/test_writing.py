from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from repository_support import (
    AT_ONCE,
    IDENTITY,
    NOON,
    SEALED,
    SIGNED,
    Site,
    commit,
    later,
    manifest_of,
    put,
)

from alexandria_backup.errors import SnapshotDamaged, StorageError, StoreUnreachable
from alexandria_backup.repository.layout import (
    PARTIALS,
    SNAPSHOTS,
    TOMBSTONES,
    object_name,
    tombstone_name,
)
from alexandria_backup.repository.leases import Purpose, held
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.results import Examination
from alexandria_backup.repository.tombstones import FORM, Tombstone
from alexandria_backup.repository.trust import Keys
from alexandria_backup.repository.writing import Patience, writing
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb

RUN = "snapshot-20261123T120000Z-k3x9"
PRUNE = "prune-20261123T120000Z-k3x9"
TEXTS = [b"one" * 100, b"two" * 100, b"three" * 100]


@pytest.fixture(params=[Keys(), SIGNED, SEALED], ids=["plain", "signed", "sealed"])
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def doom(site: Site, *digests: str, run: str = PRUNE) -> str:
    tombstone = Tombstone(
        repository=site.repository().id,
        run=run,
        at=NOON,
        snapshots=(),
        objects=digests,
        bytes=0,
    )
    name = tombstone_name(run)
    site.store.put(name, FORM.encode(tombstone, site.keys.signing))
    return name


def test_a_snapshot_is_listed_and_read(any_site: Site) -> None:
    manifest = any_site.snapshot(TEXTS)
    entry = any_site.repository().snapshots.find(manifest.snapshot)
    assert entry.manifest == manifest
    assert (entry.status, entry.problem, entry.created) == ("stored", None, NOON)
    assert any_site.read(manifest) == b"".join(TEXTS)


def test_the_ledger_knows_it_and_this_machine_remembers_the_head(any_site: Site) -> None:
    manifest = any_site.snapshot()
    repository = any_site.repository()
    report = repository.ledger.read()
    assert report.problems == ()
    assert [entry.action for entry in report.entries.values()] == [Action.INIT, Action.SNAPSHOT]
    assert list(report.taken) == [manifest.snapshot]
    assert repository.settled.pin.heads == report.heads


def test_nothing_but_the_snapshot_is_left(any_site: Site) -> None:
    any_site.snapshot(TEXTS)
    kinds = {name.partition("/")[0] for name in any_site.names()}
    assert kinds == {"repository.json", "objects", "snapshots", "ledger"}


def test_the_same_parts_are_stored_once(site: Site) -> None:
    first, second = site.snapshot(TEXTS), site.snapshot(TEXTS, created=later(1))
    assert first.archive.parts == second.archive.parts
    assert len(site.objects()) == len(TEXTS)


class TestInterrupted:
    """What an interrupted snapshot has stored is found by the next, and only where it is good."""

    def test_its_parts_are_reused(self, any_site: Site) -> None:
        self._interrupt(any_site)
        before = any_site.objects()
        assert any_site.ids() == []
        manifest = any_site.snapshot(TEXTS)
        assert any_site.objects() == before
        assert any_site.read(manifest) == b"".join(TEXTS)
        assert [*any_site.store.list(PARTIALS)] == []

    def test_not_one_that_is_gone(self, any_site: Site) -> None:
        self._interrupt(any_site)
        for name in any_site.objects():
            any_site.store.delete(name)
        assert any_site.read(any_site.snapshot(TEXTS)) == b"".join(TEXTS)

    def test_not_for_another_recipient(self, tmp_path: Path) -> None:
        site = Site(tmp_path)
        self._interrupt(site)
        sealed = Site(tmp_path / "sealed", SEALED)
        name = next(info.name for info in site.store.list(PARTIALS))
        sealed.store.put(name, site.store.get(name))
        with writing(sealed.repository(), RUN) as work:
            assert work.known == {}

    def test_not_one_that_a_stranger_wrote_down(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        self._interrupt(site)
        name = next(info.name for info in site.store.list(PARTIALS))
        site.replace(name, site.store.get(name).partition(b"\n\n")[0] + b"\n")
        with writing(site.repository(), RUN) as work:
            assert work.known == {}

    def test_the_partials_of_another_that_is_at_work_stay(self, site: Site) -> None:
        repository = site.repository()
        with writing(repository, RUN, patience=AT_ONCE) as other:
            put(other, TEXTS, repository)
            site.snapshot(TEXTS, created=later(1))
            assert len([*site.store.list(PARTIALS)]) == 1

    def _interrupt(self, site: Site) -> None:
        repository = site.repository()
        with suppress(KeyboardInterrupt), writing(repository, RUN, patience=AT_ONCE) as work:
            put(work, TEXTS, repository)
            raise KeyboardInterrupt


class TestNotReliedOn:
    def test_what_an_examination_found_bad(self, site: Site) -> None:
        manifest = site.snapshot(TEXTS)
        part = manifest.archive.parts[0]
        site.repository().results.write(
            manifest.snapshot,
            "0" * 64,
            Examination.READ_BACK,
            problem="was altered",
            bad_objects=[part.object],
        )
        with writing(site.repository(), RUN) as work:
            assert not work.usable(part)
            assert work.usable(manifest.archive.parts[1])

    def test_what_has_another_size(self, site: Site) -> None:
        part = site.snapshot(TEXTS).archive.parts[0]
        with writing(site.repository(), RUN) as work:
            assert not work.usable(part.model_copy(update={"bytes": part.bytes + 1}))

    def test_what_a_prune_at_work_dooms(self, site: Site) -> None:
        part = site.snapshot(TEXTS).archive.parts[0]
        with held(site.store, site.repository().id, Purpose.PRUNE):
            doom(site, part.object)
            with writing(site.repository(), RUN) as work:
                assert not work.usable(part)

    def test_a_prune_that_nobody_goes_on_with_is_concluded_first(self, site: Site) -> None:
        part = site.snapshot(TEXTS).archive.parts[0]
        doom(site, part.object)
        with writing(site.repository(), RUN) as work:
            assert work.usable(part)
        assert [*site.store.list(TOMBSTONES)] == []


class TestBesideAPrune:
    """Whichever way the two interleave, no manifest stays whose objects go."""

    def test_a_tombstone_that_appears_meanwhile(self, any_site: Site) -> None:
        repository = any_site.repository()
        with writing(repository, RUN, patience=AT_ONCE) as work:
            parts = put(work, TEXTS, repository)
            doom(any_site, parts[1].object)
            with pytest.raises(SnapshotDamaged, match="a prune was removing objects") as caught:
                work.commit(manifest_of(repository, parts, NOON))
        assert object_name(parts[1].object) in str(caught.value)
        assert [*any_site.store.list(SNAPSHOTS)] == []
        withdrawn = [*any_site.repository().ledger.read().removed.values()]
        assert [entry.action for entry in withdrawn] == [Action.WITHDRAWN]

    def test_an_object_that_was_swept_meanwhile(self, any_site: Site) -> None:
        repository = any_site.repository()
        with writing(repository, RUN, patience=AT_ONCE) as work:
            parts = put(work, TEXTS, repository)
            any_site.store.delete(object_name(parts[2].object))
            with pytest.raises(SnapshotDamaged, match="was removing objects"):
                work.commit(manifest_of(repository, parts, NOON))
        assert any_site.ids() == []

    def test_a_tombstone_of_other_objects_does_not_matter(self, any_site: Site) -> None:
        repository = any_site.repository()
        with writing(repository, RUN, patience=AT_ONCE) as work:
            parts = put(work, TEXTS, repository)
            doom(any_site, "ab" * 32)
            commit(work, manifest_of(repository, parts, NOON))
        assert len(any_site.ids()) == 1

    def test_a_prune_that_gives_up_is_waited_for(self, any_site: Site) -> None:
        repository = any_site.repository()
        tombstones = []

        def give_up(_: float) -> None:
            any_site.store.delete(tombstones.pop())

        with (
            held(any_site.store, repository.id, Purpose.PRUNE),
            writing(repository, RUN, patience=Patience(sleep=give_up)) as work,
        ):
            parts = put(work, TEXTS, repository)
            tombstones.append(doom(any_site, parts[1].object))
            manifest = manifest_of(repository, parts, NOON)
            commit(work, manifest)
        assert tombstones == []
        assert any_site.read(manifest) == b"".join(TEXTS)

    def test_one_that_sweeps_meanwhile_is_not(self, any_site: Site) -> None:
        repository = any_site.repository()
        with (
            held(any_site.store, repository.id, Purpose.PRUNE),
            writing(repository, RUN, patience=Patience(sleep=lambda _: sweep())) as work,
        ):
            parts = put(work, TEXTS, repository)
            doom(any_site, parts[1].object)

            def sweep() -> None:
                any_site.store.delete(object_name(parts[1].object))

            with pytest.raises(SnapshotDamaged, match="a prune was removing objects"):
                work.commit(manifest_of(repository, parts, NOON))
        assert any_site.ids() == []

    def test_one_that_was_killed_is_concluded(self, any_site: Site) -> None:
        repository = any_site.repository()
        patience = Patience(sleep=lambda _: None)
        with writing(repository, RUN, patience=patience) as work:
            parts = put(work, TEXTS, repository)
            doom(any_site, parts[1].object)
            commit(work, manifest_of(repository, parts, NOON))
        assert [*any_site.store.list(TOMBSTONES)] == []

    def test_the_next_one_works_with_no_help(self, any_site: Site) -> None:
        repository = any_site.repository()
        with writing(repository, RUN, patience=AT_ONCE) as work:
            parts = put(work, TEXTS, repository)
            doom(any_site, parts[0].object)
            with pytest.raises(SnapshotDamaged):
                work.commit(manifest_of(repository, parts, NOON))
        assert any_site.read(any_site.snapshot(TEXTS)) == b"".join(TEXTS)


VERBS: list[Verb] = ["put", "get", "head", "list", "delete"]


@pytest.mark.parametrize("how", [How.BEFORE, How.AFTER])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("keys", [Keys(), SEALED], ids=["plain", "sealed"])
def test_a_fault_of_any_call_leaves_earlier_snapshots_whole(
    tmp_path: Path, keys: Keys, verb: Verb, how: How
) -> None:
    """Every call of every verb fails once, in turn, until a snapshot gets by without meeting it."""
    for call in range(1, 200):
        site = Site(tmp_path / str(call), keys)
        before = site.snapshot([b"earlier"])
        broken = FaultyStore(site.store, [Fault(verb=verb, how=how, call=call)])
        with suppress(StorageError, AssertionError):
            site.snapshot(TEXTS, created=later(1), store=broken)
        met = broken.calls[verb] >= call
        assert site.read(before) == b"earlier"
        for entry in site.repository().snapshots.all():
            assert entry.problem is None
            assert entry.manifest is not None
            assert site.read(entry.manifest) in {b"earlier", b"".join(TEXTS)}
        assert site.read(site.snapshot(TEXTS, created=later(2))) == b"".join(TEXTS)
        if not met:
            return
    pytest.fail("the fault never missed")


def test_a_store_that_is_gone_when_the_manifest_is_put_is_said_to_be(site: Site) -> None:
    repository = site.repository()
    with writing(repository, RUN, patience=AT_ONCE) as work:
        parts = put(work, TEXTS, repository)
        manifest = manifest_of(repository, parts, NOON)
        broken = FaultyStore(
            site.store,
            [Fault(verb=verb, how=How.BEFORE, call=0) for verb in ("put", "head", "delete")],
        )
        work._repository = replace(repository, store=broken)
        with pytest.raises(StorageError, match="could not be taken back"):
            work.commit(manifest)
    assert site.ids() == []


def test_recipients_are_those_who_can_open_it(tmp_path: Path) -> None:
    manifest = Site(tmp_path, SEALED).snapshot(TEXTS)
    assert manifest.recipients == (str(IDENTITY.recipient),)


def test_unreachable_is_not_taken_for_empty(site: Site) -> None:
    broken = FaultyStore(site.store, [Fault(verb="list", how=How.MIDDLE, call=0)])
    with pytest.raises(StoreUnreachable), writing(site.repository(broken), RUN):
        pass
