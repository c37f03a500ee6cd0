"""How things are measured: contenders take turns, and medians are compared.

A shared machine is slow at one moment and fast at the next. Contenders that take turns meet the
same moments, and a median leaves out the worst of them. What is compared is a ratio, never seconds.
"""

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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
    """What a program took."""

    seconds: float
    #: The largest of it and of what it started, in bytes.
    peak_bytes: int
    output: str


def run(
    command: Sequence[str | Path], *, environ: Mapping[str, str], stdin: bytes | None = None
) -> Child:
    """Run a program to its end; raises CalledProcessError, with what it said, where it fails."""
    began = time.perf_counter()
    with subprocess.Popen(
        [str(word) for word in command],
        env={"PATH": os.environ["PATH"], **environ},
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        output, errors = process.communicate(stdin)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        print(errors.decode(errors="replace")[-2000:])
        raise subprocess.CalledProcessError(process.returncode, process.args, output, errors)
    # Of all children so far: the largest one counts, and it only grows.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return Child(seconds=seconds, peak_bytes=peak, output=output.decode())
