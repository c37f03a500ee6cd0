"""How things are measured: contenders take turns, and medians are compared.

A shared machine is slow at one moment and fast at the next. Contenders that take turns meet the
same moments, and a median leaves out the worst of them. What is compared is a ratio, never seconds.
"""

import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import psutil

#: Seconds between two looks at the memory of a program.
_LOOK_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table, and one entry of `results.json`."""

    name: str
    #: What the design asks for, in words; empty where nothing is asked for.
    goal: str = ""
    #: How many times faster than theirs; None where `value` tells.
    ratio: float | None = None
    value: float | None = None
    unit: str = ""
    ours_median_s: float | None = None
    theirs_median_s: float | None = None
    runs: int = 1

    @property
    def shown(self) -> str:
        """The figure as people read it."""
        if self.ratio is not None:
            return f"{self.ratio:.2f} x"
        return f"{self.value:,.2f} {self.unit}".strip() if self.value is not None else ""


#: Does the work once; what it returns is the seconds that count, or None for all of them.
Contender = Callable[[], float | None]


def alternating(contenders: Mapping[str, Contender], *, runs: int) -> dict[str, float]:
    """Let the contenders take turns `runs` times; return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(runs):
        order = list(contenders.items())
        # Whoever comes second finds warm caches: neither shall always.
        for name, work in order if number % 2 == 0 else reversed(order):
            began = time.perf_counter()
            told = work()
            seconds[name].append(told if told is not None else time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in seconds.items()}


def faster(name: str, *, ours: float, theirs: float, runs: int, goal: str = "") -> Result:
    """Return how many times faster ours is."""
    return Result(
        name=name,
        goal=goal,
        ratio=theirs / ours,
        unit="times faster",
        ours_median_s=ours,
        theirs_median_s=theirs,
        runs=runs,
    )


@dataclass(frozen=True, kw_only=True)
class Child:
    """What a program took, with all that it has started and waited for."""

    seconds: float
    #: Of all processors: on a machine with other work it says more than the clock.
    cpu_seconds: float
    output: str
    #: The largest that each program of the tree became, in bytes, by name; where it was watched.
    peaks: Mapping[str, int] = field(default_factory=dict)
    #: The most that all of them had at once, what they share counted for each; where watched.
    together: int = 0


def run(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    stdin: bytes | None = None,
    watch: bool = False,
) -> Child:
    """Run a program to its end; raises CalledProcessError, with what it said, where it fails.

    `watch` looks many times a second at the memory of it and of all that it starts.
    """
    with TemporaryFile() as given, TemporaryFile() as output, TemporaryFile() as errors:
        given.write(stdin or b"")
        given.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            env={"PATH": os.environ["PATH"], **environ},
            stdin=given,
            stdout=output,
            stderr=errors,
        )
        with _watched(process.pid) if watch else nullcontext(_Memory()) as memory:
            usage = _ended(process)
        seconds = time.perf_counter() - began
        said, complaint = _all_of(output), _all_of(errors)
    if process.returncode != 0:
        print(complaint[-2000:])
        raise subprocess.CalledProcessError(process.returncode, process.args, said, complaint)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Child(
        seconds=seconds, cpu_seconds=cpu_seconds, output=said,
        peaks=memory.peaks, together=memory.together,
    )  # fmt: skip


def _ended(process: "subprocess.Popen[bytes]") -> resource.struct_rusage:
    """Wait for a program; return what it took, and not what all programs so far have."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


@dataclass(kw_only=True)
class _Memory:
    """What a process and all below it have had so far: see `Child`."""

    peaks: dict[str, int] = field(default_factory=dict)
    together: int = 0


@contextmanager
def _watched(root: int) -> Iterator[_Memory]:
    """Give the memory of a process and of all below it, looked at until the block ends."""
    memory = _Memory()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_S):
            now = 0
            for process in _tree(root):
                with suppress(psutil.Error, OSError, ValueError):
                    name = process.name()
                    memory.peaks[name] = max(memory.peaks.get(name, 0), _peak(process))
                    now += process.memory_info().rss
            memory.together = max(memory.together, now)

    watcher = threading.Thread(target=look, name="watcher", daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        ended.set()
        watcher.join()


def _tree(root: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(root)
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []


def _peak(process: psutil.Process) -> int:
    """Return the most that a process has had in memory: Linux keeps it, elsewhere it is now's."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    lines = (line.split() for line in status.read_text().splitlines())
    # One that has ended and that nobody has asked after yet has no memory any more.
    return next((int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:"), 0)
