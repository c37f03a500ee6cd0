"""Sessions mean the same whatever the environment says, and fail with the right error."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from alexandria_backup.errors import (
    ConnectionLost,
    DatabaseMissing,
    DatabaseUnreachable,
    PasswordRejected,
    PoolerRefused,
    StatementFailed,
)
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]
PASSWORD = "correct horse 'battery"


@pytest.fixture
def dsn(server: EmbeddedServer, new_database: NewDatabase) -> Dsn:
    return Dsn.parse(new_database(server))


@pytest.fixture
def session(dsn: Dsn) -> Iterator[Session]:
    with connect(dsn, purpose="test") as opened:
        yield opened


@pytest.fixture(scope="module")
def strict_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    """A server that asks for a password."""
    with EmbeddedServer.start(
        server_folder / "strict", password=Secret(PASSWORD), settings={"fsync": "off"}
    ) as server:
        yield server


# ── what is pinned ───────────────────────────────────────────────────────────────────────────────


def test_the_least_limits_of_an_administrator_end_no_session(
    server: EmbeddedServer, dsn: Dsn, session: Session
) -> None:
    limits = ["idle_session_timeout"] + ["transaction_timeout"] * (server.major >= 17)
    for limit in limits:
        session.execute(f'ALTER DATABASE "{dsn.database}" SET {limit} = 1')
    with connect(dsn, purpose="test") as limited:
        for limit in limits:
            time.sleep(0.02)
            assert limited.value(f"SHOW {limit}") == "0"


PINNED = {
    "search_path": "pg_catalog, pg_temp",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "lock_timeout": "1500ms",
    "statement_timeout": "0",
    "row_security": "off",
    "default_transaction_read_only": "off",
    "application_name": "alexandria-backup test",
}


def test_nobody_else_decides_what_is_pinned(
    dsn: Dsn, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = {
        "search_path": "public",
        "TimeZone": "Asia/Tokyo",
        "DateStyle": "German",
        "IntervalStyle": "iso_8601",
        "bytea_output": "escape",
        "statement_timeout": "1",
        "default_transaction_read_only": "on",
    }
    for name, value in hostile.items():
        session.execute(f"alter database \"{dsn.database}\" set {name} = '{value}'")
    monkeypatch.setenv("PGTZ", "Europe/Berlin")
    monkeypatch.setenv("PGDATESTYLE", "SQL")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=public")
    own = "-c search_path=public -c TimeZone=Asia/Tokyo -c work_mem=3MB"
    given = Dsn.parse(Secret(f"{dsn.conninfo().reveal()} options='{own}' application_name=x"))
    with connect(given, purpose="test", timeouts=Timeouts(lock=1.5)) as pinned:
        for name, value in PINNED.items():
            assert pinned.value("select current_setting(%s)", [name]) == value
        # What we do not pin, the DSN decides.
        assert pinned.value("select current_setting('work_mem')") == "3MB"


def test_planted_functions_and_temporary_tables_are_not_found(session: Session) -> None:
    session.execute("create table public.planted ()")
    with pytest.raises(StatementFailed) as caught:
        session.execute("select from planted")
    assert caught.value.sqlstate == "42P01"
    session.execute("create temporary table pg_class (relname text)")
    assert session.value("select count(*) from pg_class") > 100


def test_process_is_the_one_that_serves(session: Session) -> None:
    assert session.pid == session.value("select pg_backend_pid()")


# ── statements ───────────────────────────────────────────────────────────────────────────────────


def test_results(session: Session) -> None:
    session.execute("create table public.t (a int, b text)")
    assert session.execute("insert into public.t values (%s, %s), (2, '100%%')", [1, "ü"]) == 2
    assert session.all("select a, b from public.t order by a") == [(1, "ü"), (2, "100%")]
    assert session.one("select a from public.t where a = 9") is None
    assert session.value("select b from public.t where b like '%%x%%' and a = %s", [2]) is None
    assert session.value("select b from public.t where b like '100%'") == "100%"


def test_a_script_of_several_statements(session: Session) -> None:
    session.execute("create table public.t (a int); insert into public.t values (1), (2)")
    assert session.value("select count(*) from public.t") == 2


def test_a_refused_statement_says_why_and_shows_no_parameter(session: Session) -> None:
    session.execute("create table public.t (a text unique)")
    session.execute("insert into public.t values (%s)", ["very secret"])
    with pytest.raises(StatementFailed) as caught:
        session.execute("insert into public.t values (%s)", ["very secret"])
    assert caught.value.sqlstate == "23505"
    assert "duplicate key" in str(caught.value)
    assert "very secret" not in str(caught.value)


def test_lock_timeout(dsn: Dsn, session: Session) -> None:
    session.execute("create table public.t ()")
    with session.transaction():
        session.execute("lock table public.t in access exclusive mode")
        with (
            connect(dsn, purpose="test", timeouts=Timeouts(lock=0.05)) as other,
            pytest.raises(StatementFailed) as caught,
        ):
            other.execute("select from public.t")
    assert caught.value.sqlstate == "55P03"


def test_a_session_that_is_ended_is_lost(dsn: Dsn, session: Session) -> None:
    with connect(dsn, purpose="test") as other:
        session.execute("select pg_terminate_backend(%s, 10000)", [other.pid])
        with pytest.raises(ConnectionLost):
            other.execute("select 1")
        with pytest.raises(ConnectionLost):
            other.execute("select 1")


# ── transactions ─────────────────────────────────────────────────────────────────────────────────


def test_transactions_commit_and_roll_back(session: Session) -> None:
    session.execute("create table public.t (a int)")
    with session.transaction():
        session.execute("insert into public.t values (1)")
    with pytest.raises(StatementFailed), session.transaction():
        session.execute("insert into public.t values (2); select 1/0")
    assert session.all("select a from public.t") == [(1,)]


def test_a_transaction_of_its_kind(session: Session) -> None:
    with session.transaction(read_only=True, repeatable_read=True):
        assert session.value("select current_setting('transaction_isolation')") == "repeatable read"
        assert session.value("select current_setting('transaction_read_only')") == "on"


def test_a_swallowed_error_does_not_look_like_a_commit(session: Session) -> None:
    def swallow() -> None:
        with session.transaction(), suppress(StatementFailed):
            session.execute("select 1/0")

    with pytest.raises(StatementFailed, match="rolled back"):
        swallow()
    assert session.value("select 1") == 1


def test_transactions_do_not_nest(session: Session) -> None:
    with session.transaction(), pytest.raises(StatementFailed, match="already open"):
        session.transaction().__enter__()


def test_an_error_in_the_middle_of_a_copy_ends_the_transaction(session: Session) -> None:
    chunks = session.copy_out("copy (select generate_series(1, 1000000)) to stdout")

    def read_and_fail() -> None:
        with session.transaction():
            next(chunks)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_and_fail()
    with pytest.raises(ConnectionLost):
        session.execute("select 1")


# ── copy ─────────────────────────────────────────────────────────────────────────────────────────


def test_copy_out_gives_a_row_per_chunk(session: Session) -> None:
    query = "copy (select i, 'tab\t%s' from generate_series(1, 3) i) to stdout"
    assert list(session.copy_out(query)) == [f"{i}\ttab\\t%s\n".encode() for i in (1, 2, 3)]


def test_copy_out_may_be_left(session: Session) -> None:
    chunks = session.copy_out("copy (select generate_series(1, 1000000)) to stdout")
    assert next(chunks) == b"1\n"
    chunks.close()  # type: ignore[attr-defined] # it is a generator
    assert session.value("select 1") == 1


def test_copy_in(session: Session) -> None:
    session.execute("create table public.t (a int, b text)")
    assert session.copy_in("copy public.t from stdin", [b"1\tx\n2", b"\t\\N\n"]) == 2
    assert session.all("select a, b from public.t order by a") == [(1, "x"), (2, None)]


def test_copy_in_that_breaks_off_keeps_nothing(session: Session) -> None:
    def broken() -> Iterator[bytes]:
        yield b"1\n"
        raise ZeroDivisionError

    session.execute("create table public.t (a int)")
    with pytest.raises(ZeroDivisionError):
        session.copy_in("copy public.t from stdin", broken())
    assert session.value("select count(*) from public.t") == 0


# ── connections that fail ────────────────────────────────────────────────────────────────────────


def test_wrong_password(strict_server: EmbeddedServer) -> None:
    strict = Dsn.parse(strict_server.conninfo())
    with connect(strict, purpose="test") as session:
        assert session.value("select 1") == 1
    wrong = Dsn.parse(Secret(strict.conninfo().reveal().replace("horse", "wr0ng")))
    with pytest.raises(PasswordRejected) as caught:
        connect(wrong, purpose="test")
    assert "wr0ng" not in f"{caught.value}{caught.value.hint}"
    assert caught.value.exit_code == 11


def test_no_password(strict_server: EmbeddedServer) -> None:
    given = {**Dsn.parse(strict_server.conninfo()).parameters()}
    text = " ".join(f"{key}='{value}'" for key, value in given.items())
    with pytest.raises(PasswordRejected, match="asks for a password"):
        connect(Dsn.parse(Secret(text)), purpose="test")


def test_unknown_role(dsn: Dsn) -> None:
    given = dsn.conninfo().reveal().replace("user=postgres", "user=nobody_here")
    with pytest.raises(PasswordRejected):
        connect(Dsn.parse(Secret(given)), purpose="test")


def test_missing_database(dsn: Dsn) -> None:
    with pytest.raises(DatabaseMissing, match="no database `it's not there`"):
        connect(dsn.with_database("it's not there"), purpose="test")


def test_fenced_database(dsn: Dsn, server: EmbeddedServer) -> None:
    with psycopg.connect(server.conninfo().reveal(), autocommit=True) as maintenance:
        maintenance.execute(f'alter database "{dsn.database}" allow_connections false'.encode())
    with pytest.raises(DatabaseUnreachable, match="fenced"):
        connect(dsn, purpose="test")


@pytest.mark.parametrize(
    "where", ["host=/nowhere", "host=127.0.0.1 port=1", "host=unknown.invalid"]
)
def test_unreachable(where: str) -> None:
    given = Dsn.parse(Secret(f"{where} user=u password=s3cr3t dbname=d connect_timeout=5"))
    with pytest.raises(DatabaseUnreachable) as caught:
        connect(given, purpose="test")
    assert type(caught.value) is DatabaseUnreachable
    assert caught.value.hint
    assert "s3cr3t" not in repr(caught.value)


# ── poolers ──────────────────────────────────────────────────────────────────────────────────────

_BACKEND_KEY_DATA = b"K\x00\x00\x00\x0c"


@pytest.fixture
def pooler(server18: EmbeddedServer) -> Iterator[str]:
    """What a pooler does to a login: another process and key in BackendKeyData."""
    socket_file = Path(Dsn.parse(server18.conninfo()).host or "") / f".s.PGSQL.{server18.port}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_relay, args=(listener, str(socket_file)))
        thread.start()
        yield f"host=127.0.0.1 port={listener.getsockname()[1]} sslmode=disable gssencmode=disable"
        thread.join(timeout=30)


def _relay(listener: socket.socket, target: str) -> None:
    client, _ = listener.accept()
    with client, socket.socket(socket.AF_UNIX) as upstream:
        upstream.connect(target)
        back = threading.Thread(target=_forward, args=(client, upstream))
        back.start()
        while data := upstream.recv(65536):
            at = data.find(_BACKEND_KEY_DATA)
            if at >= 0:
                data = data[: at + 5] + os.urandom(8) + data[at + 13 :]
            client.sendall(data)
        back.join()


def _forward(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def test_a_relayed_session_is_refused(pooler: str) -> None:
    given = Dsn.parse(Secret(f"{pooler} user=postgres dbname=postgres"))
    with pytest.raises(PoolerRefused) as caught:
        connect(given, purpose="test")
    assert caught.value.exit_code == 12


@pytest.fixture
def pgbouncer(server18: EmbeddedServer) -> Iterator[Callable[[str], str]]:
    """Start the real PgBouncer with more settings; gives a connection string through it."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    running: list[subprocess.Popen[bytes]] = []

    def start(more: str) -> str:
        # Not pytest's folder: PgBouncer refuses to run as root and must reach it as `nobody`.
        folder = Path(tempfile.mkdtemp())
        upstream = Dsn.parse(server18.conninfo())
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host={upstream.host} port={upstream.port}\n[pgbouncer]\n"
            f"listen_addr =\nlisten_port = 6432\nunix_socket_dir = {folder}\n"
            f"auth_type = trust\nauth_file = {folder}/users\n{more}\n"
        )
        folder.chmod(0o777)
        as_root = os.getuid() == 0
        process = subprocess.Popen(
            [program, "-q", str(folder / "ini")],
            user="nobody" if as_root else None,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.01)
        return f"host={folder} port=6432 user=postgres dbname=postgres"

    yield start
    for process in running:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = options"])
def test_pgbouncer_is_refused(pgbouncer: Callable[[str], str], more: str) -> None:
    with pytest.raises(PoolerRefused, match="pooler"):
        connect(Dsn.parse(Secret(pgbouncer(more))), purpose="test")


def test_while_the_server_thinks_other_threads_go_on(session: Session) -> None:
    """With Python's global lock held, no lease would be renewed, and no Ctrl-C heard."""
    marks: list[float] = []
    over = threading.Event()

    def live() -> None:
        while not over.wait(0.01):
            marks.append(time.monotonic())

    other = threading.Thread(target=live)
    other.start()
    try:
        begun = time.monotonic()
        query = "COPY (SELECT pg_sleep(0.5) FROM generate_series(1, 2)) TO STDOUT"
        assert b"".join(session.copy_out_batches(query, batch_bytes=100)) == b"\n\n"
        assert list(session.copy_out_values("SELECT pg_sleep(0.5)::text::bytea")) == [[b""]]
        ended = time.monotonic()
    finally:
        over.set()
        other.join()
    # However slow the machine is: only a thread that was kept out has no mark at all.
    assert len([mark for mark in marks if begun < mark < ended]) > 3
