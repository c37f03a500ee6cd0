"""Every setting there is: its type, its default, and what it is for."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.settings.audit import AuditSettings
from alexandria_backup.settings.bundle import BundleSettings
from alexandria_backup.settings.drill import DrillSettings
from alexandria_backup.settings.outside import (
    KubernetesSettings,
    SystemdSettings,
    VaultSettings,
)
from alexandria_backup.settings.section import Section
from alexandria_backup.settings.types import (
    Count,
    Hidden,
    Keys,
    Location,
    Percent,
    PlatformName,
    Seconds,
    Statements,
    UserPath,
    Words,
)

#: What the name of each variable begins with.
PREFIX = "ALEXANDRIA_"


class DatabaseSettings(Section):
    """The application's database, and how to work on its server."""

    dsn_file: UserPath | None = Field(
        None, description="A file that holds the DSN of the application's database."
    )
    admin_dsn_file: UserPath | None = Field(
        None,
        description="A file that holds the DSN of another role, and of the maintenance database, "
        "for what the application's role may not do.",
    )
    client_tools: UserPath | None = Field(
        None, description="The folder of `pg_dump` and `pg_restore`; default: found by version."
    )
    server_free_space: Count | None = Field(
        None, ge=0, description="Bytes free on the server, where they cannot be measured."
    )
    server_reserve: Count = Field(
        268_435_456,
        ge=0,
        description="Bytes that a restore or a drill leaves free on the server: it is refused "
        "where it would need them, and stopped where it comes to need them.",
    )
    server_memory: Count | None = Field(
        None,
        ge=0,
        description="Bytes of memory of the server's machine, where they cannot be measured: an "
        "eighth of it is for building indexes in a restore.",
    )
    connect_timeout_s: Seconds = Field(10.0, gt=0, description="Seconds to wait for a connection.")
    lock_timeout_s: Seconds = Field(
        30.0, ge=0, description="Seconds to wait for a lock; 0: for ever."
    )
    fence_timeout_s: Seconds = Field(
        60.0, gt=0, description="Seconds to wait until sessions of a fenced database have ended."
    )
    jobs: Count = Field(2, ge=1, le=64, description="How many connections load at once.")
    own_schema: bool | None = Field(
        None,
        description="Whether schema `alexandria_backup` may be made in the database, so that a "
        "snapshot costs what has changed; default: asked for once, on a terminal.",
    )


class ApplicationSettings(Section):
    """The application that uses the database."""

    name: str = Field(
        "alexandria-ee",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        description="Its name: snapshots are named after it, and `latest` is per application.",
    )
    platform: PlatformName = Field(
        PlatformName.AUTO,
        description="What runs it: `kubernetes`, `systemd`, or `unmanaged`, which leaves it to the "
        "two commands below, or to nobody. `auto`: `unmanaged` where a command is set; "
        "`kubernetes` where the DSN comes from its Secret or `[kubernetes] workloads` is set; "
        "`systemd` where `[systemd] units` is set or a unit `alexandria-api` is installed.",
    )
    url: str | None = Field(
        None, description="Where it answers `/ready` and `/license`, such as `https://host:8443`."
    )
    ca_file: UserPath | None = Field(
        None, description="Certificates (PEM) to trust for `url` instead of the system's."
    )
    ready_timeout_s: Seconds = Field(
        300.0, gt=0, description="Seconds to wait for `/ready` after a start."
    )
    stop_command: Words | None = Field(
        None, description="The command that stops it, as a list of words; never through a shell."
    )
    start_command: Words | None = Field(None, description="The command that starts it.")
    command_timeout_s: Seconds = Field(
        120.0, gt=0, description="Seconds that each of these commands may take."
    )
    checks: Statements = Field(
        (),
        description="SQL queries that return true if restored data are good, each in a read-only "
        "transaction of its own; in the variable one query, or a JSON list.",
    )
    checks_timeout_s: Seconds = Field(
        300.0,
        ge=0,
        description="Seconds that each of these queries, and each of `[drill] checks`, may take; "
        "0: without end. One that gives no answer in time undoes a restore (40) and leaves a drill "
        "inconclusive (23).",
    )


class SigningSettings(Section):
    """Signatures of manifests."""

    key_file: UserPath | None = Field(
        None, description="An Ed25519 private key (PEM, or its seed in base64) that signs."
    )
    key_name: str = Field("alexandria-backup", description="The name that signatures carry.")
    trusted_keys: Keys = Field(
        (),
        description="Keys whose signatures are accepted, as `name+id+base64`; where there are "
        "any, unsigned manifests are refused. In the variable with blanks or commas between.",
    )


class EncryptionSettings(Section):
    """Encryption of what a repository keeps, with age."""

    recipients: Keys = Field(
        (),
        description="Who can read what is stored, as `age1…`; none: it is not encrypted. In the "
        "variable with blanks or commas between.",
    )
    identity_file: UserPath | None = Field(
        None,
        description="A file with the identity (`AGE-SECRET-KEY-1…`) that opens what is stored: "
        "for `repository init`, verify, restore and export; a machine that only takes snapshots "
        "needs none.",
    )


class SnapshotSettings(Section):
    """How a snapshot is taken."""

    framed_above: Count = Field(
        1024 * 1024,
        ge=0,
        description="Bytes, with TOAST: tables that take more are kept in frames, page range by "
        "page range, and cost what has changed; the others are dumped each time.",
    )
    frame_pages: Count = Field(
        512,
        ge=1,
        le=1024,
        description="Pages of one frame, at most. Tables up to 1 GiB have frames of 64 pages, and "
        "larger ones larger frames: small ones cost less where few rows change, and more objects.",
    )
    reread_percent: Percent = Field(
        1.0,
        ge=0,
        le=100,
        description="Of what a snapshot takes over from an earlier one, how much of the stored "
        "bytes is read again and compared, chosen by chance.",
    )

    pg_dump_options: Words = Field(
        ("--format=custom", "--compress=9"),
        description="Options of `pg_dump`; the paper recipe's by default.",
    )


class PruneSettings(Section):
    """What `snapshot prune` keeps: of each kind of each database, whatever any rule says."""

    keep_last: Count = Field(3, ge=0, description="How many of the newest are kept.")
    keep_hourly: Count = Field(
        0, ge=0, description="Of how many of the newest hours that have one, the last is kept."
    )
    keep_daily: Count = Field(14, ge=0, description="The same for days, in UTC.")
    keep_weekly: Count = Field(8, ge=0, description="The same for weeks, which begin on Mondays.")
    keep_monthly: Count = Field(12, ge=0, description="The same for months.")
    keep_yearly: Count = Field(0, ge=0, description="The same for years.")
    keep_within_days: Count | None = Field(
        None, ge=0, description="All that are at most so many days older than the newest are kept."
    )
    grace_s: Seconds = Field(
        120.0,
        ge=0,
        description="Seconds between saying what will be removed and removing it, in which a "
        "snapshot that is being taken elsewhere can be seen.",
    )


def default_state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where journals are kept: below XDG_STATE_HOME, or as root in /var/lib."""
    home = environ.get("XDG_STATE_HOME")
    if home:
        return Path(home) / "alexandria-backup"
    if os.geteuid() == 0:
        return Path("/var/lib/alexandria-backup")
    if not environ.get("HOME"):
        raise SettingsInvalid(
            "there is no home folder to keep journals in",
            hint="export ALEXANDRIA_STATE_DIR=/var/lib/alexandria-backup",
        )
    return Path(environ["HOME"]) / ".local" / "state" / "alexandria-backup"


class Settings(Section):
    """All settings."""

    dsn: Hidden | None = Field(
        None,
        description="The DSN itself; as a variable only, since a settings file is read by many.",
    )
    repository: Location | None = Field(
        None,
        min_length=1,
        description="Where snapshots are kept: a folder, or a URL such as `s3://bucket/dir`.",
    )
    state_dir: UserPath = Field(
        default_factory=default_state_dir,
        description="Where this machine keeps journals; default: "
        "`$XDG_STATE_HOME/alexandria-backup`, `~/.local/state/alexandria-backup`, "
        "or for root `/var/lib/alexandria-backup`.",
    )
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    application: ApplicationSettings = Field(default_factory=ApplicationSettings)
    kubernetes: KubernetesSettings = Field(default_factory=KubernetesSettings)
    systemd: SystemdSettings = Field(default_factory=SystemdSettings)
    vault: VaultSettings = Field(default_factory=VaultSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    signing: SigningSettings = Field(default_factory=SigningSettings)
    encryption: EncryptionSettings = Field(default_factory=EncryptionSettings)
    snapshot: SnapshotSettings = Field(default_factory=SnapshotSettings)
    prune: PruneSettings = Field(default_factory=PruneSettings)
    drill: DrillSettings = Field(default_factory=DrillSettings)
    bundle: BundleSettings = Field(default_factory=BundleSettings)
