"""The stand-in application: `/ready`, `/license`, and a writer that never rests.

    python -m alexandria_backup.demo.application --dsn-file F --key-file F --port-file F

It ends with whom it depends on: with the keeper, where `--keeper-file` is given (see `keeper.py`),
and otherwise with its parent, whose end it sees as the end of standard input, or from the kernel.
SIGTERM ends it cleanly. It serves also while its database is away, and says so.
"""

import argparse
import ctypes
import logging
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from alexandria_backup.demo import keeper
from alexandria_backup.demo.service import Database, Service
from alexandria_backup.demo.writer import Writer
from alexandria_backup.errors import DsnInvalid
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.secret import Secret

_log = logging.getLogger("alexandria.demo")

#: Where a port is chosen: below those that the kernel hands out to clients, so that it is still
#: free after a stop.
_PORTS = range(20_000, 32_000)
#: Seconds to wait for what a previous instance still holds.
_PATIENCE_S = 5.0
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; return the exit code."""
    options = _parser().parse_args(arguments)
    _log_to(options.log_file)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    _depend_on(options.keeper_file)
    if options.pid_descriptor is not None:
        # Kept open for life: the lock that came with it tells others that we live.
        os.write(options.pid_descriptor, str(os.getpid()).encode())
    try:
        dsn = Dsn.parse(Secret(options.dsn_file.read_text()))
    except DsnInvalid as exc:
        _log.error("%s", exc)
        return 1
    key = options.key_file.read_bytes()
    writer = Writer(dsn, key=key, writes_per_second=options.writes_per_second)
    _serve(dsn, options.port_file, writer, ended)
    return 0


def _serve(dsn: Dsn, port_file: Path, writer: Writer, ended: threading.Event) -> None:
    database = Database(dsn)
    with _listen(port_file, database) as service:
        serving = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        writer.start()
        _log.info("serving on port %d", service.server_port)
        ended.wait()
        writer.stop()
        service.shutdown()
        serving.join()
    database.close()
    _log.info("stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="application", description="a stand-in Alexandria")
    parser.add_argument("--dsn-file", type=Path, required=True)
    parser.add_argument("--key-file", type=Path, required=True, help="the audit key, raw")
    parser.add_argument("--port-file", type=Path, required=True, help="read, or written if absent")
    parser.add_argument("--pid-descriptor", type=int, help="an open, locked file for our number")
    parser.add_argument("--log-file", type=Path, help="standard error where it is not given")
    parser.add_argument("--keeper-file", type=Path, help="end when nobody holds its lock")
    parser.add_argument("--writes-per-second", type=float, default=20.0)
    return parser


def _log_to(path: Path | None) -> None:
    handler = logging.StreamHandler() if path is None else logging.FileHandler(path, "a", "utf-8")
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)


def _depend_on(keeper_file: Path | None) -> None:
    """End this process, without ceremony, when the one that it serves has ended."""
    if keeper_file is None and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        if keeper_file is not None:
            keeper.outlast(keeper_file)
        else:
            while sys.stdin.buffer.read(4096):
                pass
        # The database ends with the same process: there is nothing to finish, and nobody to tell.
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _listen(port_file: Path, database: Database) -> Service:
    """Listen on the port in the file; choose a free one at the first start."""
    if port_file.exists():
        port = int(port_file.read_text())
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return Service(port, database)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    while True:
        try:
            service = Service(random.choice(_PORTS), database)  # noqa: S311  # only a free one
        except OSError:
            continue
        fresh = port_file.with_name(port_file.name + ".new")
        fresh.write_text(str(service.server_port))
        fresh.replace(port_file)
        return service


if __name__ == "__main__":
    sys.exit(main())
