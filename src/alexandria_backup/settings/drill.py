"""Drills: where snapshots are restored to be thrown away, and what is asked of them."""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field

from alexandria_backup.settings.section import Section
from alexandria_backup.settings.types import Hidden, UserPath, json_text


class DrillServerName(StrEnum):
    """Which server a drill uses."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    DSN = "dsn"


class DrillSettings(Section):
    """Drills: restores into a throwaway server."""

    server: DrillServerName = Field(
        DrillServerName.AUTO,
        description="Which server: `embedded`, one that a drill starts and removes, of the "
        "snapshot's own major version, from the extra `drill` or from PostgreSQL's packages on "
        "this machine; `dsn`, the one of the DSN below; or `auto`: `embedded` where there is one "
        "that has the snapshot's extensions, else `dsn`.",
    )
    folder: UserPath | None = Field(
        None,
        description="The folder in which an embedded server keeps its data while a drill runs; it "
        "needs about twice the size of the rows, and beside that `[database] server_reserve` stays "
        "free. Default: `$TMPDIR`, or else `/var/tmp`.",
    )
    dsn_file: UserPath | None = Field(
        None,
        description="A file that holds the DSN of a server to drill on. A drill makes one database "
        "`alexandria_drill_…` there and drops it; nothing else on the server is touched.",
    )
    dsn: Hidden | None = Field(
        None,
        description="That DSN itself; as a variable only, since a settings file is read by many.",
    )
    checks: Annotated[dict[str, str], BeforeValidator(json_text)] = Field(
        default_factory=dict,
        description="Queries to ask of the restored data, by a name of yours, each in a read-only "
        "transaction: `[drill.checks] tenants = 'SELECT count(*) >= 3 FROM public.tenants'`. "
        "One has passed where it returns exactly one row whose first column is "
        "true; one that fails, or returns anything else, is a failed check, and the drill has "
        "failed. Names of tables need their schema. In the variable a JSON object.",
    )
