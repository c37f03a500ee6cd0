"""Verification of the audit chain: on all cores, against a loop as anyone would write it.

What bounds ours is processor time, on two cores with the server beside it. Of about 3.2 µs for
each row the server takes 1.1, of which 0.65 to put it together and 0.25 to send it; this program
0.3 to receive it and take the pages apart, 0.6 for the HMAC and 0.4 for the row's own digest, of
which 0.4 are calls and copied states and not SHA-256; the rest is comparing, remembering, and
starting a process. The loop is what anyone writes first: a cursor of the server's, a datetime,
`hmac.new`; it takes 7.3, one core at a time.
"""

import hmac
import json
import os
import resource
import struct
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import psycopg

from alexandria_backup.audit.discovery import discover_table
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.secret import Secret
from bench import database
from bench.measuring import Result, alternating, faster
from bench.measuring import run as run_child
from bench.workshop import Workshop

#: At the default size of a workshop: three million.
_ROWS_PER_GIGABYTE = 2_000_000
_DATABASE = "audit_bench"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLE = """
CREATE TABLE public.audit_logs (
    id text COLLATE "C" PRIMARY KEY, principal text, action text, agent text, session text,
    metadata text, tenant_id text, hmac text, prev_hmac text, created_at timestamptz)
"""
_LOOP = """
SELECT id, principal, action, agent, session, metadata, tenant_id, created_at, hmac
FROM public.audit_logs ORDER BY id
"""


def run(workshop: Workshop) -> list[Result]:
    """Measure rate, ratio, memory, and what disorder costs."""
    rows = round(workshop.gigabytes * _ROWS_PER_GIGABYTE)
    dsn = _filled(workshop, rows)
    seconds = alternating(
        {"ours": lambda: _verify(dsn), "loop": lambda: _loop(dsn, rows)}, runs=workshop.runs
    )
    whole, tenth, shuffled = (_child(dsn, table) for table in ("audit_logs", "tenth", "shuffled"))
    return [
        Result(
            name=f"audit verification of {rows / 1e6:.1f} M rows",
            goal="≥ 500,000 rows/s",
            value=rows / seconds["ours"],
            unit="rows/s",
            ours_median_s=seconds["ours"],
            runs=workshop.runs,
        ),
        faster(
            "audit verification vs a loop with `hmac.new`",
            ours=seconds["ours"],
            theirs=seconds["loop"],
            runs=workshop.runs,
            goal="≥ 5 x faster",
        ),
        Result(
            name="audit verification: memory for ten times as many rows",
            goal="flat: 1",
            value=whole["peak"] / tenth["peak"],
        ),
        Result(
            name="audit verification: rate where no row is in the chain's order",
            value=shuffled["rows"] / shuffled["seconds"],
            unit="rows/s",
            ours_median_s=shuffled["seconds"],
        ),
        Result(
            name="audit verification: memory for each row out of order",
            value=(shuffled["peak"] - tenth["peak"]) / shuffled["rows"],
            unit="bytes",
        ),
    ]


def _filled(workshop: Workshop, rows: int) -> str:
    with workshop.session("postgres") as session:
        session.execute(f"DROP DATABASE IF EXISTS {_DATABASE}")
        session.execute(f"CREATE DATABASE {_DATABASE}")
    with workshop.session(_DATABASE) as session:
        session.execute(_TABLE)
        session.copy_in(
            COPY_AUDIT_ROWS, audit_rows(rows, seed=database.SEED, key=database.AUDIT_KEY)
        )
        head = f"SELECT * FROM public.audit_logs ORDER BY id LIMIT {rows // 10}"
        session.execute(f"CREATE TABLE public.tenth AS {head}")
        shuffled = f"SELECT * FROM ({head}) AS h ORDER BY md5(id)"
        session.execute(f"CREATE TABLE public.shuffled AS {shuffled}")
        session.execute("VACUUM ANALYZE")
    return workshop.server.conninfo(_DATABASE).reveal()


def _verify(dsn: str, name: str = "audit_logs") -> float | None:
    with connect(Dsn.parse(Secret(dsn)), purpose="bench") as session:
        table = discover_table(session, named=("public", name))
        key = AuditKey.of(database.AUDIT_KEY)
        report = verify_live(session, recipe=ALEXANDRIA_V1, key=key, table=table)
    if report.status is not Status.INTACT:
        raise AssertionError(report.summary())
    return None


def _loop(dsn: str, rows: int) -> float | None:
    """Verify as anyone would write it: fetch rows in order, compute `hmac.new` for each."""
    previous, seen = bytes(32), 0
    with psycopg.connect(dsn) as connection, connection.cursor("rows") as cursor:
        cursor.execute(_LOOP)
        for *values, created_at, stored in cursor:
            values.append(str((created_at - _EPOCH) // timedelta(microseconds=1)))
            message = ALEXANDRIA_V1.domain + b"".join(map(_prefixed, values)) + previous
            computed = hmac.new(database.AUDIT_KEY, message, sha256)
            if computed.hexdigest() != stored:
                raise AssertionError("a row does not verify")
            previous = computed.digest()
            seen += 1
    if seen != rows:
        raise AssertionError(f"{seen:,} rows")
    return None


def _prefixed(value: str | None) -> bytes:
    if value is None:
        return b"\x00"
    data = value.encode()
    return b"\x01" + struct.pack(">I", len(data)) + data


def _child(dsn: str, table: str) -> dict[str, float]:
    """Verify in a process of its own, which tells what it took."""
    command = [sys.executable, "-m", "bench.audit", table]
    told: dict[str, float] = json.loads(run_child(command, environ={"BENCH_DSN": dsn}).output)
    return told


def _tell(arguments: Sequence[str]) -> None:
    dsn = os.environ["BENCH_DSN"]
    with connect(Dsn.parse(Secret(dsn)), purpose="bench") as session:
        rows = session.value(f"SELECT count(*) FROM public.{arguments[0]}")
    began = time.perf_counter()
    _verify(dsn, arguments[0])
    seconds = time.perf_counter() - began
    peaks = (
        resource.getrusage(who).ru_maxrss * 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"rows": rows, "seconds": seconds, "peak": max(peaks)}))


if __name__ == "__main__":
    _tell(sys.argv[1:])
