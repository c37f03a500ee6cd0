"""`MANIFEST.json`: what a bundle holds, where from, what was left out, and one digest over it all.

One JSON document with one entry on a line, so that it can be read and compared as a stream:

    {"head": {…},
    "entries": [
    {"path": "config/etc/alexandria/app.yaml", "type": "file", …, "sha256": "…"},
    …
    ],
    "tail": {…},
    "seal": {"sha256": "…", "note": "…"}}

`head` was known before anything was read, `tail` afterwards. `seal` has the SHA-256 of all that
stands before its line, and a signed note (C2SP) over it where there is a key.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from alexandria_backup.bundle.entry import Entry, sort_key
from alexandria_backup.bundle.entry_parsing import parse
from alexandria_backup.bundle.spool import LineSpool, split_lines
from alexandria_backup.errors import BundleDamaged, WrongKey
from alexandria_backup.sealing.signing import TrustedKey, open_note

FORMAT: Final = "alexandria-bundle/1"
#: A set's name is the first part of its members' paths.
SET_NAME: Final = r"^[a-z][a-z0-9-]{0,31}$"

HEAD_LINE: Final = b'{"head": '
ENTRIES_LINE: Final = b'"entries": ['
END_LINE: Final = b"],"
TAIL_LINE: Final = b'"tail": '
_SEAL: Final = re.compile(rb'"seal": \{"sha256": "([0-9a-f]{64})", "note": (null|"[^\n]*")\}\}')

#: What stands in the line of an entry with a problem, and in no other: quotes in names are escaped.
_PROBLEM: Final = b', "problem": "'

Count = Annotated[int, Field(ge=0, strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class SetContents(_Part):
    """What a set was said to hold, and what was there of it."""

    #: As in the settings: paths and patterns.
    paths: tuple[str, ...]
    #: What they led to on the machine, absolute; each is swapped as one thing by a restore.
    roots: tuple[str, ...]
    #: Those that led to nothing.
    missing: tuple[str, ...] = ()


class Head(_Part):
    """Whose bundle it is."""

    format: Literal["alexandria-bundle/1"] = FORMAT
    #: The run that made it.
    bundle: str
    created: AwareDatetime
    host: str
    application: str
    #: Images that its units name, with their tags; the only place where a node tells its version.
    images: tuple[str, ...] = ()
    #: The newest snapshot of the database then; None where there was none, or no repository.
    snapshot: str | None = None
    #: The version of this program.
    tool: str
    #: Whether what is declared secret was left out.
    redacted: bool
    sets: dict[Annotated[str, Field(pattern=SET_NAME)], SetContents]

    @property
    def roots(self) -> Iterator[tuple[str, str]]:
        """Every root, with its set."""
        for name, contents in self.sets.items():
            for root in contents.roots:
                yield name, root


class Excluded(_Part):
    """A path that was left out."""

    path: str
    why: str


class Tail(_Part):
    """What was read."""

    entries: Count
    #: Bytes of all files, without holes.
    bytes: Count
    #: Bytes of the tar before the manifest: nothing that claims more is unpacked.
    raw_bytes: Count
    excluded: tuple[Excluded, ...]
    #: How many more were left out than are listed.
    excluded_more: Count = 0
    #: Names of one folder that some file systems take for one.
    twins: tuple[str, ...] = ()
    #: How many entries have a problem.
    problems: Count = 0


@dataclass(frozen=True, kw_only=True)
class BundleManifest:
    """A manifest; its entries stay packed and are given one by one."""

    head: Head
    tail: Tail
    #: The SHA-256 of everything before the seal.
    sha256: str
    #: The signed note; None where nobody has signed.
    note: str | None
    lines: LineSpool

    def entries(self) -> Iterator[Entry]:
        """Give every entry; BundleDamaged where one is malformed or out of order."""
        before = b""
        for line in self.lines:
            entry = parse(line)
            key = sort_key(entry.path)
            if key <= before:
                raise BundleDamaged(f"the manifest has `{entry.shown}` twice or out of order")
            before = key
            yield entry

    def troubled(self) -> Iterator[Entry]:
        """Give the entries that have a problem, without a look at all the others."""
        return (parse(line) for line in self.lines if _PROBLEM in line)

    def signers(self, trusted: Sequence[TrustedKey]) -> tuple[str, ...]:
        """Return who of `trusted` has signed.

        WrongKey where there are trusted keys and none of them has; ManifestInvalid where a
        signature does not fit.
        """
        if not trusted:
            return ()
        if self.note is None:
            raise WrongKey(
                f"bundle `{self.head.bundle}` is not signed, and `signing.trusted_keys` asks for it"
            )
        note = open_note(self.note, trusted)
        if note.text != note_text(self.head.bundle, self.sha256):
            raise BundleDamaged("the signature was made over another manifest")
        return note.signers


def read_manifest(chunks: Iterable[bytes]) -> BundleManifest:
    """Return the manifest of a document; BundleDamaged where it is not one, or was altered.

    Entries are not looked at yet: see `BundleManifest.entries`.
    """
    lines = _Lines(split_lines(iter(chunks)))
    head = _model(Head, lines.next(), HEAD_LINE)
    if lines.next() != ENTRIES_LINE:
        raise BundleDamaged("the manifest has no entries where they should stand")
    spool = LineSpool()
    while (line := lines.next()) != END_LINE:
        comma = line.endswith(b",")
        spool.add(line[:-1] if comma else line)
        if not comma and lines.next() == END_LINE:
            break
        if not comma:
            raise BundleDamaged("the entries of the manifest are not separated")
    tail = _model(Tail, lines.next(), TAIL_LINE)
    found = lines.hexdigest()
    seal = _SEAL.fullmatch(lines.next())
    if seal is None or not lines.over():
        raise BundleDamaged("the manifest does not end with its seal")
    if seal[1].decode() != found:
        raise BundleDamaged("the manifest was altered: it does not fit its own digest")
    if tail.entries != spool.lines:
        raise BundleDamaged(
            f"the manifest has {spool.lines:,} entries and says that it has {tail.entries:,}"
        )
    return BundleManifest(head=head, tail=tail, sha256=found, note=_note(seal[2]), lines=spool)


class _Lines:
    """The lines of a document, and the digest of those that were taken."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._digest = sha256()

    def next(self) -> bytes:
        line = next(self._lines, None)
        if line is None:
            raise BundleDamaged("the manifest ends too early")
        self._digest.update(line + b"\n")
        return line

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def over(self) -> bool:
        return next(self._lines, None) is None


M = TypeVar("M", Head, Tail)


def _model(kind: type[M], line: bytes, before: bytes) -> M:
    what = kind.__name__.lower()
    if not line.startswith(before) or not line.endswith(b","):
        raise BundleDamaged(f"the manifest has no {what} where it should stand")
    text = line[len(before) : -1]
    if kind is Head and f'"format":"{FORMAT}"'.encode() not in text[:60]:
        raise BundleDamaged(f"the manifest is not of format `{FORMAT}`: another version wrote it")
    try:
        found = kind.model_validate_json(text)
    except ValidationError as exc:
        where = ".".join(str(part) for part in exc.errors()[0]["loc"])
        raise BundleDamaged(f"the {what} of the manifest is malformed at `{where}`") from exc
    if found.model_dump_json().encode() != text:
        raise BundleDamaged(f"the {what} of the manifest is not in canonical form")
    return found


def _note(text: bytes) -> str | None:
    try:
        note = json.loads(text)
    except ValueError as exc:
        raise BundleDamaged("the seal of the manifest is malformed") from exc
    return None if note is None else str(note)


def note_text(bundle: str, digest: str) -> str:
    """Return what is signed: it names its role, so that nothing else can stand in its place."""
    return f"alexandria-backup bundle\n{bundle}\nsha256 {digest}\n"
