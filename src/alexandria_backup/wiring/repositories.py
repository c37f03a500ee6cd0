"""Making a repository, looking at it, checking it, and removing snapshots from it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.repository.checking import check
from alexandria_backup.repository.examining import Examined, examine
from alexandria_backup.repository.findings import CheckReport
from alexandria_backup.repository.making import Made, make_repository
from alexandria_backup.repository.new_keys import NewKeys, make_keys
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.opened import Repository, no_repository
from alexandria_backup.repository.prune import Pruned, dry_run, prune
from alexandria_backup.repository.prune_plan import PrunePlan
from alexandria_backup.repository.removal import Removed, delete_snapshot
from alexandria_backup.repository.retention import KeepRules
from alexandria_backup.repository.summary import RepositorySummary, summarise
from alexandria_backup.storage.locate import is_missing_folder
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms


@dataclass(frozen=True)
class Repositories:
    """What `alexandria repository` does, and `snapshot delete` and `prune`."""

    rooms: Rooms
    places: Places

    @cached_property
    def opened(self) -> Repository:
        """The repository of the settings; raises SettingsInvalid and RepositoryInvalid."""
        store = self.places.files().store
        repository = self.rooms.opened
        if repository is None:
            raise no_repository(store)
        return repository

    def new_keys(self, folder: Path) -> NewKeys:
        """Make an identity and a signing key in a folder."""
        return make_keys(folder, name=self.rooms.settings.signing.key_name)

    def init(self, made: NewKeys | None) -> Made:
        """Make the repository of the settings, with these keys or those of the settings."""
        settings, store = self.rooms.settings, self.places.files().store
        if settings.repository is None:
            raise SettingsInvalid("no repository is set")
        return make_repository(
            store,
            made.keys if made else self.rooms.keys,
            self.rooms.pins,
            place_exists=not is_missing_folder(settings.repository),
        )

    def info(self) -> RepositorySummary:
        """Say what it is and holds."""
        return summarise(self.opened)

    def check(self, *, deep: bool) -> CheckReport:
        """Look at everything in it."""
        return check(self.opened, now=datetime.now(UTC), deep=deep, emit=self.rooms.emit)

    def examine(self, name: str) -> Examined:
        """Verify a snapshot without reading its objects."""
        _, archive = self.places.locate(name)
        return examine(self.opened, self.opened.snapshots.find(archive))

    def delete(self, snapshot: str, reason: str) -> Removed:
        """Remove one snapshot."""
        repository = self.opened
        present = objects_present(repository.store)
        return delete_snapshot(repository, snapshot, reason, present)

    def plan_prune(self, rules: KeepRules) -> PrunePlan:
        """Say what a prune would remove."""
        return dry_run(self.opened, rules)

    def prune(self, rules: KeepRules, confirm: Callable[[PrunePlan], None]) -> Pruned:
        """Remove what no rule keeps."""
        return prune(
            self.opened,
            rules,
            grace=timedelta(seconds=self.rooms.settings.prune.grace_s),
            confirm=confirm,
            emit=self.rooms.emit,
        )

    def rules(self, **given: int | None) -> KeepRules:
        """Return the rules of the settings, or those of the command line where any is given."""
        keep = self.rooms.settings.prune
        if any(count is not None for count in given.values()):
            within = given.pop("within_days", None)
            counts = {name: count for name, count in given.items() if count is not None}
            return KeepRules(**counts, within=_days(within))
        return KeepRules(
            last=keep.keep_last,
            hourly=keep.keep_hourly,
            daily=keep.keep_daily,
            weekly=keep.keep_weekly,
            monthly=keep.keep_monthly,
            yearly=keep.keep_yearly,
            within=_days(keep.keep_within_days),
        )


def _days(count: int | None) -> timedelta | None:
    return None if count is None else timedelta(days=count)
