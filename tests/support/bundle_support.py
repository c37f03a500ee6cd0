"""Bundles for tests: real ones, and forged ones that say or hold what they must not."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from alexandria_backup.bundle.entry import Entry, Kind
from alexandria_backup.bundle.exclusions import Exclusions
from alexandria_backup.bundle.extract import Extractor
from alexandria_backup.bundle.headers import ZERO_BLOCK, headers, manifest_header, padding
from alexandria_backup.bundle.manifest import Head, SetContents, Tail
from alexandria_backup.bundle.manifest_writing import ManifestWriter
from alexandria_backup.bundle.pack import Pack, PackOptions
from alexandria_backup.bundle.reader import BundleRead, read_bundle
from alexandria_backup.bundle.readers import Readers
from alexandria_backup.bundle.selection import select
from alexandria_backup.bundle.source import BundleSource, file_source
from alexandria_backup.events import discard
from alexandria_backup.sealing.blocks import BlockWriter, Compression
from alexandria_backup.sealing.signing import SigningKey

CREATED = datetime(2026, 11, 23, 12, tzinfo=UTC)


def head(sets: Mapping[str, SetContents], **changes: Any) -> Head:
    values = {
        "bundle": "backup-20261123T120000Z-k3x9", "created": CREATED, "host": "node-1",
        "application": "alexandria-ee", "tool": "0.1.0", "redacted": False, "sets": dict(sets),
    }  # fmt: skip
    return Head(**{**values, **changes})


def options(**changes: Any) -> PackOptions:
    values = {
        "exclusions": Exclusions(patterns={}), "settle": ("*.faiss",), "staging": None,
        "compression": Compression.GZIP, "threads": 2, "key": None, "emit": discard,
    }  # fmt: skip
    values |= changes
    values.setdefault("readers", Readers(values["exclusions"], values["threads"]))
    return PackOptions(**values)


def pack(sets: Mapping[str, Sequence[str | Path]], **changes: Any) -> tuple[bytes, Tail]:
    """Return the bytes of a bundle, and what its manifest says at its end."""
    selected = select({name: [str(p) for p in paths] for name, paths in sets.items()}, ())
    packing = Pack(head({s.name: s.contents for s in selected}), selected, options(**changes))
    return b"".join(packing.chunks()), packing.tail


def stored(path: Path, data: bytes) -> BundleSource:
    path.write_bytes(data)
    return file_source(path, lambda: ())


def streamed(data: bytes, size: int = 1000) -> BundleSource:
    """Return a bundle that comes in small pieces and cannot be looked at from its end."""
    return BundleSource(
        shown="-",
        open=lambda: (data[at : at + size] for at in range(0, len(data), size)),
        identities=lambda: (),
    )


def read(data: bytes) -> BundleRead:
    return read_bundle(streamed(data, 1 << 16))


def extract(data: bytes, roots: Mapping[str, Path]) -> Extractor:
    """Extract roots of a bundle, each to a path of its own."""
    source = streamed(data, 1 << 16)
    manifest = read_bundle(source).manifest
    chosen = {root.encode(): where for root, where in roots.items()}
    wanted = (
        entry
        for entry in manifest.entries()
        if any(entry.path == root or entry.path.startswith(root + b"/") for root in chosen)
    )
    with Extractor(chosen, wanted) as extractor:
        read_bundle(source, extractor.take)
        extractor.finish()
    return extractor


# ── forged bundles ───────────────────────────────────────────────────────────────────────────────


def a_file(path: str = "config/etc/app/one.yaml", content: bytes = b"a: 1\n", **more: Any) -> Entry:
    return Entry(
        path=path.encode(), kind=Kind.FILE, mode=0o640, uid=0, gid=0, user="root", group="root",
        mtime=1_700_000_000, size=len(content), sha256=sha256(content).hexdigest(), **more,
    )  # fmt: skip


def another(kind: Kind, path: str, **more: Any) -> Entry:
    return Entry(
        path=path.encode(), kind=kind, mode=0o755, uid=0, gid=0, user="root", group="root",
        mtime=1_700_000_000, **more,
    )  # fmt: skip


A_FOLDER = another(Kind.FOLDER, "config/etc/app")


@dataclass(kw_only=True)
class Forgery:
    """A bundle that is sound until something of it is changed; `made()` makes it."""

    members: list[tuple[Entry, bytes]]
    root: str = "/etc/app"
    #: Changes the raw blocks of the members.
    blocks: Callable[[list[bytes]], list[bytes]] = list
    #: Changes the manifest as a document of lines; its seal is made anew afterwards.
    lines: Callable[[list[str]], list[str]] = list
    #: Changes the document with its seal.
    document: Callable[[bytes], bytes] = bytes
    #: What stands behind the manifest.
    end: bytes = 2 * ZERO_BLOCK
    #: Added to where the trailer says that the manifest begins.
    anchor: int = 0
    compression: Compression = Compression.GZIP
    key: SigningKey | None = None
    told: list[Entry] | None = None

    def made(self) -> bytes:
        blocks = [
            headers(entry) + content + padding(len(content)) for entry, content in self.members
        ]
        raw = b"".join(self.blocks(blocks))
        document = self._document(len(raw))
        header = manifest_header(len(document), int(CREATED.timestamp()))
        return packed(
            raw,
            header + document + padding(len(document)) + self.end,
            anchor=self.anchor,
            compression=self.compression,
        )

    def _document(self, raw_bytes: int) -> bytes:
        contents = SetContents(paths=(self.root,), roots=(self.root,))
        writer = ManifestWriter(head({"config": contents}))
        told = self.told if self.told is not None else [entry for entry, _ in self.members]
        for entry in told:
            writer.add(entry)
        tail = Tail(
            entries=len(told),
            bytes=sum(entry.size for entry in told),
            raw_bytes=raw_bytes,
            excluded=(),
        )
        whole = b"".join(writer.finish(tail, self.key).chunks())
        lines = whole.decode().split("\n")[:-1]
        changed = self.lines(lines[:-1])
        if changed != lines[:-1]:
            whole = sealed(changed)
        return self.document(whole)


def sealed(lines: Sequence[str]) -> bytes:
    """Return a document of these lines with a seal that fits."""
    text = "".join(f"{line}\n" for line in lines).encode()
    return text + f'"seal": {{"sha256": "{sha256(text).hexdigest()}", "note": null}}}}\n'.encode()


def packed(
    members: bytes,
    manifest: bytes,
    *,
    anchor: int = 0,
    compression: Compression = Compression.GZIP,
) -> bytes:
    writer = BlockWriter(compression, 1)
    try:
        done = b"".join([*writer.write(members), *writer.cut()])
        offset = writer.packed
        done += b"".join([*writer.write(manifest), *writer.cut()])
        return done + writer.trailer(max(0, offset + anchor))
    finally:
        writer.close()


def sound(**changes: Any) -> Forgery:
    """Return a folder with two files, and nothing wrong yet."""
    two = a_file("config/etc/app/two.yaml", b"b: 2\n")
    members = [(A_FOLDER, b""), (a_file(), b"a: 1\n"), (two, b"b: 2\n")]
    return replace(Forgery(members=members), **changes)


def edited(field: str, value: Any, line: int = 3) -> Callable[[list[str]], list[str]]:
    """Return a change of one field of an entry; by default of the first file."""

    def change(lines: list[str]) -> list[str]:
        comma = lines[line].endswith(",")
        entry = json.loads(lines[line].removesuffix(","))
        entry[field] = value
        lines[line] = json.dumps(entry) + "," * comma
        return lines

    return change


def tree(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Return all that a restore must bring back, by path."""
    return dict(_tree(folder))


def _tree(folder: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for path in sorted([folder, *folder.rglob("*")], key=os.fsencode):
        status = path.lstat()
        content: Any = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = sha256(path.read_bytes()).hexdigest()
        attributes = () if path.is_symlink() else tuple(sorted(os.listxattr(path)))
        yield (
            os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace"),
            (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content, attributes),
        )
