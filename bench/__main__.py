"""`python -m bench`: measure, print one table, write `results.json` and `docs/benchmarks.md`."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import audit, bundles, report, restores, snapshots
from bench.measuring import Result
from bench.workshop import Workshop, workshop

#: What can be measured, by name; each is given a workshop with the seeded database.
MEASUREMENTS: dict[str, Callable[[Workshop], list[Result]]] = {
    "snapshots": snapshots.run,
    "restores": restores.run,
    "audit": audit.run,
    "bundles": bundles.run,
}
#: Those that do not look at it, so that it need not be filled for them.
_WITHOUT_DATABASE = {"audit", "bundles"}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", type=float, default=1.5, help="gigabytes of COPY text")
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each contender")
    parser.add_argument("--only", choices=sorted(MEASUREMENTS), action="append")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, too")
    given = parser.parse_args()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="alexandria-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        # The server's user must be able to reach it.
        folder.chmod(0o711)
        chosen = given.only or list(MEASUREMENTS)
        filled = not _WITHOUT_DATABASE.issuperset(chosen)
        with workshop(folder, gigabytes=given.size, runs=given.runs, filled=filled) as place:
            for measured in chosen:
                results += MEASUREMENTS[measured](place)
                report.show(results)
            conditions = report.conditions(place)
    report.write(results, conditions, docs=given.write)


if __name__ == "__main__":
    main()
