"""A drill restores a snapshot into a throwaway server, and is never called more than it was."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from chained_site_support import CHAIN_ROWS, CHAIN_SETTINGS, fill_chain
from drill_support import WAIT, Range, drills_of, eventually, guard_of, kill, private_folders
from oracle_support import keep_in_frames
from shapes_support import SHAPES, create_shapes
from site_support import CHINOOK_ROWS, CHINOOK_TABLES, Ended, Site, new_role
from small_disks import SmallDisk

from alexandria_backup.errors import SnapshotDamaged, SnapshotMissing
from alexandria_backup.events import Event, StepStarted
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.repository.layout import manifest_name, object_name
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.manifest import Manifest, decode, encode
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey, sign_note
from alexandria_backup.settings.model import DatabaseSettings

DrillsAt = Callable[[Site], Range]


@pytest.fixture
def drills_at() -> Iterator[Callable[[Site], Range]]:
    """Let sites be drilled: `drills_at(site)`."""
    with ExitStack() as stack:
        yield lambda site: stack.enter_context(drills_of(site))


@pytest.fixture
def drills(site: Site, drills_at: DrillsAt) -> Range:
    """Drills of a repository's snapshots, each table in frames."""
    return drills_at(keep_in_frames(site))


def refused(ended: Ended, code: int, *words: str) -> None:
    assert ended.returncode == code, ended.stdout + ended.stderr
    for word in words:
        assert word in ended.stderr


def result_of(ended: Ended) -> dict[str, Any]:
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    found: dict[str, Any] = next(line["result"] for line in lines if line["event"] == "result")
    return found


# ── a good one ───────────────────────────────────────────────────────────────────────────────────


def test_everything_together_is_drilled(
    new_site: Callable[..., Site], server: EmbeddedServer, drills_at: DrillsAt
) -> None:
    drills = drills_at(keep_in_frames(new_site(server)))
    create_shapes(drills.site, *SHAPES.values())
    drills.checks(tracks="SELECT count(*) > 3000 FROM public.track", plain="SELECT 1 = 1")
    drills.snapshot()
    assert drills.newest()["status"] == "stored"

    drilled = result_of(drills.drilled("--json"))

    assert drilled["server"].startswith(f"PostgreSQL {server.major}.")
    assert drilled["digests"] == drilled["tables"] > CHINOOK_TABLES
    assert drilled["rows"] > CHINOOK_ROWS
    assert drilled["checks"] == ["tracks", "plain"]
    spent = [drilled[f"{name}_seconds"] for name in ("find", "load", "prove")]
    assert min(spent) > 0
    assert drilled["restore_seconds"] == pytest.approx(sum(spent))
    assert drilled["recorded"]
    newest = drills.newest()
    assert newest["status"] == "drilled"
    assert newest["drilled"]


def test_show_and_ledger_tell_of_it(drills: Range) -> None:
    drills.snapshot()
    name = drills.newest()["id"]
    drills.drilled(name)
    shown = drills.site.run("snapshot", "show", name).stdout
    assert "status     drilled" in shown
    assert "good: find 0." in shown
    (result,) = result_of(drills.site.run("snapshot", "show", name, "--json"))["results"]
    assert (result["examination"], result["good"]) == ("drilled", True)
    *_, newest = drills.site.wiring().repositories.opened.ledger.read().entries.values()
    assert (newest.action, newest.snapshots, newest.details["good"]) == (
        Action.DRILL,
        (name,),
        "true",
    )


def test_a_file_is_drilled_and_keeps_no_result(site: Site, drills_at: DrillsAt) -> None:
    drills = drills_at(site)
    drills.snapshot()
    ended = drills.drilled()
    assert f"proved    {CHINOOK_TABLES} tables and {CHINOOK_ROWS:,} rows" in ended.stdout
    assert "only a repository keeps results" in ended.stderr
    archive = site.dump()
    plain = drills.drill(str(archive))
    assert plain.returncode == 3, plain.stderr
    assert "has no manifest: nobody says what it holds" in plain.stderr


def test_what_is_the_servers_alone_does_not_stop_it(drills: Range) -> None:
    """Roles and tablespaces of the source are not there, and need not be."""
    site = drills.site
    with site.connection() as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE TABLESPACE drill_space LOCATION ''")
    try:
        site.sql("CREATE TABLE elsewhere (i int PRIMARY KEY) TABLESPACE drill_space")
        site.sql("INSERT INTO elsewhere VALUES (1)")
        site.sql(f'ALTER TABLE elsewhere OWNER TO "{site.role}"')
        drills.checks(owner=f"SELECT pg_get_userbyid(relowner) = '{site.role}' "
                      "FROM pg_class WHERE relname = 'elsewhere'")  # fmt: skip
        drills.snapshot()
        drills.drilled()
    finally:
        site.sql("DROP TABLE IF EXISTS elsewhere")
        site.sql("DROP TABLESPACE drill_space")


def test_what_acts_on_the_world_is_not_made(drills: Range) -> None:
    drills.site.sql(
        "CREATE FUNCTION boom() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'boom'; END $$;"
        "CREATE EVENT TRIGGER watcher ON ddl_command_end EXECUTE FUNCTION boom();"
        "ALTER EVENT TRIGGER watcher DISABLE;"
    )
    drills.site.sql(
        "CREATE SUBSCRIPTION faraway CONNECTION 'host=192.0.2.1' PUBLICATION p "
        "WITH (connect = false, slot_name = NONE)"
    )
    drills.checks(
        nothing="SELECT NOT EXISTS (SELECT FROM pg_event_trigger) "
        "AND NOT EXISTS (SELECT FROM pg_subscription)"
    )
    try:
        drills.snapshot()
        said = drills.drilled().stdout
    finally:
        drills.site.sql("DROP SUBSCRIPTION faraway")
    assert "event trigger `watcher` is not made in a drill" in said
    assert "subscription `faraway` is not made in a drill" in said


def test_an_encrypted_one_needs_its_identity(
    site: Site, tmp_path: Path, drills_at: DrillsAt
) -> None:
    identity = Identity.generate()
    identity.save(tmp_path / "identity")
    SigningKey.generate("alexandria-backup").save(tmp_path / "signing")
    with site.config.open("a", encoding="utf-8") as config:
        config.write(
            f'[encryption]\nrecipients = ["{identity.recipient}"]\n'
            f'[signing]\nkey_file = "{tmp_path / "signing"}"\n'
        )
    opening = {"ALEXANDRIA_ENCRYPTION__IDENTITY_FILE": str(tmp_path / "identity")}
    assert site.run("repository", "init", environ=opening).returncode == 0
    drills = drills_at(site)
    # In a process of its own: the one that has stored something can read it back.
    assert site.process("snapshot", "create").returncode == 0

    refused(drills.drill(), 23, "the drill could not run, so nothing is known")
    assert drills.newest()["status"] == "stored"

    ended = drills.drill(environ=opening)
    assert ended.returncode == 0, ended.stderr
    assert drills.newest()["status"] == "drilled"


@pytest.fixture
def a_file(site: Site, drills_at: DrillsAt) -> Range:
    """Drills of archives that are plain files."""
    return drills_at(site)


def test_a_file_that_changes_meanwhile_is_to_be_drilled_once_more(a_file: Range) -> None:
    archive = a_file.site.dump()

    def change_before_the_load(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == "load":
            a_file.site.sql("CREATE TABLE later (i int)")
            a_file.site.dump()

    drill = a_file.site.wiring(change_before_the_load).drills.drill(str(archive))
    with pytest.raises(SnapshotDamaged, match="has changed since it was read") as caught:
        drill.run()
    assert caught.value.hint == "alexandria snapshot drill …   # once more"
    a_file.assert_clean()


def test_a_file_without_a_signature_is_believed_by_drilling_so(a_file: Range) -> None:
    archive = str(a_file.site.dump())
    key = SigningKey.generate("alexandria-backup").trusted
    trusting = {"ALEXANDRIA_SIGNING__TRUSTED_KEYS": json.dumps([str(key)])}
    hint = "ALEXANDRIA_SIGNING__TRUSTED_KEYS='[]' alexandria snapshot drill …   # believe it"
    refused(a_file.drill(archive, environ=trusting), 20, "has no manifest", f"hint: {hint}")


def test_a_plan_starts_nothing_and_keeps_nothing(drills: Range) -> None:
    drills.checks(some="SELECT true")
    drills.snapshot()
    name = drills.newest()["id"]
    planned = drills.drilled("--plan").stdout
    assert f"$ alexandria snapshot export {name} {name}.pgdump" in planned
    assert "8. remove: " in planned
    assert "'SELECT true'" in planned
    assert drills.newest()["status"] == "stored"


# ── a bad one ────────────────────────────────────────────────────────────────────────────────────


def manifest_of(drills: Range) -> tuple[Path, Manifest]:
    path = drills.site.repository / manifest_name(drills.newest()["id"])
    return path, decode(path.read_bytes(), ()).manifest


def test_a_damaged_object_is_named_and_remembered(drills: Range) -> None:
    drills.snapshot()
    _, manifest = manifest_of(drills)
    (table,) = [table for table in manifest.tables if table.name == "track"]
    assert table.framed is not None
    name = object_name(table.framed.frames[0].parts[0].object)
    path = drills.site.repository / name
    data = path.read_bytes()
    for damaged, said in (
        (None, "is missing"),
        (data[:-1], f"has {len(data) - 1:,} bytes"),
        (data[:-1] + bytes([data[-1] ^ 1]), "was altered"),
    ):
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        refused(drills.drill(manifest.snapshot), 20, path.name)
        newest = drills.newest()
        assert newest["status"] == "damaged"
        assert re.search(f"drilled on .*{name}.*{said}", newest["problem"]), newest["problem"]


def test_a_digest_that_does_not_fit_is_named(site: Site, drills_at: DrillsAt) -> None:
    site.make_repository()
    drills = drills_at(site)
    drills.snapshot()
    path, manifest = manifest_of(drills)
    tables = tuple(
        table.model_copy(update={"digest": "0" * 64}) if table.name == "genre" else table
        for table in manifest.tables
    )
    path.write_bytes(encode(manifest.model_copy(update={"tables": tables}), None))
    refused(drills.drill(manifest.snapshot), 20, "`public.genre`")
    assert drills.newest()["status"] == "damaged"


def test_rows_that_cannot_be_loaded_are_the_snapshots_fault(drills: Range) -> None:
    drills.site.sql(
        "CREATE FUNCTION fits(i int) RETURNS bool LANGUAGE sql AS 'SELECT true';"
        "CREATE TABLE picky (i int CHECK (public.fits(i))); INSERT INTO picky VALUES (1);"
        "CREATE OR REPLACE FUNCTION fits(i int) RETURNS bool LANGUAGE sql AS 'SELECT false'"
    )
    drills.snapshot()
    refused(drills.drill(), 1, "the snapshot cannot be loaded", "picky")
    newest = drills.newest()
    assert newest["status"] == "damaged"
    assert "picky" in newest["problem"]


def test_each_check_that_fails_is_named_with_what_it_did(drills: Range) -> None:
    drills.checks(
        good="SELECT true, 'and more'",
        wrong="SELECT false",
        nothing="SELECT true WHERE false",
        several="SELECT true FROM generate_series(1, 3)",
        null="SELECT NULL::bool",
        number="SELECT 1",
        empty="SELECT",
        mistaken="SELECT true FROM no_such_table",
        writing="CREATE TABLE public.scratch (i int)",
        quoting="SELECT 'a secret'::int = 1",
        ranging="SELECT '4711471147114711'::int = 1",
    )
    drills.snapshot()
    ended = drills.drill()
    refused(
        ended, 1, "10 of 11 checks have failed", "`wrong` did not return true",
        "`nothing` returned 0 rows", "`several` returned 3 rows", "`null` did not return true",
        "`number` did not return true", "`empty` did not return true", "`mistaken` was refused",
        "`writing` was refused",
    )  # fmt: skip
    assert "`good`" not in ended.stderr.split("checks have failed")[-1]
    assert "a secret" in ended.stderr
    assert 'value "4711471147114711" is out of range' in ended.stderr
    # The rows are as recorded: that is no damage, and not drilled either.
    newest = drills.newest()
    assert (newest["status"], newest["problem"]) == ("read back", None)
    assert "`wrong`" in newest["doubt"]
    refused(drills.site.run("snapshot", "list"), 3, "`wrong` did not return true")
    for kept in (drills.site.repository / "results").rglob("*"):
        text = "" if kept.is_dir() else kept.read_text(encoding="utf-8")
        assert "a secret" not in text
        assert "4711471147114711" not in text


@pytest.mark.parametrize("statement", ["SELECT false", "SELECT true FROM no_such_table"])
def test_a_check_of_the_application_that_fails_is_no_damage(drills: Range, statement: str) -> None:
    drills.snapshot()
    wrong = {"ALEXANDRIA_APPLICATION__CHECKS": statement}
    refused(drills.drill(environ=wrong), 1, f"1 of 1 checks have failed: `{statement}`")
    newest = drills.newest()
    assert (newest["status"], newest["problem"]) == ("read back", None)
    right = drills.drill("--json", environ={"ALEXANDRIA_APPLICATION__CHECKS": "SELECT 1 = 1"})
    assert result_of(right)["checks"] == ["SELECT 1 = 1"]
    assert drills.newest()["status"] == "drilled"


def test_a_good_drill_takes_back_a_bad_one(drills: Range) -> None:
    drills.snapshot()
    name = drills.newest()["id"]
    wrong = {"ALEXANDRIA_DRILL__CHECKS": '{"wrong": "SELECT false"}'}
    refused(drills.drill(environ=wrong), 1, "`wrong`")
    assert drills.newest()["status"] == "read back"
    drills.drilled()
    newest = drills.newest()
    assert (newest["id"], newest["status"], newest["doubt"]) == (name, "drilled", None)
    refused(drills.drill(environ=wrong), 1, "`wrong`")
    assert drills.newest()["status"] == "read back"


# ── the audit chain ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def chained(
    new_site: Callable[..., Site], server_any: EmbeddedServer, drills_at: DrillsAt
) -> Range:
    """Drills of snapshots that hold an audit chain."""
    site = new_site(server_any, extra=CHAIN_SETTINGS)
    fill_chain(site)
    return drills_at(keep_in_frames(site))


def test_the_chain_is_compared_with_the_manifests(chained: Range) -> None:
    chained.snapshot()
    drilled = result_of(chained.drilled("--json"))
    assert (drilled["chain"]["status"], drilled["chain"]["rows"]) == ("intact", CHAIN_ROWS)

    path, manifest = manifest_of(chained)
    assert manifest.audit is not None
    (anchor,) = manifest.audit.anchors
    forged = anchor.model_copy(update={"rolling": "0" * 64})
    audit = manifest.audit.model_copy(update={"anchors": (forged,)})
    path.write_bytes(encode(manifest.model_copy(update={"audit": audit}), None))
    refused(chained.drill(manifest.snapshot), 20, "is not the one of its manifest")
    assert chained.newest()["status"] == "damaged"


def test_a_chain_that_is_read_by_another_recipe_shows_nothing(chained: Range) -> None:
    chained.snapshot()
    text = chained.site.config.read_text(encoding="utf-8")
    other = text.replace(
        "[audit]\n", '[audit]\ncolumns = {principal = "agent", agent = "principal"}\n'
    )
    chained.site.config.write_text(other, encoding="utf-8")
    refused(chained.drill(), 23, "cannot be compared with its manifest", "set `[audit]`")
    assert chained.newest()["status"] == "stored"


def test_a_broken_chain_comes_back_broken_and_is_said(chained: Range) -> None:
    chained.site.sql("UPDATE audit_logs SET principal = 'eve' WHERE metadata = '{\"n\": 7}'")
    assert chained.site.run("snapshot", "create").returncode == 30
    name = chained.newest()["id"]
    refused(chained.drill(name), 30, "is broken")
    assert chained.newest()["status"] == "drilled"


def test_without_its_key_the_chain_is_not_called_verified(chained: Range) -> None:
    chained.snapshot()
    text = chained.site.config.read_text(encoding="utf-8")
    chained.site.config.write_text(text.replace(CHAIN_SETTINGS, ""), encoding="utf-8")
    refused(chained.drill(), 31, "could not be verified")
    assert chained.newest()["status"] == "drilled"


def test_a_snapshot_that_is_removed_meanwhile_is_missing_and_leaves_no_result(
    drills: Range,
) -> None:
    drills.snapshot()
    name = drills.newest()["id"]
    drills.snapshot()

    def remove_before_the_load(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == "load":
            removed = drills.site.run("snapshot", "delete", name, "--reason", "x", "--yes")
            assert removed.returncode == 0, removed.stderr

    drill = drills.site.wiring(remove_before_the_load).drills.drill(name)
    with pytest.raises(SnapshotMissing, match="removed by delete"):
        drill.run()
    drills.assert_clean()
    results = drills.site.repository / "results"
    assert [path for path in results.rglob("*") if path.is_file()] == []
    ledger = drills.site.wiring().repositories.opened.ledger.read()
    assert Action.DRILL not in {entry.action for entry in ledger.entries.values()}


# ── an inconclusive one ──────────────────────────────────────────────────────────────────────────


def test_without_a_server_nothing_is_known(drills: Range) -> None:
    drills.snapshot()
    no_server = {"ALEXANDRIA_DRILL__SERVER": "dsn"}
    ended = drills.drill(environ=no_server)
    refused(ended, 23, "there is no server", "hint: pip install 'alexandria-backup[drill]'")
    error = json.loads(drills.drill("--json", environ=no_server).stdout.splitlines()[-1])
    assert (error["code"], error["exit_code"]) == ("drill-inconclusive", 23)
    assert drills.newest()["status"] == "stored"
    assert drills.drill("--plan", environ=no_server).returncode == 23


@pytest.mark.parametrize(
    ("name", "why"), [("ghost", "lacks extensions"), ("pg_cron", "works in one database")]
)
def test_an_extension_that_no_server_can_have_is_named(drills: Range, name: str, why: str) -> None:
    """What a restore refuses is not drilled either, and a scheduler is never loaded."""
    drills.site.sql(
        "CREATE EXTENSION vector; SET allow_system_table_mods = on; "
        f"UPDATE pg_extension SET extname = '{name}' WHERE extname = 'vector'"
    )
    drills.snapshot()
    refused(drills.drill(), 23, "no server can take the snapshot", f"`{name}`", why)
    assert drills.newest()["status"] == "stored"


def test_another_version_of_an_extension_is_no_damage(
    new_site: Callable[..., Site], debian_server: EmbeddedServer, drills_at: DrillsAt
) -> None:
    drills = drills_at(keep_in_frames(new_site(debian_server)))
    site = drills.site
    site.sql("CREATE EXTENSION pg_stat_statements VERSION '1.4'")
    drills.snapshot()
    good = drills.drilled()
    assert "extension `pg_stat_statements` is 1.10 here, and was 1.4 in the source" in good.stdout
    # A column that later versions have under another name.
    site.sql("CREATE VIEW slow AS SELECT total_time FROM pg_stat_statements")
    drills.snapshot()
    refused(
        drills.drill(), 23, "extension `pg_stat_statements` is 1.10 here", "total_time",
        "hint: set `[drill] dsn_file` to the DSN of a server that has what the source has",
    )  # fmt: skip
    assert drills.newest()["status"] == "stored"


def test_a_folder_that_cannot_be_made_is_told(drills: Range) -> None:
    drills.snapshot()
    (drills.site.folder / "a-file").touch()
    elsewhere = {"ALEXANDRIA_DRILL__FOLDER": str(drills.site.folder / "a-file" / "below")}
    refused(drills.drill(environ=elsewhere), 23, "no folder for a throwaway server")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another user")
def test_data_are_kept_in_the_folder_or_nowhere(drills: Range) -> None:
    drills.snapshot()
    folder = drills.folder / "made"
    elsewhere = {"ALEXANDRIA_DRILL__FOLDER": str(folder)}
    ended = drills.site.run("snapshot", "drill", environ=elsewhere)
    assert ended.returncode == 0, ended.stderr
    folder.chmod(0o700)
    ended = drills.site.run("snapshot", "drill", environ=elsewhere)
    refused(ended, 23, f"cannot be kept in `{folder}`")
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_too_small_shows_nothing(
    drills: Range, small_disk: Callable[[Path, int], SmallDisk]
) -> None:
    drills.snapshot()
    disk = small_disk(drills.folder / "small", 8 * 1024)
    disk.path.chmod(0o711)
    before = set(drills.left())
    ended = drills.site.run(
        "snapshot", "drill", environ={"ALEXANDRIA_DRILL__FOLDER": str(disk.path)}
    )
    refused(ended, 23, "no server can take the snapshot", "No space left on device")
    assert disk.files() == []
    assert set(drills.left()) == before
    assert drills.newest()["status"] == "stored"


def test_a_key_that_is_not_there_shows_nothing(drills: Range) -> None:
    drills.snapshot()
    missing = {"ALEXANDRIA_ENCRYPTION__IDENTITY_FILE": str(drills.folder / "nothing")}
    refused(drills.drill(environ=missing), 23, "so nothing is known", "nothing")


def test_what_would_touch_the_reserve_is_not_begun(drills: Range) -> None:
    drills.snapshot()
    much = {"ALEXANDRIA_DATABASE__SERVER_RESERVE": str(1 << 60)}
    ended = drills.drill(environ=much)
    refused(ended, 23, "no server can take the snapshot", "must stay free")
    assert "the restore" not in ended.stderr
    assert "live database" not in ended.stderr
    described = DatabaseSettings.model_fields["server_reserve"].description
    assert described is not None
    assert "a drill" in described


def test_a_server_of_its_own_needs_no_dsn(drills: Range) -> None:
    drills.snapshot()
    absent = {"ALEXANDRIA_DRILL__DSN_FILE": str(drills.folder / "nothing")}
    drilled = drills.drill(environ={**absent, "ALEXANDRIA_DRILL__SERVER": "embedded"})
    assert drilled.returncode == 0, drilled.stderr


def test_a_session_that_ends_in_the_middle_shows_nothing(drills: Range) -> None:
    drills.checks(gone="SELECT pg_terminate_backend(pg_backend_pid())")
    drills.snapshot()
    refused(drills.drill(), 23, "the connection to database", "was lost")
    assert drills.newest()["status"] == "stored"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (
            "SELECT count(*) > 0 FROM (SELECT set_config('temp_file_limit', '1', true), "
            "set_config('work_mem', '64kB', true) AS set OFFSET 0) AS s CROSS JOIN LATERAL "
            "(SELECT FROM generate_series(1, 50000) AS g ORDER BY md5(g::text || s.set)) AS sorted",
            "temporary file size exceeds",
        ),
        (WAIT, "the check `unanswered` gave no answer within 1 s"),
        ("SELECT pg_read_file('no-such-file') IS NULL", "could not open file"),
    ],
    ids=["resources", "cancelled", "system"],
)
def test_a_check_that_the_server_cannot_answer_shows_nothing(
    drills: Range, query: str, why: str
) -> None:
    drills.checks(wrong="SELECT false", unanswered=query)
    drills.snapshot()
    limit = {"ALEXANDRIA_APPLICATION__CHECKS_TIMEOUT_S": "1"}
    refused(drills.drill(environ=limit), 23, "the drill could not run, so nothing is known", why)
    newest = drills.newest()
    assert (newest["status"], newest["doubt"]) == ("stored", None)


@pytest.mark.parametrize(
    "query", ["SELECT true; SELECT false", "SELECT true; COMMIT", "SELECT true; ", "SELECTED true"]
)
def test_a_check_that_is_not_one_query_is_refused_before_anything_is_loaded(
    drills: Range, query: str
) -> None:
    drills.checks(tidy="SELECT true;", several=query)
    drills.snapshot()
    ended = drills.drill("--json")
    if query == "SELECT true; ":
        assert ended.returncode == 0, ended.stderr
        return
    assert ended.returncode == 2
    said = ended.stdout
    assert "the check `several` is not one SQL query" in said
    assert '"step": "load"' not in said
    assert drills.newest()["status"] == "stored"


def test_no_check_changes_what_the_next_one_sees(drills: Range) -> None:
    """Ends the transaction, or leaves the session in the middle of a COPY, or sets a parameter."""
    drills.checks(
        a_commit="COMMIT",
        copying="COPY (SELECT true) TO STDOUT",
        hearing="COPY public.track FROM STDIN",
        setting="SELECT set_config('search_path', 'public', false) = 'public'",
        writing="INSERT INTO public.genre VALUES (4711, 'x')",
        good="SELECT current_setting('search_path') LIKE 'pg_catalog%'",
    )
    drills.snapshot()
    ended = drills.drill()
    refused(
        ended, 1, "4 of 6 checks have failed", "`a_commit` was refused", "`copying` was refused",
        "`hearing` was refused", "`writing` was refused: a statement in database",
        "in a read-only transaction",
    )  # fmt: skip


# ── results that are not to be believed ──────────────────────────────────────────────────────────


def test_a_forged_result_is_not_believed(site: Site, tmp_path: Path, drills_at: DrillsAt) -> None:
    key = SigningKey.generate("alexandria-backup")
    key.save(tmp_path / "signing")
    with site.config.open("a", encoding="utf-8") as config:
        config.write(
            f'[signing]\nkey_file = "{tmp_path / "signing"}"\ntrusted_keys = ["{key.trusted}"]\n'
        )
    site.make_repository()
    drills = drills_at(site)
    drills.snapshot()
    name = drills.newest()["id"]
    wrong = {"ALEXANDRIA_DRILL__CHECKS": '{"wrong": "SELECT false"}'}
    refused(drills.drill(name, environ=wrong), 1, "`wrong`")
    assert drills.newest()["doubt"]
    (path,) = (site.repository / "results" / name).iterdir()
    altered = re.sub(r'"good": ?false', '"good":true', path.read_text(encoding="utf-8"))
    altered = re.sub(r'"problem": ?"[^\n]*",', '"problem":null,', altered)
    assert '"good":true' in altered
    # A signed document is its text, an empty line, and the signatures.
    text = altered.rpartition("\n\n")[0] + "\n"
    for forged in (altered, text, sign_note(text, SigningKey.generate("stranger.example"))):
        path.write_text(forged, encoding="utf-8")
        # Neither what was forged is believed, nor what it has taken the place of.
        assert drills.newest()["status"] == "stored"
        assert drills.newest()["drilled"] is None
    # With the right key it would have been believed.
    path.write_text(sign_note(text, key), encoding="utf-8")
    assert drills.newest()["status"] == "drilled"


def test_a_machine_that_cannot_sign_keeps_no_result(
    site: Site, tmp_path: Path, drills_at: DrillsAt
) -> None:
    key = SigningKey.generate("alexandria-backup")
    key.save(tmp_path / "signing")
    with site.config.open("a", encoding="utf-8") as config:
        config.write(f'[signing]\ntrusted_keys = ["{key.trusted}"]\n')
    signing = {"ALEXANDRIA_SIGNING__KEY_FILE": str(tmp_path / "signing")}
    assert site.run("repository", "init", environ=signing).returncode == 0
    assert site.run("snapshot", "create", environ=signing).returncode in {0, 3}
    drills = drills_at(site)
    ended = drills.drill()
    refused(ended, 3, "the result is not kept: this machine has no signing key")
    assert ended.stdout.startswith("drilled ")
    assert drills.newest()["status"] == "stored"


# ── the server of a DSN ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def given(drills: Range) -> Range:
    """Drills on the site's own server."""
    drills.use_server(drills.site.server.conninfo("postgres").reveal())
    return drills


def test_a_given_server_keeps_nothing_and_loses_nothing(given: Range) -> None:
    site = given.site
    stranger = "alexandria_drill_20200101t000000z_aaaa"
    site.sql(f"CREATE DATABASE {stranger}", database="postgres")
    before = site.fingerprint()
    try:
        given.snapshot()
        drilled = result_of(given.drilled("--json"))
        assert drilled["not_compared"] == []
        assert given.newest()["status"] == "drilled"
        assert given.databases() == [stranger]
        site.sql("CREATE TABLE later (i int)")
        given.checks(wrong="SELECT false")
        assert given.drill().returncode == 1
        assert given.databases() == [stranger]
        site.sql("DROP TABLE later")
    finally:
        site.sql(f"DROP DATABASE {stranger}", database="postgres")
    assert {k: v for k, v in site.fingerprint().items() if k in before} == before


def test_roles_that_a_given_server_lacks_are_left_out(
    drills: Range, server16: EmbeddedServer, new_site: Callable[..., Site], drills_at: DrillsAt
) -> None:
    old = drills_at(keep_in_frames(new_site(server16)))
    old.use_server(drills.site.server.conninfo("postgres").reveal())
    old.snapshot()
    drilled = result_of(old.drilled("--json"))
    assert drilled["server"].startswith("PostgreSQL 18.")
    (reason,) = drilled["not_compared"]
    assert "owners and privileges are left out" in reason
    assert old.site.role in reason
    assert drills.databases() == []


def test_a_role_that_may_create_databases_is_enough(drills: Range) -> None:
    server = drills.site.server
    role = new_role(server, "CREATEDB")
    drills.use_server(server.conninfo("postgres", user=role).reveal())
    drills.snapshot()
    try:
        (reason,) = result_of(drills.drilled("--json"))["not_compared"]
    finally:
        drills.site.sql(f"DROP ROLE {role}", database="postgres")
    assert "owners and privileges are left out" in reason


def test_an_older_server_shows_nothing(drills: Range, server16: EmbeddedServer) -> None:
    drills.use_server(server16.conninfo("postgres").reveal())
    drills.snapshot()
    refused(drills.drill(), 23, "the snapshot is of PostgreSQL 18, and the server is 16.")


def test_a_locale_that_the_server_lacks_is_told(
    new_site: Callable[..., Site],
    debian_server: EmbeddedServer,
    server16: EmbeddedServer,
    drills_at: DrillsAt,
) -> None:
    site = new_site(debian_server)
    icu = f"{site.database}_icu"
    site.sql(
        f"CREATE DATABASE {icu} TEMPLATE template0 ENCODING UTF8 LOCALE 'C' "
        "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'",
        database="postgres",
    )
    site.sql("CREATE TABLE t (x text PRIMARY KEY); INSERT INTO t VALUES ('ä'), ('z')", database=icu)
    drills = drills_at(keep_in_frames(site))
    site.write_secret("dsn", debian_server.conninfo(icu).reveal())
    drills.use_server(server16.conninfo("postgres").reveal())
    drills.snapshot()
    drilled = result_of(drills.drilled("--json"))
    assert any("locale `de-DE` was not to be had" in why for why in drilled["not_compared"])


def test_a_collation_that_the_server_lacks_shows_nothing(
    new_site: Callable[..., Site],
    debian_server: EmbeddedServer,
    server16: EmbeddedServer,
    drills_at: DrillsAt,
) -> None:
    drills = drills_at(keep_in_frames(new_site(debian_server)))
    drills.site.sql(
        "CREATE COLLATION german (provider = icu, locale = 'de-DE');"
        "CREATE TABLE named (name text COLLATE german)"
    )
    drills.use_server(server16.conninfo("postgres").reveal())
    drills.snapshot()
    refused(drills.drill(), 23, "ICU is not supported in this build")
    assert drills.newest()["status"] == "stored"


def test_a_server_that_cannot_be_reached_shows_nothing(drills: Range) -> None:
    drills.use_server("host=/nonexistent dbname=postgres")
    drills.snapshot()
    refused(drills.drill(), 23, "cannot connect")


# ── an end in the middle ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def waiting(drills: Range) -> Iterator[Range]:
    """Drills that wait in their check."""
    drills.checks(wait=WAIT)
    drills.snapshot()
    yield drills
    eventually(lambda: not drills.left())


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.campaign)]
)
def test_an_interrupted_drill_leaves_nothing(waiting: Range, number: signal.Signals) -> None:
    process = waiting.start()
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == 130, out
    waiting.assert_clean()
    assert waiting.newest()["status"] == "stored"


@pytest.mark.parametrize(
    "step",
    [
        *(pytest.param(s, marks=pytest.mark.campaign) for s in ("find", "start-server")),
        *(pytest.param(s, marks=pytest.mark.campaign) for s in ("create-database", "load")),
        pytest.param("prove", marks=pytest.mark.campaign),
        "check",
    ],
)
def test_the_server_of_a_killed_drill_goes_with_it(waiting: Range, step: str) -> None:
    process = waiting.start(step)
    kill(process)
    eventually(lambda: not waiting.left())
    assert waiting.newest()["status"] == "stored"


@pytest.mark.campaign
@pytest.mark.parametrize("step", ["start-server", "create-database", "load", "prove", "remove"])
def test_a_killed_drill_on_a_given_server_is_cleaned_up_by_the_next(
    given: Range, step: str
) -> None:
    given.snapshot()
    kill(given.start(step))
    # The server notices a client's end when its statement has ended.
    ours = "FROM pg_stat_activity WHERE starts_with(application_name, 'alexandria-backup ')"
    given.site.sql(f"SELECT pg_terminate_backend(pid) {ours}", database="postgres")
    eventually(lambda: not given.site.value(f"SELECT count(*) {ours}", database="postgres"))
    given.drilled()
    assert given.databases() == []


def cut_power(waiting: Range) -> set[Path]:
    """Let a drill and the guard of its server die without a word; return their private folders."""
    before = private_folders()
    process = waiting.start()
    guard_of(process).kill()
    kill(process)
    eventually(lambda: len(waiting.left()) == 1)
    left = private_folders() - before
    assert left
    return left


def test_what_a_power_cut_leaves_is_removed_by_the_next(waiting: Range) -> None:
    left = cut_power(waiting)
    no_checks = {"ALEXANDRIA_DRILL__CHECKS": "{}"}
    text = waiting.site.config.read_text(encoding="utf-8")
    waiting.site.config.write_text(text.partition("[drill.checks]")[0], encoding="utf-8")
    ended = waiting.site.run("snapshot", "drill", environ=no_checks)
    assert ended.returncode == 0, ended.stderr
    waiting.assert_clean()
    assert left.isdisjoint(private_folders())
    for folder in left:
        assert f"what a killed drill has left was removed: `{folder}`" in ended.stderr


def test_what_a_power_cut_leaves_is_removed_by_the_doctor(waiting: Range) -> None:
    left = cut_power(waiting)
    ended = waiting.site.run("doctor")
    waiting.assert_clean()
    assert left.isdisjoint(private_folders())
    for folder in left:
        assert f"`{folder}` of a killed run was removed" in ended.stdout


def test_a_drill_that_is_at_work_is_left_alone(waiting: Range) -> None:
    process = waiting.start()
    (folder,) = waiting.folder.iterdir()
    plain = waiting.site.config.read_text(encoding="utf-8").partition("[drill.checks]")[0]
    waiting.site.config.write_text(plain, encoding="utf-8")
    ended = waiting.site.run("snapshot", "drill")
    assert ended.returncode == 0, ended.stderr
    assert "what a killed drill has left" not in ended.stderr
    assert list(waiting.folder.iterdir()) == [folder]
    kill(process)


def test_the_database_of_a_killed_drill_is_dropped_by_the_next(given: Range) -> None:
    given.snapshot()
    plain = given.site.config.read_text(encoding="utf-8")
    given.checks(wait=WAIT)
    at_work, killed = given.start(), given.start()
    both = given.databases()
    assert len(both) == 2
    kill(killed)
    given.site.config.write_text(plain, encoding="utf-8")
    # The server notices a client's end when its statement has ended.
    given.site.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", both[1]
    )
    ended = given.drill()
    assert ended.returncode == 0, ended.stderr
    assert "what a killed drill has left was dropped" in ended.stderr
    assert len(given.databases()) == 1
    at_work.terminate()
    at_work.communicate()
    assert given.databases() == []
