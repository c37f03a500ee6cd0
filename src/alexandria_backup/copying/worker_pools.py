"""Pools of workers: threads of this process, or processes of their own.

Work is given to a `concurrent.futures.Executor` as picklable orders, and results come back as
values. Threads do where little is read, since the server does the work then; for much, processes:
taking COPY's rows apart, compressing and checking them needs Python on every core.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.util import Finalize
from typing import Final

from alexandria_backup.copying.storing import PART_BYTES
from alexandria_backup.copying.worker import Worker, WorkerSetup, begin
from alexandria_backup.errors import StatementFailed

#: Parameters of glibc's `mallopt`, from its malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
#: Seconds after which a thread that takes rows lets one that has just compressed a part go on: with
#: Python's five milliseconds, parts would wait longer than they are worked on.
_SWITCH_S: Final = 0.0005


@contextmanager
def thread_workers(setup: WorkerSetup, number: int) -> Iterator[Executor]:
    """Give workers in threads of this process."""
    opened: list[Worker] = []
    executor = ThreadPoolExecutor(number, "copy-out", initializer=begin, initargs=(setup, opened))
    try:
        yield executor
    except BaseException:
        # What is under way is not wanted any more, and a silent server would hold it up for ever.
        for worker in opened:
            worker.cut()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        for worker in opened:
            worker.close()


@contextmanager
def process_workers(setup: WorkerSetup, number: int) -> Iterator[Executor]:
    """Give workers in processes of their own, which end with this one even if that is killed."""
    # Not forked: the object store's client has threads, and a fork copies their locks.
    context = multiprocessing.get_context("spawn")
    wanted, wanting = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        number, context, initializer=_begin_process, initargs=(setup, wanted)
    )
    try:
        yield executor
    except BaseException as error:
        # As among threads; they see it by the end of the pipe.
        wanting.close()
        if isinstance(error, BrokenExecutor):
            raise StatementFailed(
                "a process that copied frames out was killed",
                hint="look for the kernel's out-of-memory killer: journalctl -k",
            ) from error
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        wanting.close()
        wanted.close()


def _begin_process(setup: WorkerSetup, wanted: Connection) -> None:
    # Ctrl-C reaches the whole group; the coordinator decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    opened: list[Worker] = []
    threading.Thread(
        target=_end_with_parent, args=(wanted, opened), name="end-with-parent", daemon=True
    ).start()
    _keep_freed_memory()
    Finalize(None, _close_all, (opened,), exitpriority=10)
    begin(setup, opened)


def _close_all(opened: Sequence[Worker]) -> None:
    for worker in opened:
        worker.close()


def _keep_freed_memory() -> None:
    """Let glibc use again what batches leave: given back each time, it comes page by page anew.

    That took a third of the time which workers spend in the kernel. Other C libraries are left
    alone.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 8 * PART_BYTES)
        mallopt(_TRIM_THRESHOLD, 16 * PART_BYTES)


def _end_with_parent(wanted: Connection, opened: Sequence[Worker]) -> None:
    """End with a parent that was killed, or that does not want the work any more.

    A pool's processes notice neither by themselves: they would wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if parent.sentinel not in wait_for_any([parent.sentinel, wanted]):
        # What is being stored comes to its end; what the server owes will not come any more.
        for worker in opened:
            worker.cut()
        wait_for_any([parent.sentinel])
    os._exit(1)
