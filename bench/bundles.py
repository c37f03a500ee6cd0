"""Bundles: a node's files into one, against `tar czf`.

The tree is what a node with a knowledge store has: vectors (most of the bytes), documents as JSON,
a database of their texts, and programs. What bounds ours with gzip is deflate, on all cores;
vectors are packed without a search for repetitions, which they do not have.
"""

import json
import random
import shutil
import sqlite3
import sys
import sysconfig
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

from bench.measuring import Child, Result, alternating, faster
from bench.measuring import run as run_child
from bench.workshop import Workshop

#: At the default size of a workshop: 360 MB, and 200,000 small files.
_MB_PER_GIGABYTE = 240
_SMALL_FILES = 200_000
_SMALL_PER_FOLDER = 500
_LETTERS = "etaoinshrdlucmfwypvbgkqjxz"


def run(workshop: Workshop) -> list[Result]:
    """Measure speed, size and memory on a node's files, then the pace on many small ones."""
    node = workshop.folder / "node"
    _seed(node, megabytes=int(workshop.gigabytes * _MB_PER_GIGABYTE))
    small = workshop.folder / "small"
    # A short trial must not wait for 200,000 files; what was measured is in the row's name.
    files = min(_SMALL_FILES, int(workshop.gigabytes * _SMALL_FILES))
    count = _seed_small(small, folders=max(1, files // _SMALL_PER_FOLDER))
    return [*_node(workshop, node), *_small(workshop, small, count)]


def _node(workshop: Workshop, node: Path) -> list[Result]:
    taken = _turns(
        {
            "gzip": lambda: _ours(workshop, node, "gzip"),
            "zstd": lambda: _ours(workshop, node, "zstd"),
            "tar": lambda: _tar(workshop, node),
        },
        runs=workshop.runs,
    )
    sizes = {name: _output(workshop, name).stat().st_size for name in taken}
    # In a run of its own: to be watched costs time.
    peak = _ours(workshop, node, "gzip", watch=True).together
    return [
        _seconds("bundle vs `tar czf`", taken, "gzip", goal="≥ 3 x faster"),
        _cpu("bundle vs `tar czf`, seconds of all processors", taken, "gzip"),
        Result(
            name="bytes of a bundle, as a share of `tar czf`'s", goal="≤ 1",
            value=sizes["gzip"] / sizes["tar"], runs=workshop.runs,
        ),
        _seconds("bundle with zstd vs `tar czf`", taken, "zstd"),
        Result(name="bytes of a bundle with zstd, as a share", value=sizes["zstd"] / sizes["tar"]),
        Result(name="memory of a bundle", goal="< 150 MB", value=peak / 1e6, unit="MB"),
    ]  # fmt: skip


def _small(workshop: Workshop, small: Path, count: int) -> list[Result]:
    taken = _turns(
        {
            "gzip": lambda: _ours(workshop, small, "gzip"),
            "tar": lambda: _tar(workshop, small),
        },
        runs=workshop.runs,
    )
    name = f"bundle of {count:,} small files vs `tar czf`"
    peak = _ours(workshop, small, "gzip", watch=True).together
    memory = f"memory of all processes of a bundle of {count:,} small files"
    return [
        _seconds(name, taken, "gzip", goal="≥ 1 x"),
        _cpu(f"{name}, seconds of all processors", taken, "gzip"),
        Result(name=memory, goal="< 150 MB", value=peak / 1e6, unit="MB"),
    ]


def _turns(contenders: Mapping[str, Callable[[], Child]], *, runs: int) -> dict[str, list[Child]]:
    """Let the contenders take turns; return what each run took."""
    taken: dict[str, list[Child]] = {name: [] for name in contenders}

    def noted(name: str) -> float:
        child = contenders[name]()
        taken[name].append(child)
        return child.seconds

    alternating({name: partial(noted, name) for name in contenders}, runs=runs)
    return taken


def _seconds(name: str, taken: Mapping[str, list[Child]], ours: str, *, goal: str = "") -> Result:
    one, other = (median(child.seconds for child in taken[who]) for who in (ours, "tar"))
    return faster(name, ours=one, theirs=other, runs=len(taken[ours]), goal=goal)


def _cpu(name: str, taken: Mapping[str, list[Child]], ours: str) -> Result:
    one, other = (median(child.cpu_seconds for child in taken[who]) for who in (ours, "tar"))
    return faster(name, ours=one, theirs=other, runs=len(taken[ours]))


def _ours(workshop: Workshop, tree: Path, compress: str, *, watch: bool = False) -> Child:
    """Make a bundle as an operator does: our program, start and all."""
    target = _output(workshop, compress)
    target.unlink(missing_ok=True)
    return run_child(
        [Path(sys.executable).with_name("alexandria"), "backup", "--output", target,
         "--compress", compress],
        environ={
            "HOME": str(workshop.folder),
            "ALEXANDRIA_STATE_DIR": str(workshop.folder / "bundle-state"),
            "ALEXANDRIA_BUNDLE__SETS": json.dumps({"all": [str(tree)]}),
            "ALEXANDRIA_BUNDLE__STAGING_DIR": str(workshop.folder),
        },
        watch=watch,
    )  # fmt: skip


def _tar(workshop: Workshop, tree: Path) -> Child:
    target = _output(workshop, "tar")
    return run_child(["tar", "czf", target, "-C", tree.parent, tree.name], environ={})


def _output(workshop: Workshop, name: str) -> Path:
    return workshop.folder / f"bundle-{name}"


def _seed(node: Path, *, megabytes: int) -> None:
    """Write 60 % vectors, 20 % documents, 10 % database, and programs."""
    shutil.rmtree(node, ignore_errors=True)
    chance = random.Random(20_261_125)
    words = ["".join(chance.choices(_LETTERS, k=chance.randint(2, 10))) for _ in range(8_000)]
    for name in ("stores", "knowledge"):
        (node / name).mkdir(parents=True)
    _write_vectors(node / "stores", chance, megabytes * 6 // 10)
    for number in range(megabytes * 2):
        document = {"id": f"{chance.getrandbits(128):032x}", "text": _text(chance, words, 100_000)}
        path = node / "knowledge" / f"{number:05}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
    with closing(sqlite3.connect(node / "stores" / "texts.db")) as connection:
        connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT)")
        rows = ((_text(chance, words, 2_000),) for _ in range(megabytes * 50))
        connection.executemany("INSERT INTO texts (text) VALUES (?)", rows)
        connection.commit()
    left_out = shutil.ignore_patterns("__pycache__", "site-packages", "*.so", "*.a", "test")
    shutil.copytree(sysconfig.get_path("stdlib"), node / "tools", ignore=left_out)


def _write_vectors(folder: Path, chance: random.Random, megabytes: int) -> None:
    """Write indexes of embeddings: normally distributed, as the models make them."""
    for number in range(max(1, megabytes // 16)):
        values = array("f", (chance.gauss(0, 0.04) for _ in range(4_000_000)))
        (folder / f"part{number:03}.faiss").write_bytes(values.tobytes())


def _text(chance: random.Random, words: Sequence[str], size: int) -> str:
    """Return prose of about `size` bytes, in which a few words are frequent."""
    picked = (words[int(chance.paretovariate(0.9)) % len(words)] for _ in range(size // 7))
    return " ".join(picked)


def _seed_small(folder: Path, *, folders: int) -> int:
    """Write many small files, as a cache of documents has them; return how many."""
    shutil.rmtree(folder, ignore_errors=True)
    chance = random.Random(7)
    words = ["".join(chance.choices(_LETTERS, k=chance.randint(2, 9))) for _ in range(3_000)]
    for number in range(folders):
        place = folder / f"{number:03}"
        place.mkdir(parents=True)
        for file in range(_SMALL_PER_FOLDER):
            text = " ".join(chance.choices(words, k=chance.randint(10, 80)))
            document = f'{{"id": {chance.getrandbits(40)}, "text": "{text}"}}\n'
            (place / f"doc-{file}.json").write_text(document, encoding="utf-8")
    return folders * _SMALL_PER_FOLDER
