"""The right programs are chosen, they never lie about success, and no secret is seen outside."""

import gzip
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from alexandria_backup.errors import ClientToolFailed, ClientToolsMissing, DsnInvalid
from alexandria_backup.postgres import child_process
from alexandria_backup.postgres.binaries import embedded_binaries
from alexandria_backup.postgres.child_environment import child_environment
from alexandria_backup.postgres.child_process import ChildProcess
from alexandria_backup.postgres.client_tools import (
    ClientTools,
    default_places,
    dump,
    find_client_tools,
    installed_in,
    restore,
)
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]
#: Everything that a password file must escape, and what a shell would not leave alone.
PASSWORD = "pä:ss\\wörd 'x' \"$HOME\" %s #"


@pytest.fixture(scope="module")
def strict_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    """A server that asks for a password."""
    with EmbeddedServer.start(
        server_folder / "tools", password=Secret(PASSWORD), settings={"fsync": "off"}
    ) as server:
        yield server


@pytest.fixture
def tools(server: EmbeddedServer) -> ClientTools:
    return find_client_tools(server.major, places=[server.bin_dir])


def dumped(tools: ClientTools, dsn: Dsn, *options: str) -> bytes:
    with dump(tools, dsn, options) as process:
        return b"".join(process.chunks)


# ── which programs ───────────────────────────────────────────────────────────────────────────────


def fake(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("pg_dump", "pg_restore"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {version}"\n')
        program.chmod(0o755)
    return folder


def test_the_servers_own_version_goes_first(tmp_path: Path) -> None:
    places = [fake(tmp_path / version, version) for version in ("18.1", "15.3", "16.2", "17beta1")]
    assert find_client_tools(16, places=places).version == "16.2"
    assert find_client_tools(17, places=places).major == 17
    # A newer one only where there is none, and then the next.
    assert find_client_tools(14, places=places).version == "15.3"
    found = find_client_tools(18, places=places)
    assert found.pg_dump == tmp_path / "18.1" / "pg_dump"


def test_an_older_one_never(tmp_path: Path) -> None:
    with pytest.raises(ClientToolsMissing) as caught:
        find_client_tools(17, places=[fake(tmp_path / "old", "16.2 (Debian 16.2-1)")])
    assert f"16.2 in `{tmp_path / 'old'}`" in str(caught.value)
    assert "17" in (caught.value.hint or "")
    assert caught.value.exit_code == 12


def test_a_configured_folder_is_the_only_one(tmp_path: Path) -> None:
    good, old = fake(tmp_path / "good", "16.2"), fake(tmp_path / "old", "15.2")
    assert find_client_tools(16, configured=good, places=[old]).bin_dir == good
    with pytest.raises(ClientToolsMissing, match=r"15\.2"):
        find_client_tools(16, configured=old, places=[good])
    with pytest.raises(ClientToolsMissing, match="found: none"):
        find_client_tools(16, configured=tmp_path / "not there", places=[good])


def test_what_is_no_installation(tmp_path: Path) -> None:
    half = fake(tmp_path / "half", "16.2")
    (half / "pg_restore").unlink()
    mixed = fake(tmp_path / "mixed", "16.2")
    (mixed / "pg_restore").write_text("#!/bin/sh\necho 'pg_restore (PostgreSQL) 17.1'\n")
    broken = fake(tmp_path / "broken", "16.2")
    (broken / "pg_dump").write_text("#!/bin/sh\nexit 1\n")
    wrapped = tmp_path / "wrapped"
    wrapped.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (wrapped / name).symlink_to("pg_wrapper")
    fake(tmp_path / "wrapper", "16.2")
    (tmp_path / "wrapper" / "pg_dump").rename(wrapped / "pg_wrapper")
    assert [installed_in(folder) for folder in (half, mixed, broken, wrapped)] == [None] * 4


def test_the_embedded_ones_are_found_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    places = default_places()
    assert places[0] == tmp_path
    assert places[-1] == embedded_binaries(18)
    assert find_client_tools(18).major == 18


# ── what others can see ──────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
def test_the_password_is_in_no_process_and_no_file_of_others(
    strict_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = Dsn.parse(strict_server.conninfo())
    monkeypatch.setenv("ALEXANDRIA_DSN", dsn.conninfo().reveal())
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    tools = find_client_tools(18, places=[strict_server.bin_dir])
    with connect(dsn, purpose="watch") as watch, connect(dsn, purpose="lock") as lock:
        lock.execute("create table if not exists public.t (a int)")
        lock.execute("begin; lock table public.t in access exclusive mode")
        with dump(tools, dsn, ["--format=custom"]) as process:
            child = process._child.process.pid
            # It waits for the lock, so that it can be looked at.
            wait_until(lambda: watch.value(WAITING))
            outside = Path(f"/proc/{child}/cmdline").read_bytes()
            outside += Path(f"/proc/{child}/environ").read_bytes()
            folder = Path(psutil.Process(child).environ()["PGSERVICEFILE"]).parent
            modes = {file.stat().st_mode & 0o777 for file in folder.iterdir()}
            assert (folder.stat().st_mode & 0o777, modes) == (0o700, {0o600})
            lock.execute("rollback")
            assert b"".join(process.chunks).startswith(b"PGDMP")
    assert "wörd".encode() not in outside
    assert b"ALEXANDRIA" not in outside
    assert not folder.exists()
    assert not psutil.pid_exists(child)


WAITING = """
    select count(*) from pg_stat_activity
    where application_name = 'alexandria-backup dump' and wait_event_type = 'Lock'
"""


def wait_until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.02)


def test_a_wrong_password_is_told_without_it(strict_server: EmbeddedServer) -> None:
    wrong = Secret(strict_server.conninfo().reveal().replace("wörd", "wr0ng"))
    tools = find_client_tools(18, places=[strict_server.bin_dir])
    with pytest.raises(ClientToolFailed) as caught:
        dumped(tools, Dsn.parse(wrong))
    assert "password authentication failed" in str(caught.value)
    assert "wr0ng" not in f"{caught.value!r}{caught.value.hint}"


def test_an_odd_password_and_odd_names(strict_server: EmbeddedServer) -> None:
    name = f" Ö \"odd\" 'name' {secrets.token_hex(4)} "
    quoted = '"' + name.replace('"', '""') + '"'
    tools = find_client_tools(18, places=[strict_server.bin_dir])
    dsn = Dsn.parse(strict_server.conninfo())
    with connect(dsn, purpose="test") as session:
        session.execute(f"create database {quoted}")
        session.execute(f"create role {quoted} login superuser password 'p:w\\'")
        odd = Dsn.parse(
            Secret(f"postgresql://x:p%3Aw%5C@h/?host={dsn.host}&port={dsn.port}")
        ).with_database(name)
        odd = Dsn._of({**odd._revealed(), "user": name})
        try:
            assert b"PostgreSQL database dump complete" in dumped(tools, odd)
        finally:
            session.execute(f"drop database {quoted}")
            session.execute(f"drop role {quoted}")


def test_what_no_file_can_hold() -> None:
    for text in ("password='a\nb'", "password=x sslrootcert='/a\nb'", "sslcert='/a '"):
        with (
            pytest.raises(DsnInvalid) as caught,
            child_environment(Dsn.parse(Secret(f"host=h {text}")), purpose="x"),
        ):
            pass
        assert "a\nb" not in str(caught.value)


def test_settings_reach_the_program(server: EmbeddedServer, new_database: NewDatabase) -> None:
    """Values are rendered as our own sessions render them."""
    dsn = Dsn.parse(new_database(server))
    with connect(dsn, purpose="test") as session:
        name = f'"{dsn.database}"'
        session.execute(f"alter database {name} set timezone = 'Asia/Tokyo'")
        session.execute(f"alter database {name} set bytea_output = 'escape'")
        session.execute(f"alter database {name} set default_transaction_read_only = on")
        session.execute("create table public.t (a timestamptz, b bytea)")
        session.execute("insert into public.t values ('2026-11-23 12:00+00', 'abc')")
        (row,) = session.copy_out("copy public.t to stdout")
    tools = find_client_tools(server.major, places=[server.bin_dir])
    assert row == b"2026-11-23 12:00:00+00\t\\\\x616263\n"
    assert row in dumped(tools, dsn)
    restore(
        tools, dsn, [dumped(tools, dsn, "--format=custom")], ["--clean"], server_major=server.major
    )


# ── dump ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_dump(tools: ClientTools, server: EmbeddedServer, chinook: NewDatabase) -> None:
    with dump(tools, Dsn.parse(chinook(server)), ["--format=custom", "--compress=9"]) as process:
        content = b"".join(process.chunks)
        process.finish()
        process.finish()
    assert content.startswith(b"PGDMP")
    assert process.messages == ()


def test_a_dump_that_fails_at_once(tools: ClientTools, server: EmbeddedServer) -> None:
    with pytest.raises(ClientToolFailed, match=r'status 1: .*"not there" does not exist'):
        dumped(tools, Dsn.parse(server.conninfo("not there")))


def test_a_dump_whose_session_is_ended(
    tools: ClientTools, server: EmbeddedServer, new_database: NewDatabase
) -> None:
    dsn = Dsn.parse(new_database(server))
    with connect(dsn, purpose="test") as session:
        session.execute("create table public.t (a text)")
        session.execute("insert into public.t select repeat('x', 100) from generate_series(1, 1e5)")
        begun: list[bytes] = []

        def read() -> None:
            with dump(tools, dsn) as process:
                for chunk in process.chunks:
                    begun.append(chunk)
                    session.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity "
                        "where application_name = 'alexandria-backup dump'"
                    )

        with pytest.raises(ClientToolFailed, match="status 1"):
            read()
    assert begun


def test_a_dump_that_is_killed(
    tools: ClientTools, server: EmbeddedServer, chinook: NewDatabase
) -> None:
    def read(dsn: Dsn) -> None:
        with dump(tools, dsn) as process:
            for _ in process.chunks:
                os.kill(process._child.process.pid, signal.SIGKILL)

    dsn = Dsn.parse(chinook(server))
    with pytest.raises(ClientToolFailed, match="signal SIGKILL"):
        read(dsn)


def test_a_dump_that_is_not_read_to_its_end(
    tools: ClientTools, server: EmbeddedServer, chinook: NewDatabase
) -> None:
    with (
        pytest.raises(ClientToolFailed, match="not read to its end"),
        dump(tools, Dsn.parse(chinook(server))) as process,
    ):
        next(process.chunks)
    assert not children_named("pg_dump")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_program_ends_with_its_block(
    tools: ClientTools,
    server: EmbeddedServer,
    chinook: NewDatabase,
    error: type[BaseException],
) -> None:
    with pytest.raises(error), dump(tools, Dsn.parse(chinook(server))):
        raise error
    assert not children_named("pg_dump")


def test_a_program_that_cannot_be_started(server: EmbeddedServer, tmp_path: Path) -> None:
    gone = ClientTools(bin_dir=tmp_path, major=18, version="18.4")
    with pytest.raises(ClientToolsMissing, match="cannot be started"):
        dumped(gone, Dsn.parse(server.conninfo()))


# ── restore ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def archive(tools: ClientTools, server: EmbeddedServer, chinook: NewDatabase) -> bytes:
    return dumped(tools, Dsn.parse(chinook(server)), "--format=custom")


@pytest.fixture
def target(server: EmbeddedServer, new_database: NewDatabase) -> Dsn:
    return Dsn.parse(new_database(server))


def test_a_restore_of_a_file(
    tools: ClientTools, archive: bytes, target: Dsn, tmp_path: Path
) -> None:
    path = tmp_path / "-it's an archive"
    path.write_bytes(archive)
    options = ["--exit-on-error", "--verbose", "--jobs=2"]
    restore(tools, target, path, options, server_major=tools.major)
    assert tracks(target) == 3503


def test_a_restore_of_a_stream(tools: ClientTools, archive: bytes, target: Dsn) -> None:
    chunks = [archive[at : at + 1000] for at in range(0, len(archive), 1000)]
    restore(tools, target, chunks, ["--exit-on-error"], server_major=tools.major)
    assert tracks(target) == 3503


def tracks(dsn: Dsn) -> object:
    with connect(dsn, purpose="test") as session:
        return session.value("select count(*) from public.track")


@pytest.mark.parametrize("jobs", [(), ("--jobs=2",)])
def test_a_newer_restore_into_an_older_server(
    server16: EmbeddedServer,
    chinook: NewDatabase,
    new_database: NewDatabase,
    tmp_path: Path,
    jobs: tuple[str, ...],
) -> None:
    newer = find_client_tools(18, places=[embedded_binaries(18)])
    older = find_client_tools(16, places=[server16.bin_dir])
    path = tmp_path / "archive"
    path.write_bytes(dumped(older, Dsn.parse(chinook(server16)), "--format=custom"))
    options = ["--exit-on-error", *jobs]
    target = Dsn.parse(new_database(server16))
    restore(newer, target, path, options, server_major=16)
    assert tracks(target) == 3503
    # Any other error is still one: now everything is there already.
    with pytest.raises(ClientToolFailed, match="already exists"):
        restore(newer, target, path, options, server_major=16)


def test_a_restore_that_fails(
    tools: ClientTools, server: EmbeddedServer, chinook: NewDatabase, tmp_path: Path
) -> None:
    dsn = Dsn.parse(chinook(server))
    archive = dumped(tools, dsn, "--format=custom")
    for options in (["--exit-on-error"], []):
        with pytest.raises(ClientToolFailed, match="already exists"):
            restore(tools, dsn, [archive], options, server_major=server.major)
    with pytest.raises(ClientToolFailed, match="status 1"):
        restore(tools, dsn, tmp_path / "not there", server_major=server.major)
    with pytest.raises(ClientToolFailed):
        restore(tools, dsn, [gzip.compress(archive)], server_major=server.major)


def test_a_failure_shows_the_first_error_and_the_last(
    tools: ClientTools, server: EmbeddedServer, chinook: NewDatabase
) -> None:
    dsn = Dsn.parse(chinook(server))
    archive = dumped(tools, dsn, "--format=custom")
    with pytest.raises(ClientToolFailed) as caught:
        restore(tools, dsn, [archive], server_major=server.major)
    said = str(caught.value)
    # There is one for each table, index and constraint: more than are kept.
    assert said.index('relation "album" already exists') < said.index("track_media_type_id_fkey")
    assert "Command was" not in said


def test_no_statement_and_no_row_is_shown(
    tools: ClientTools, server: EmbeddedServer, new_database: NewDatabase
) -> None:
    dsn = Dsn.parse(new_database(server))
    with connect(dsn, purpose="test") as session:
        session.execute(
            "create table public.t (a text primary key);"
            "insert into public.t values (E'row\\nerror: row-s3cret');"
            # More than one line, and one that looks like a message.
            "create subscription taken connection "
            "E'host=/nowhere\\napplication_name=error: password=pub-s3cret' "
            "publication p with (connect = false)"
        )
        try:
            archive = dumped(tools, dsn, "--format=custom")
            for options in (["--exit-on-error"], []):
                with pytest.raises(ClientToolFailed, match='relation "t" already exists') as caught:
                    restore(tools, dsn, [archive], options, server_major=server.major)
                assert "s3cret" not in f"{caught.value!r}{caught.value.hint}"
            # The rest only: the statement with the password, the row that is there already.
            only = ["--exit-on-error", "--section=post-data"]
            with pytest.raises(ClientToolFailed) as caught:
                restore(tools, dsn, [archive], only, server_major=server.major)
            with pytest.raises(ClientToolFailed, match="duplicate key") as of_row:
                restore(tools, dsn, [archive], ["--data-only"], server_major=server.major)
            assert "s3cret" not in f"{caught.value!r}{of_row.value!r}"
        finally:
            session.execute("alter subscription taken set (slot_name = none)")
            session.execute("drop subscription taken")


def test_a_newer_restore_shows_what_really_failed(
    server16: EmbeddedServer, chinook: NewDatabase
) -> None:
    newer = find_client_tools(16, places=[embedded_binaries(18)])
    dsn = Dsn.parse(chinook(server16))
    with pytest.raises(ClientToolFailed) as caught:
        restore(newer, dsn, [dumped(newer, dsn, "--format=custom")], server_major=server16.major)
    assert 'relation "album" already exists' in str(caught.value)
    assert "transaction_timeout" not in str(caught.value)


def test_a_source_that_breaks_off(tools: ClientTools, archive: bytes, target: Dsn) -> None:
    def cut(error: Exception) -> Iterator[bytes]:
        yield archive[: len(archive) // 2]
        raise error

    # The last one is what a lost connection to an object store may raise.
    for error in (ZeroDivisionError(), BrokenPipeError("the source's own")):
        with pytest.raises(type(error)):
            restore(tools, target, cut(error), server_major=tools.major)
    assert not children_named("pg_restore")


def test_an_interrupt_ends_the_workers_too(
    tools: ClientTools, server: EmbeddedServer, new_database: NewDatabase, tmp_path: Path
) -> None:
    source = Dsn.parse(new_database(server))
    with connect(source, purpose="test") as session:
        for name in ("a", "b"):
            session.execute(
                f"create table public.{name} (i int);"
                f"create function public.slow_{name}() returns trigger language plpgsql as "
                "'begin perform pg_catalog.pg_sleep(600); return new; end';"
                f"insert into public.{name} values (1);"
                f"create trigger slow before insert on public.{name} "
                f"for each row execute function public.slow_{name}();"
            )
    path = tmp_path / "archive"
    path.write_bytes(dumped(tools, source, "--format=custom"))
    target = Dsn.parse(new_database(server))
    restore(tools, target, path, ["--schema-only"], server_major=server.major)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        with connect(Dsn.parse(server.conninfo()), purpose="test") as session:
            wait_until(
                lambda: (
                    session.value(
                        "select count(*) from pg_stat_activity "
                        "where datname = %s and query like 'COPY%%'",
                        [target.database],
                    )
                    == 2
                )
            )
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        restore(tools, target, path, ["--data-only", "--jobs=2"], server_major=server.major)
    thread.join()
    assert not children_named("pg_restore")


def children_named(name: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        # One that ends while we look is not there.
        with suppress(psutil.NoSuchProcess):
            if child.name() == name:
                found.append(child)
    return found


def test_a_program_that_ignores_our_signal_is_killed(
    tmp_path: Path, server18: EmbeddedServer
) -> None:
    folder = fake(tmp_path / "stubborn", "18.1")
    (folder / "pg_dump").write_text(
        "#!/bin/sh\ntrap '' TERM\necho begun\nwhile :; do sleep 1; done\n"
    )
    tools = ClientTools(bin_dir=folder, major=18, version="18.1")
    used: list[ChildProcess] = []

    def begin() -> None:
        with dump(tools, Dsn.parse(server18.conninfo())) as process:
            used.append(process._child)
            next(process.chunks)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        begin()
    assert used[0].process.returncode == -signal.SIGKILL


def test_a_lot_of_talk_does_not_block(tmp_path: Path, server18: EmbeddedServer) -> None:
    folder = fake(tmp_path / "talking", "18.1")
    (folder / "pg_dump").write_text(
        "#!/bin/sh\ni=0\nwhile [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done\necho data\n"
    )
    tools = ClientTools(bin_dir=folder, major=18, version="18.1")
    with dump(tools, Dsn.parse(server18.conninfo())) as process:
        assert list(process.chunks) == [b"data\n"]
    assert process.messages[-1] == "line 19999"
    assert len(process.messages) <= 50


def test_a_dump_that_heeds_no_first_signal_is_cancelled_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does pg_dump while the server that it asks to cancel its query is silent."""
    monkeypatch.setattr(child_process, "_PATIENCE", 0.5)
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\ntrap '' TERM\necho begun\nwhile :; do sleep 1; done\n")
    program.chmod(0o755)
    tools = ClientTools(bin_dir=tmp_path, major=18, version="18.0")

    def cancelled() -> None:
        with dump(tools, Dsn.parse(Secret("host=/nowhere dbname=x"))) as process:
            for _ in process.chunks:
                process.cancel()

    with pytest.raises(ClientToolFailed, match="SIGKILL"):
        cancelled()
