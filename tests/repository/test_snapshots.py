from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from repository_support import NOON, SIGNED, Site, later

from alexandria_backup.errors import (
    LockedByAnotherRun,
    PrecheckRefused,
    SnapshotMissing,
    StoreDenied,
    StoreUnreachable,
    WrongKey,
)
from alexandria_backup.repository import results
from alexandria_backup.repository.examining import Bad, examine, record
from alexandria_backup.repository.layout import (
    LEASES,
    RESULTS,
    manifest_name,
    new_result_name,
    object_name,
)
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.removal import delete_snapshot
from alexandria_backup.repository.results import Examination
from alexandria_backup.repository.trust import Keys
from alexandria_backup.storage.faults import Fault, FaultyStore, How

BAD = (Bad(object="ab" * 32, problem="is missing"),)


class TestStatus:
    """Never more than was done, and `damaged` while the last look found something wrong."""

    def examined(self, site: Site, manifest: Manifest, *steps: tuple[Examination, bool]) -> str:
        for examination, good in steps:
            repository = site.repository()
            entry = repository.snapshots.find(manifest.snapshot)
            assert record(repository, entry, examination, () if good else BAD)
        return site.repository().snapshots.find(manifest.snapshot).status

    @pytest.mark.parametrize(
        ("steps", "status"),
        [
            ((), "stored"),
            (((Examination.VERIFIED, True),), "stored"),
            (((Examination.READ_BACK, True),), "read back"),
            (((Examination.READ_BACK, True), (Examination.VERIFIED, True)), "read back"),
            (((Examination.DRILLED, True),), "drilled"),
            (((Examination.DRILLED, True), (Examination.READ_BACK, True)), "drilled"),
            (((Examination.VERIFIED, False),), "damaged"),
            (((Examination.DRILLED, True), (Examination.VERIFIED, False)), "damaged"),
            (((Examination.VERIFIED, False), (Examination.VERIFIED, True)), "stored"),
            (((Examination.READ_BACK, False), (Examination.VERIFIED, True)), "damaged"),
            (((Examination.READ_BACK, False), (Examination.READ_BACK, True)), "read back"),
            (((Examination.READ_BACK, False), (Examination.DRILLED, True)), "drilled"),
        ],
    )
    def test_it_follows_from_what_was_found(
        self, site: Site, steps: tuple[tuple[Examination, bool], ...], status: str
    ) -> None:
        assert self.examined(site, site.snapshot(), *steps) == status

    @pytest.mark.parametrize(
        ("before", "status"),
        [
            ((), "read back"),
            (((Examination.DRILLED, True),), "read back"),
            (((Examination.READ_BACK, False),), "read back"),
        ],
    )
    def test_a_drill_that_failed_by_its_checks_alone_is_no_damage(
        self, site: Site, before: tuple[tuple[Examination, bool], ...], status: str
    ) -> None:
        manifest = site.snapshot()
        self.examined(site, manifest, *before)
        repository = site.repository()
        entry = repository.snapshots.find(manifest.snapshot)
        by_checks = {"failed_by": "checks"}
        record(
            repository, entry, Examination.DRILLED, (), problem="`recent` failed", details=by_checks
        )
        found = site.repository().snapshots.find(manifest.snapshot)
        assert found.status == status
        assert "`recent` failed" in (found.doubt or "")
        # What is damaged after all is that.
        assert self.examined(site, manifest, (Examination.VERIFIED, False)) == "damaged"

    def test_a_result_about_another_manifest_does_not_count(self, site: Site) -> None:
        manifest = site.snapshot()
        site.repository().results.write(manifest.snapshot, "0" * 64, Examination.DRILLED)
        assert site.repository().snapshots.find(manifest.snapshot).status == "stored"

    def test_a_result_that_nobody_signed_does_not_count(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        manifest = site.snapshot()
        self.examined(site, manifest, (Examination.DRILLED, True))
        (name,) = [info.name for info in site.store.list(RESULTS)]
        site.replace(name, site.store.get(name).partition(b"\n\n")[0] + b"\n")
        assert site.repository().snapshots.find(manifest.snapshot).status == "stored"

    def test_a_result_under_a_later_time_does_not_count(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        manifest = site.snapshot()
        self.examined(site, manifest, (Examination.DRILLED, True))
        (name,) = [info.name for info in site.store.list(RESULTS)]
        later_name = new_result_name(manifest.snapshot, datetime.now(UTC) + timedelta(days=365))
        site.store.put(later_name, site.store.get(name))
        assert self.examined(site, manifest, (Examination.READ_BACK, False)) == "damaged"
        (found,) = [found for found in site.repository().results.all() if found.problem]
        assert found.name == later_name
        assert "its name does not fit its time" in (found.problem or "")

    def test_a_good_result_of_the_future_takes_no_damage_back(self, site: Site) -> None:
        manifest = site.snapshot()
        with patch.object(results, "datetime", wraps=datetime) as clock:
            clock.now.return_value = datetime.now(UTC) + timedelta(days=365)
            assert self.examined(site, manifest, (Examination.DRILLED, True)) == "drilled"
        assert self.examined(site, manifest, (Examination.READ_BACK, False)) == "damaged"
        found = site.repository().snapshots.find(manifest.snapshot)
        assert "is dated in the future of this machine's clock" in (found.doubt or "")

    def test_a_machine_without_the_key_keeps_none(self, tmp_path: Path) -> None:
        site = Site(tmp_path, SIGNED)
        manifest = site.snapshot()
        site.keys = Keys(trusted=SIGNED.trusted)
        repository = site.repository()
        entry = repository.snapshots.find(manifest.snapshot)
        assert not examine(repository, entry).recorded
        with pytest.raises(WrongKey, match="no signing key"):
            repository.results.write(manifest.snapshot, "0" * 64, Examination.DRILLED)


class TestExamining:
    def test_all_is_there(self, site: Site) -> None:
        manifest = site.snapshot([b"one", b"two", b"one"])
        repository = site.repository()
        examined = examine(repository, repository.snapshots.find(manifest.snapshot))
        assert (examined.objects, examined.bad) == (2, ())
        assert examined.bytes == sum(info.size for info in site.store.list("objects/"))

    def test_what_is_missing_or_of_another_size_is_named(self, site: Site) -> None:
        manifest = site.snapshot([b"one", b"two"])
        one, two = (object_name(part.object) for part in manifest.archive.parts)
        site.store.delete(one)
        site.replace(two, b"short")
        repository = site.repository()
        bad = examine(repository, repository.snapshots.find(manifest.snapshot)).bad
        assert [object_name(b.object) for b in bad] == [one, two]
        assert bad[0].problem == "is missing"
        assert bad[1].problem.startswith("has 5 bytes, and ")
        entry = site.repository().snapshots.find(manifest.snapshot)
        assert entry.status == "damaged"
        assert f"`{one}` is missing, and 1 more" in (entry.problem or "")

    def test_what_was_found_missing_heals_in_the_next_snapshot(self, site: Site) -> None:
        manifest = site.snapshot([b"one", b"two"])
        name = object_name(manifest.archive.parts[0].object)
        site.replace(name, site.store.get(name)[::-1])
        healed = site.snapshot([b"one", b"two"], created=later(1))
        assert site.read(healed) == b"onetwo"
        # Here the object has the same name, so the older snapshot is healed with it.
        assert site.read(manifest) == b"onetwo"


class TestFinding:
    def test_by_its_id_and_by_its_manifest_s_name(self, site: Site) -> None:
        manifest = site.snapshot()
        snapshots = site.repository().snapshots
        for name in (manifest.snapshot, manifest_name(manifest.snapshot)):
            assert snapshots.find(name).manifest == manifest

    @pytest.mark.parametrize("name", ["", "x", "../etc/passwd", "latest", "a" * 2000, "\udcff"])
    def test_what_is_no_id_is_missing(self, site: Site, name: str) -> None:
        site.snapshot()
        with pytest.raises(SnapshotMissing, match="there is no snapshot"):
            site.repository().snapshots.find(name)

    def test_the_nearest_is_named(self, site: Site) -> None:
        manifest = site.snapshot()
        other = manifest.snapshot[:-1] + ("a" if manifest.snapshot[-1] != "a" else "b")
        with pytest.raises(SnapshotMissing, match=f"the nearest is `{manifest.snapshot}`"):
            site.repository().snapshots.find(other)

    def test_one_that_goes_while_it_is_read(self, site: Site) -> None:
        manifest, other = site.snapshot(), site.snapshot(created=later(1))

        class Going(FaultyStore):
            def get(self, name: str) -> bytes:
                site.store.delete(manifest_name(manifest.snapshot))
                return super().get(name)

        snapshots = site.repository(Going(site.store, [])).snapshots
        assert [entry.manifest for entry in snapshots.all()] == [other]
        with pytest.raises(SnapshotMissing, match="somebody else did"):
            snapshots.find(manifest.snapshot)

    def test_latest_is_by_the_server_s_clock_and_of_this_database(self, site: Site) -> None:
        newest = site.snapshot(created=later(2))
        site.snapshot(created=NOON)
        site.snapshot(created=later(3), kind=SnapshotKind.SAFETY)
        site.snapshot(created=later(4), database_name="other")
        site.snapshot(created=later(5), application="another")
        found = site.repository().snapshots.latest(application="shop", database="shop")
        assert found.manifest == newest

    def test_latest_is_never_one_that_is_known_to_be_damaged(self, site: Site) -> None:
        good, bad = site.snapshot(), site.snapshot(created=later(1))
        repository = site.repository()
        entry = repository.snapshots.find(bad.snapshot)
        record(repository, entry, Examination.READ_BACK, BAD)
        found = site.repository().snapshots.latest(application="shop", database="shop")
        assert found.manifest == good


class TestDeleting:
    def delete(self, site: Site, manifest: Manifest) -> bool:
        present = objects_present(site.store)
        return delete_snapshot(site.repository(), manifest.snapshot, "why", present).was_there

    def test_one_that_is_read_stays(self, site: Site) -> None:
        old, _ = site.snapshot(), site.snapshot(created=later(1))
        with site.repository().reading(old.snapshot), pytest.raises(LockedByAnotherRun):
            self.delete(site, old)
        assert self.delete(site, old)

    def test_the_last_good_one_stays(self, site: Site) -> None:
        good, broken = site.snapshot([b"good"]), site.snapshot([b"broken"], created=later(1))
        site.store.delete(object_name(broken.archive.parts[0].object))
        with pytest.raises(PrecheckRefused, match="is the last good snapshot"):
            self.delete(site, good)
        assert self.delete(site, broken)

    def test_a_crash_after_the_entry_lets_it_be_deleted_again(self, site: Site) -> None:
        old, _ = site.snapshot(), site.snapshot(created=later(1))
        broken = FaultyStore(site.store, [Fault(verb="delete", how=How.BEFORE, call=0)])
        present = objects_present(site.store)
        with pytest.raises(StoreUnreachable, match="on purpose"):
            delete_snapshot(site.repository(broken), old.snapshot, "why", present)
        assert old.snapshot in site.ids()
        for info in [*site.store.list(LEASES)]:
            site.store.delete(info.name)
        assert self.delete(site, old)


def test_who_may_only_read_needs_no_lease(site: Site) -> None:
    manifest = site.snapshot()
    denied = [Fault(verb=v, how=How.BEFORE, call=0, error=StoreDenied) for v in ("put", "delete")]
    reader = FaultyStore(site.store, denied)  # type: ignore[arg-type]
    with site.repository(reader).reading(manifest.snapshot):
        assert [*site.store.list(LEASES)] == []
