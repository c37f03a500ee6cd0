import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from repository_support import Site

from alexandria_backup.errors import LockedByAnotherRun, StorageError, StoreUnreachable
from alexandria_backup.repository import holders
from alexandria_backup.repository.holders import is_known_dead, own_mark
from alexandria_backup.repository.layout import LEASES
from alexandria_backup.repository.leases import (
    LIFETIME,
    Held,
    Lease,
    Purpose,
    all_leases,
    held,
    refuse_while,
)
from alexandria_backup.storage.faults import Fault, FaultyStore, How

ID = "0" * 32


def names(site: Site) -> list[str]:
    return [info.name for info in site.store.list(LEASES)]


def test_it_is_there_while_it_is_held(site: Site) -> None:
    with held(site.store, ID, Purpose.READ, "shop-20261123T120000Z-k3x9"):
        assert len(names(site)) == 1
    assert names(site) == []


def test_it_is_gone_after_an_error_too(site: Site) -> None:
    with pytest.raises(KeyError), held(site.store, ID, Purpose.READ):
        raise KeyError
    assert names(site) == []


def test_it_is_put_anew_while_it_is_held(site: Site) -> None:
    with held(site.store, ID, Purpose.WRITE, renewal=timedelta(milliseconds=1)):
        first = names(site)
        assert until(lambda: names(site) != first)
    assert names(site) == []


def test_a_renewal_that_fails_is_tried_again(site: Site) -> None:
    broken = FaultyStore(site.store, [Fault(verb="put", how=How.BEFORE, call=2)])
    with held(broken, ID, Purpose.WRITE, renewal=timedelta(milliseconds=1)):
        first = names(site)
        assert until(lambda: broken.calls["put"] > 3)
        assert names(site) != first
    assert names(site) == []


def until(done: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_where_it_cannot_be_put_nothing_begins(site: Site) -> None:
    for how in (How.BEFORE, How.AFTER):
        broken = FaultyStore(site.store, [Fault(verb="put", how=how)])
        with pytest.raises(StoreUnreachable), held(broken, ID, Purpose.WRITE):
            pytest.fail("it began")
        assert names(site) == []


def test_others_see_it_and_its_holder_does_not(site: Site) -> None:
    with held(site.store, ID, Purpose.WRITE) as ours, held(site.store, ID, Purpose.READ) as theirs:
        (seen,) = all_leases(site.store, ours)
        assert seen.document is not None
        assert (seen.document.purpose, seen.document.pid) == (Purpose.READ, os.getpid())
        (seen,) = all_leases(site.store, theirs)
        assert seen.may_be(Purpose.WRITE)
        assert not seen.may_be(Purpose.PRUNE)


def test_a_lease_that_is_taken_away_by_others_is_said(site: Site) -> None:
    class Cleaner(FaultyStore):
        def put(self, name: str, data: bytes) -> None:
            """Somebody cleans up what is put at once."""

    with pytest.raises(StorageError, match="was removed while it was held"):
        Lease(Cleaner(site.store, []), ID, Purpose.READ, None).put()


class TestWhoIsWaitedFor:
    def test_age_decides(self) -> None:
        young = Held(name="leases/x", age=LIFETIME, document=None)
        old = Held(name="leases/x", age=LIFETIME + timedelta(seconds=1), document=None)
        refuse_while((old,), Purpose.WRITE)
        with pytest.raises(LockedByAnotherRun, match="cannot be read"):
            refuse_while((young,), Purpose.WRITE)

    def test_the_dead_are_not_waited_for(self, site: Site) -> None:
        mark = mark_of_a_dead_process()
        with held(site.store, ID, Purpose.WRITE) as ours, held(site.store, ID, Purpose.PRUNE):
            (seen,) = all_leases(site.store, ours)
            assert seen.document is not None
            assert seen.is_live
            document = seen.document.model_copy(update={"process": mark})
            assert not Held(name=seen.name, age=seen.age, document=document).is_live


def mark_of_a_dead_process() -> str:
    code = (
        "import sys\n"
        "from alexandria_backup.repository.holders import own_mark\n"
        "sys.stdout.write(own_mark() or '')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout
    return ended.stdout


class TestMarks:
    def test_the_living_are_not_dead(self) -> None:
        assert not is_known_dead(own_mark())

    def test_the_dead_are(self) -> None:
        assert is_known_dead(mark_of_a_dead_process())

    def test_a_number_that_was_given_again_is_another_process(self) -> None:
        mark = own_mark()
        assert mark is not None
        assert is_known_dead(mark + "1")

    @pytest.mark.parametrize("mark", [None, "", "elsewhere pid:[1] 1 1", "x" * 500])
    def test_of_other_machines_nothing_is_known(self, mark: str | None) -> None:
        assert not is_known_dead(mark)

    def test_where_processes_of_others_are_hidden_the_kernel_is_asked(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine, dead = own_mark(), mark_of_a_dead_process()
        monkeypatch.setattr(holders, "_status", lambda _: None)
        assert not is_known_dead(mine)
        assert is_known_dead(dead)

    @pytest.mark.parametrize("number", ["../../etc", "", "-1", "²", "9" * 30])
    def test_what_is_no_number_is_not_looked_for(self, number: str) -> None:
        mark = own_mark()
        assert mark is not None
        boot, namespace, *_ = mark.split()
        assert not is_known_dead(f"{boot} {namespace} {number} 1")
