"""An object store that stumbles, over its real protocol, under each command that works with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from oracle_support import keep_in_frames
from site_support import Ended, Site
from store_places import Moto, Place
from stumbling_s3 import SILENCE_S, Stumble, StumblingS3

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.storage import open_retrying
from alexandria_backup.storage.locate import CloudOptions, open_store
from alexandria_backup.storage.retry import Patience

#: As in production, but with little patience; a slow machine must not look like a silent server.
QUICK = CloudOptions(allow_http=True, retries=1)
#: Where the server falls silent.
HASTY = CloudOptions(allow_http=True, retries=0, answer_timeout=timedelta(seconds=SILENCE_S / 2))
SETTINGS = (
    "[prune]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\ngrace_s = 0\n"
)


@dataclass(kw_only=True)
class Cloud:
    """A site with two snapshots in a repository behind an S3 server that can stumble."""

    site: Site
    server: StumblingS3
    place: Place
    #: How the database was when the last snapshot was taken.
    rows: dict[str, str] = field(default_factory=dict)
    options: CloudOptions = QUICK

    def stumbled(
        self,
        stumble: Stumble,
        when: Callable[[str, int], bool],
        *arguments: str,
        once: bool = False,
    ) -> Ended:
        """Run the program while requests go wrong, of which verb and number `when` tells."""
        self.options = HASTY if stumble is Stumble.SILENT else QUICK
        self.server.stumbling_when(lambda verb, n: stumble if when(verb, n) else None, once=once)
        ended = self.site.run(*arguments)
        self.server.well_again()
        self.options = QUICK
        assert "Traceback" not in ended.stderr
        return ended

    def names(self, prefix: str) -> set[str]:
        return {info.name for info in self.place.open().list(prefix)}

    def change(self) -> None:
        self.site.sql("UPDATE track SET composer = coalesce(composer, '') || '+'")
        self.rows = self.site.fingerprint()

    def snapshot(self) -> None:
        self.change()
        created = self.site.run("snapshot", "create")
        assert created.returncode == 0, created.stderr

    def assert_whole(self) -> None:
        """Assert that what is there is whole, and that the next snapshot needs no help."""
        assert self.site.run("snapshot", "verify", "--deep", "latest").returncode == 0
        self.snapshot()
        assert self.site.run("snapshot", "verify", "--deep", "latest").returncode == 0
        checked = self.site.run("repository", "check", "--json")
        assert '"severity":"error"' not in checked.stdout.replace(" ", ""), checked.stdout


@pytest.fixture
def cloud(
    new_site: Callable[..., Site],
    server_any: EmbeddedServer,
    moto: Moto,
    s3_place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> Cloud:
    server = StumblingS3(app=moto.app)
    moto.app = server
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    site = new_site(server_any, extra=SETTINGS)
    config = site.config.read_text().replace('"snapshots"', f'"{s3_place.url}"')
    # What is not in a section must stand before all that are.
    site.config.write_text(config.replace(SETTINGS, "") + SETTINGS)
    cloud = Cloud(site=site, server=server, place=s3_place)
    monkeypatch.setattr(open_retrying, "open_store", lambda url: open_store(url, cloud.options))
    monkeypatch.setattr(Patience, "pauses", lambda _: iter([0.0] * 3))
    keep_in_frames(site, pages=64)
    cloud.snapshot()
    cloud.snapshot()
    return cloud


# ── each command, with what must hold after it went well, and after it failed ────────────────────


class Create:
    arguments = ("snapshot", "create")
    verbs = ("put", "get", "list", "head", "delete")

    def __init__(self, cloud: Cloud) -> None:
        cloud.change()
        self._before = cloud.names("snapshots/")

    def went_well(self, cloud: Cloud) -> None:
        assert len(cloud.names("snapshots/")) == len(self._before) + 1

    def failed(self, cloud: Cloud) -> None:
        assert cloud.names("snapshots/") >= self._before


class VerifyDeep:
    arguments = ("snapshot", "verify", "--deep", "latest")
    verbs = ("put", "get", "list", "head")

    def __init__(self, cloud: Cloud) -> None:
        self._before = cloud.names("results/")

    def went_well(self, cloud: Cloud) -> None:
        assert len(cloud.names("results/")) == len(self._before) + 1

    def failed(self, cloud: Cloud) -> None:
        """Nothing may call a snapshot damaged because its store could not be reached."""
        assert "damaged" not in cloud.site.run("snapshot", "list").stdout


class Prune:
    arguments = ("snapshot", "prune", "--yes")
    verbs = ("put", "get", "list", "head", "delete")

    def __init__(self, cloud: Cloud) -> None:
        (self._last,) = sorted(cloud.names("snapshots/"))[-1:]

    def went_well(self, cloud: Cloud) -> None:
        assert cloud.names("snapshots/") == {self._last}

    def failed(self, cloud: Cloud) -> None:
        assert self._last in cloud.names("snapshots/")


class Restore:
    arguments = ("restore", "latest", "--yes")
    verbs = ("get", "list", "head")

    def __init__(self, cloud: Cloud) -> None:
        self._good = cloud.rows
        cloud.site.sql("UPDATE customer SET email = 'gone'")
        self._live = cloud.site.fingerprint()
        self._databases = set(cloud.site.databases())

    def went_well(self, cloud: Cloud) -> None:
        assert cloud.site.fingerprint() == self._good

    def failed(self, cloud: Cloud) -> None:
        assert cloud.site.fingerprint() == self._live
        assert set(cloud.site.databases()) == self._databases


class Export:
    verbs = ("get", "list", "head")

    def __init__(self, cloud: Cloud) -> None:
        self._file = cloud.site.folder / "out.pgdump"
        self.arguments = ("snapshot", "export", "latest", str(self._file))

    def went_well(self, cloud: Cloud) -> None:
        # 3: nobody says what it should hold.
        assert cloud.site.run("snapshot", "verify", str(self._file)).returncode == 3

    def failed(self, cloud: Cloud) -> None:
        assert list(Path(self._file.parent).glob("*.pgdump*")) == []


COMMANDS = (Create, VerifyDeep, Prune, Restore, Export)
Command = type[Create | VerifyDeep | Prune | Restore | Export]


def short(cases: list[tuple[object, ...]], *, kept: int) -> list[object]:
    """Spread over all cases, keep a few for each run; the campaign has the others."""
    chosen = {number * len(cases) // kept for number in range(kept)}
    return [
        pytest.param(*case, marks=() if number in chosen else (pytest.mark.campaign,))
        for number, case in enumerate(cases)
    ]


STUMBLES = short([(c, s) for c in COMMANDS for s in Stumble], kept=7)


@pytest.mark.parametrize(("command", "stumble"), STUMBLES)
def test_an_object_store_that_stumbles_is_asked_again(
    cloud: Cloud, command: Command, stumble: Stumble
) -> None:
    work = command(cloud)
    # One in three, whatever it asks for; silence costs time, and two of it are enough.
    times = {5, 20} if stumble is Stumble.SILENT else range(2, 10_000, 3)
    # Each at most once, or several readers by turns could let one of them fail at each try.
    ended = cloud.stumbled(stumble, lambda _, number: number in times, *work.arguments, once=True)
    assert cloud.server.struck
    assert ended.returncode == 0, ended.stderr
    work.went_well(cloud)
    cloud.assert_whole()


FAILURES = short(
    [
        (command, verb, stumble, since)
        for command in COMMANDS
        for verb in command.verbs
        for stumble in Stumble
        if stumble is not Stumble.SLOW
        for since in (1, 4)
    ],
    kept=9,
)


@pytest.mark.parametrize(("command", "verb", "stumble", "since"), FAILURES)
def test_an_object_store_that_fails_for_good_ends_the_work_and_hurts_nothing(
    cloud: Cloud, command: Command, verb: str, stumble: Stumble, since: int
) -> None:
    work = command(cloud)
    ended = cloud.stumbled(
        stumble, lambda seen, number: seen == verb and number >= since, *work.arguments
    )
    if ended.returncode in {0, 3}:
        # What fails after all is done is a warning, and journals in the store are a courtesy.
        work.went_well(cloud)
    else:
        assert cloud.server.struck
        assert cloud.place.url in ended.stderr
        assert "hint:" in ended.stderr
        work.failed(cloud)
    cloud.assert_whole()
