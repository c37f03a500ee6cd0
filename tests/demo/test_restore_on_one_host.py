"""The whole paper runbook on a host whose unit is the demo application."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed_support import WRITES_PER_SECOND, Deployed, killed_at, stubborn_writer
from standin_systemctl import REAL
from systemd_support import Host, has_systemctl

from alexandria_backup.demo import control
from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

pytestmark = pytest.mark.skipif(not has_systemctl(), reason=f"there is no `{REAL}`")

API = "alexandria-api.service"


@pytest.fixture
def host(tmp_path: Path, folder: ApplicationFolder) -> Host:
    host = Host(root=tmp_path / "host")
    host.settle()
    host.install(API, state="inactive")
    start = control.start_command(folder.root, writes_per_second=WRITES_PER_SECOND)
    host.hook(API, "start", *start)
    host.hook(API, "stop", *control.stop_command(folder.root))
    # The user's units are configured where the stand-in looks.
    (host.root / "xdg" / "systemd").mkdir(parents=True)
    (host.root / "xdg" / "systemd" / "user").symlink_to(host.configured)
    return host


@pytest.fixture
def deployed(
    host: Host, folder: ApplicationFolder, tmp_path: Path, server18: EmbeddedServer
) -> Iterator[Deployed]:
    """The application runs as a unit, and there is a snapshot; then a table was emptied."""
    deployed = Deployed(
        folder=tmp_path,
        server=server18,
        database=Dsn.parse(Secret(folder.dsn_file.read_text())).database,
        application=folder,
        environ={
            "PATH": f"{host.programs}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(host.root / "xdg"),
        },
    )
    systemctl(deployed, "start")
    assert deployed.is_up()
    deployed.settle(
        'systemd.user = true\napplication.platform = "systemd"\n'
        f'application.url = "{folder.url()}"\napplication.ready_timeout_s = 60\n',
        database=f'dsn_file = "{folder.dsn_file}"',
    )
    deployed.snapshot_and_damage()
    yield deployed
    deployed.clear()


def systemctl(deployed: Deployed, verb: str) -> int:
    ended = subprocess.run(
        ["systemctl", "--user", verb, API],
        env={**os.environ, **deployed.environ},
        capture_output=True,
        check=False,
    )
    return ended.returncode


def is_back(deployed: Deployed, host: Host) -> None:
    assert deployed.is_up()
    assert host.state(API) == "active"
    assert list(host.configured.iterdir()) == []


def test_a_restore_is_the_whole_runbook(deployed: Deployed, host: Host) -> None:
    with stubborn_writer(deployed) as acknowledged:
        restored = deployed.run("restore", deployed.snapshot, "--yes")
    assert restored.returncode in {0, 3}, restored.stderr
    assert deployed.tools() > 0
    is_back(deployed, host)
    verbs = [call.split()[1] for call in host.calls]
    assert [v for v in verbs if v in {"mask", "stop", "unmask"}] == ["mask", "stop", "unmask"]
    assert acknowledged <= deployed.attempts()
    assert len(acknowledged) > 10


def test_a_reboot_in_the_middle_does_not_start_the_application(
    deployed: Deployed, host: Host
) -> None:
    killed_at(deployed, 15, "before")
    assert not deployed.is_up()
    # What a boot does: it starts what is enabled.
    assert systemctl(deployed, "start") != 0
    assert not deployed.is_up()
    assert deployed.end("resume")
    assert deployed.tools() > 0
    is_back(deployed, host)


@pytest.mark.parametrize(
    ("seq", "moment", "ending"),
    [
        (23, "before", "abort"),
        *[
            pytest.param(seq, moment, ending, marks=pytest.mark.campaign)
            for seq in range(2, 25)
            for moment in ("before", "after")
            for ending in ("resume", "abort")
            if (seq, moment, ending) != (23, "before", "abort")
        ],
    ],
)
def test_a_kill_at_any_line_of_the_journal_is_resumed_or_undone(
    deployed: Deployed, host: Host, seq: int, moment: str, ending: str
) -> None:
    killed_at(deployed, seq, moment)
    restored = deployed.end(ending)
    assert (deployed.tools() > 0) == restored
    is_back(deployed, host)
