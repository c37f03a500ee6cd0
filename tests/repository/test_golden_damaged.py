"""One golden repository, damaged in every way that anybody could think of.

Each case is refused with a message of its own, by whoever checks the repository and by whoever
reads the snapshot; nothing is ever read as something else, and no case keeps the rest from being
read.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from golden_repository import IDENTITY, KEYS, NEW, OLD, RUN, SHARED, UNFINISHED, load
from repository_support import KEY, STRANGER, put

from alexandria_backup.errors import AlexandriaError, RepositoryInvalid
from alexandria_backup.events import discard
from alexandria_backup.repository import layout
from alexandria_backup.repository.checking import check
from alexandria_backup.repository.findings import CheckReport, Severity
from alexandria_backup.repository.layout import Kind, manifest_name, object_name, parse
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.opened import Repository, open_repository
from alexandria_backup.repository.trust import Pins, pinned
from alexandria_backup.repository.writing import writing
from alexandria_backup.sealing.encryption import Identity, seal, unseal
from alexandria_backup.sealing.signing import SigningKey, sign_note

NOW = datetime(2026, 11, 25, 14, tzinfo=UTC)
OTHER = "f" * 32


class Golden:
    """The golden repository, in a state to be damaged."""

    def __init__(self, folder: Path) -> None:
        self.store = load()
        self._pins = Pins(folder)
        self.id = json.loads(self._text("repository.json"))["id"]
        self.first, self.second = sorted(parse(name).key for name in self.names(Kind.MANIFEST))
        self.ledger = self.names(Kind.LEDGER_ENTRY)
        pin = pinned(
            self.store.url,
            self.id,
            KEYS.recipients,
            KEYS.trusted,
            (parse(self.ledger[-1]).key,),
        )
        self._pins.write(pin)

    def names(self, kind: Kind) -> list[str]:
        return sorted(i.name for i in self.store.list() if parse(i.name).kind is kind)

    def objects_of(self, snapshot: str) -> list[str]:
        parts = json.loads(self._text(manifest_name(snapshot)))["archive"]["parts"]
        return [object_name(part["object"]) for part in parts]

    def get(self, name: str) -> bytes:
        return self.store.get(name)

    def set(self, name: str, data: bytes) -> None:
        self.store.delete(name)
        self.store.put(name, data)

    def signed(
        self, name: str, change: Callable[[dict], None], key: SigningKey | None = KEY
    ) -> bytes:
        """Return a document as somebody with this key could have written it."""
        document = json.loads(self._text(name))
        change(document)
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        return (sign_note(text, key) if key else text).encode()

    def enter(self, data: bytes, at: str = "20261125T150000.000000Z") -> None:
        """Put an entry of the ledger under the name that fits its bytes."""
        self.store.put(f"{layout.LEDGER}{at}-{sha256(data).hexdigest()}", data)

    def open(self) -> Repository:
        return open_repository(self.store, KEYS, self._pins)

    def check(self) -> CheckReport:
        return check(self.open(), now=NOW, deep=True, emit=discard)

    def read(self, snapshot: str) -> bytes:
        """Read a snapshot as a restore does."""
        entry = self.open().snapshots.find(snapshot)
        assert entry.manifest is not None
        shelf = ObjectShelf(self.store, None)
        return b"".join(shelf.get(part, (IDENTITY,)) for part in entry.manifest.archive.parts)

    def _text(self, name: str) -> str:
        return self.store.get(name).decode().partition("\n\n")[0]


@pytest.fixture
def golden(tmp_path: Path) -> Golden:
    return Golden(tmp_path)


def test_the_golden_repository_itself_is_whole(golden: Golden) -> None:
    report = golden.check()
    assert {finding.code for finding in report.findings} <= {"unfinished", "partial-old"}
    assert report.of(Severity.ERROR) == ()
    assert (report.snapshots, report.objects, report.ledger_entries) == (2, 4, 3)
    assert golden.read(golden.first) == OLD + SHARED
    assert golden.read(golden.second) == SHARED + NEW
    statuses = [entry.status for entry in golden.open().snapshots.all()]
    assert statuses == ["read back", "read back"]


def test_every_other_version_must_read_it_and_go_on_with_it(golden: Golden) -> None:
    repository = golden.open()
    with writing(repository, RUN.replace("k3x9", "k3x8")) as work:
        assert len(work.known) == 1
        before = golden.names(Kind.OBJECT)
        put(work, [UNFINISHED], repository)
        assert golden.names(Kind.OBJECT) == before


# -- the cases ---------------------------------------------------------------------------------

Damage = Callable[[Golden], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to damage it, and what must be said of it."""

    name: str
    damage: Damage
    #: Code of the finding, and words of its message.
    code: str
    words: str
    #: What whoever reads the first snapshot is told; None where it can be read all the same.
    reading: str | None = None


CASES: list[Case] = []


def case(code: str, words: str, reading: str | None = None) -> Callable[[Damage], Damage]:
    def add(damage: Damage) -> Damage:
        name = damage.__name__.removeprefix("_").replace("_", "-")
        CASES.append(Case(name=name, damage=damage, code=code, words=words, reading=reading))
        return damage

    return add


def _flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# .. objects ...................................................................................

_NOT_ITS_NAME = "SHA-256 is not its name"
_WAS_ALTERED = "was altered: its SHA-256 is not its name"


@case("object-missing", "is missing", "is missing")
def _object_removed(golden: Golden) -> None:
    golden.store.delete(golden.objects_of(golden.first)[0])


@case("object-damaged", "has 0 bytes, and", "has 0 bytes, and")
def _object_emptied(golden: Golden) -> None:
    golden.set(golden.objects_of(golden.first)[0], b"")


@case("object-damaged", r"has \d+ bytes, and \d+ were stored", r"has \d+ bytes, and \d+ were")
def _object_cut_by_one(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[0]
    golden.set(name, golden.get(name)[:-1])


@case("object-damaged", r"has \d+ bytes, and \d+ were stored", "more than the")
def _object_grown_by_one(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[0]
    golden.set(name, golden.get(name) + b"\0")


@case("object-damaged", _NOT_ITS_NAME, _WAS_ALTERED)
def _object_flipped_at_its_start(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[0]
    golden.set(name, _flip(golden.get(name), 0))


@case("object-damaged", _NOT_ITS_NAME, _WAS_ALTERED)
def _object_flipped_in_its_middle(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[1]
    golden.set(name, _flip(golden.get(name), len(golden.get(name)) // 2))


@case("object-damaged", _NOT_ITS_NAME, _WAS_ALTERED)
def _object_flipped_at_its_end(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[0]
    golden.set(name, _flip(golden.get(name), -1))


@case("object-damaged", _NOT_ITS_NAME, r"objects/.*bytes")
def _object_swapped_with_another_valid_one(golden: Golden) -> None:
    golden.set(golden.objects_of(golden.first)[0], golden.get(golden.objects_of(golden.second)[1]))


@case("object-damaged", _NOT_ITS_NAME, r"objects/.*bytes")
def _object_sealed_to_a_stranger(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[0]
    raw = unseal(golden.get(name), (IDENTITY,))
    golden.set(name, seal(raw, (Identity.generate().recipient,)))


@case("object-damaged", _NOT_ITS_NAME, r"objects/.*bytes")
def _object_unsealed(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[0]
    golden.set(name, unseal(golden.get(name), (IDENTITY,)))


@case("object-damaged", _NOT_ITS_NAME)
def _object_duplicated_under_another_name(golden: Golden) -> None:
    golden.store.put(object_name("ab" * 32), golden.get(golden.objects_of(golden.first)[0]))


@case("foreign", "nothing that this program puts there")
def _object_duplicated_in_another_folder(golden: Golden) -> None:
    name = golden.objects_of(golden.first)[0]
    golden.store.put(name.replace("objects/", "objects/zz/"), golden.get(name))


@case("orphaned", "1 objects that nothing needs")
def _object_that_nothing_names(golden: Golden) -> None:
    golden.store.put(object_name(sha256(b"x").hexdigest()), b"x")


# .. manifests .................................................................................


def _change_first(golden: Golden, **changes: object) -> None:
    """Let somebody with our own key have written another manifest."""
    name = manifest_name(golden.first)
    golden.set(name, golden.signed(name, lambda document: document.update(changes)))


def _change_part(golden: Golden, **changes: object) -> None:
    name = manifest_name(golden.first)

    def change(document: dict) -> None:
        document["archive"]["parts"][0].update(changes)

    golden.set(name, golden.signed(name, change))


UNREADABLE = "manifest-unreadable"


@case("snapshot-gone", "somebody else did", "somebody else did")
def _manifest_removed(golden: Golden) -> None:
    golden.store.delete(manifest_name(golden.first))


@case(UNREADABLE, "no signature lines", "no signature lines")
def _manifest_emptied(golden: Golden) -> None:
    golden.set(manifest_name(golden.first), b"")


@case(UNREADABLE, "is not a signed note", "is not a signed note")
def _manifest_cut_in_its_text(golden: Golden) -> None:
    name = manifest_name(golden.first)
    golden.set(name, golden.get(name)[:900])


@case(UNREADABLE, "not a signed note", "not a signed note")
def _manifest_cut_in_its_signature(golden: Golden) -> None:
    name = manifest_name(golden.first)
    golden.set(name, golden.get(name)[:-9])


@case(UNREADABLE, "does not fit the text: the document was altered", "was altered")
def _manifest_flipped_in_its_text(golden: Golden) -> None:
    name = manifest_name(golden.first)
    golden.set(name, golden.get(name).replace(b'"rows": 3', b'"rows": 2'))


@case(UNREADABLE, "the signature of `ours.example` does not fit", "does not fit")
def _manifest_flipped_in_its_signature(golden: Golden) -> None:
    name = manifest_name(golden.first)
    data = golden.get(name)
    other = b"A" if data[-20:-19] != b"A" else b"B"
    golden.set(name, data[:-20] + other + data[-19:])


@case(UNREADABLE, "is not UTF-8 text", "is not UTF-8 text")
def _manifest_of_other_bytes(golden: Golden) -> None:
    golden.set(manifest_name(golden.first), b"\xff\xfe\x00")


@case(UNREADABLE, "not a signed note", "not a signed note")
def _manifest_unsigned(golden: Golden) -> None:
    name = manifest_name(golden.first)
    golden.set(name, golden.signed(name, lambda _: None, key=None))


@case(UNREADABLE, "no trusted key has signed .* `stranger.example", "no trusted key")
def _manifest_signed_by_a_stranger(golden: Golden) -> None:
    name = manifest_name(golden.first)
    golden.set(name, golden.signed(name, lambda _: None, key=STRANGER))


@case(UNREADABLE, "no trusted key has signed .* `ours.example", "no trusted key")
def _manifest_signed_by_a_stranger_in_our_name(golden: Golden) -> None:
    name = manifest_name(golden.first)
    key = SigningKey.from_seed(KEY.name, bytes([2]) * 32)
    golden.set(name, golden.signed(name, lambda _: None, key=key))


@case(UNREADABLE, f"belongs to repository `{OTHER}`", "belongs to repository")
def _manifest_of_another_repository(golden: Golden) -> None:
    _change_first(golden, repository=OTHER)


@case(UNREADABLE, "the one of snapshot", "the one of snapshot")
def _manifest_swapped_with_another_valid_one(golden: Golden) -> None:
    golden.set(manifest_name(golden.first), golden.get(manifest_name(golden.second)))


@case(UNREADABLE, "the one of snapshot")
def _manifest_duplicated_under_another_id(golden: Golden) -> None:
    name = manifest_name(golden.first)
    golden.store.put(name[: -len("aaaa.manifest")] + "zzzz.manifest", golden.get(name))


@case("foreign", "nothing that this program puts there")
def _manifest_duplicated_under_no_id(golden: Golden) -> None:
    golden.store.put("snapshots/copy.manifest", golden.get(manifest_name(golden.first)))


@case(UNREADABLE, "has format 0, and this program reads", "has format 0")
def _manifest_of_an_older_format(golden: Golden) -> None:
    _change_first(golden, format=0)


@case(UNREADABLE, "has format 2, and this program reads", "has format 2")
def _manifest_of_a_newer_format(golden: Golden) -> None:
    _change_first(golden, format=2)


@case(UNREADABLE, "names no version of its format", "names no version")
def _manifest_of_a_format_that_is_no_number(golden: Golden) -> None:
    _change_first(golden, format=True)


@case(UNREADABLE, "its role is not `manifest`", "its role is not")
def _manifest_in_another_role(golden: Golden) -> None:
    _change_first(golden, role="result")


@case(UNREADABLE, "its role is not `manifest`", "its role is not")
def _ledger_entry_in_the_place_of_a_manifest(golden: Golden) -> None:
    golden.set(manifest_name(golden.first), golden.get(golden.ledger[0]))


@case(UNREADABLE, "malformed: surprise", "malformed: surprise")
def _manifest_that_says_more(golden: Golden) -> None:
    _change_first(golden, surprise=1)


@case(UNREADABLE, "malformed: tables", "malformed: tables")
def _manifest_that_says_less(golden: Golden) -> None:
    name = manifest_name(golden.first)
    golden.set(name, golden.signed(name, lambda document: document.pop("tables")))


@case(UNREADABLE, "not JSON", "not JSON")
def _manifest_that_says_something_twice(golden: Golden) -> None:
    name = manifest_name(golden.first)
    text = golden.signed(name, lambda _: None, key=None).decode()
    doubled = text.replace('"format": 1', '"format": 1,\n "format": 1')
    golden.set(name, sign_note(doubled, KEY).encode())


@case(UNREADABLE, "malformed: archive.parts.0.object", "malformed: archive.parts.0.object")
def _manifest_that_names_a_path_outside(golden: Golden) -> None:
    _change_part(golden, object="../../../etc/passwd")


@case(UNREADABLE, "malformed: archive.parts.0.object", "malformed: archive.parts.0.object")
def _manifest_that_names_an_absolute_path(golden: Golden) -> None:
    _change_part(golden, object="/" + "a" * 63)


@case(UNREADABLE, "malformed: snapshot", "malformed: snapshot")
def _manifest_whose_id_is_a_path(golden: Golden) -> None:
    _change_first(golden, snapshot="../snapshots")


@case("object-missing", "is missing", "is missing")
def _manifest_that_names_an_object_that_never_was(golden: Golden) -> None:
    _change_part(golden, object="ab" * 32)


@case(UNREADABLE, "malformed: archive", "malformed: archive")
def _manifest_whose_sizes_do_not_add_up(golden: Golden) -> None:
    _change_part(golden, raw_bytes=1)


@case(UNREADABLE, "malformed: archive.parts.0.raw_bytes", "raw_bytes")
def _manifest_of_an_object_too_large(golden: Golden) -> None:
    _change_part(golden, raw_bytes=1 << 40)


# .. the ledger ................................................................................

LEDGER = "ledger-damaged"


@case(LEDGER, "is missing; .* was written after it")
def _entry_removed_from_the_middle(golden: Golden) -> None:
    golden.store.delete(golden.ledger[1])


@case("ledger-cut", "which this machine has seen, is not there")
def _newest_entry_removed(golden: Golden) -> None:
    golden.store.delete(golden.ledger[-1])


@case(LEDGER, _NOT_ITS_NAME)
def _entry_emptied(golden: Golden) -> None:
    golden.set(golden.ledger[1], b"")


@case(LEDGER, _NOT_ITS_NAME)
def _entry_flipped(golden: Golden) -> None:
    golden.set(golden.ledger[0], _flip(golden.get(golden.ledger[0]), 30))


@case(LEDGER, _NOT_ITS_NAME)
def _entry_swapped_with_another_valid_one(golden: Golden) -> None:
    golden.set(golden.ledger[1], golden.get(golden.ledger[2]))


@case(LEDGER, "was moved: its name has another time")
def _entry_duplicated_under_another_time(golden: Golden) -> None:
    golden.enter(golden.get(golden.ledger[1]))


@case("foreign", "nothing that this program puts there")
def _entry_duplicated_under_no_digest(golden: Golden) -> None:
    golden.store.put(golden.ledger[1][:-1], golden.get(golden.ledger[1]))


def _entry(golden: Golden, key: SigningKey | None = KEY, **changes: object) -> None:
    at = {"at": "2026-11-25T15:00:00Z", "heads": [parse(golden.ledger[-1]).key]}
    golden.enter(golden.signed(golden.ledger[-1], lambda d: d.update({**at, **changes}), key=key))


@case(LEDGER, "not a signed note")
def _entry_unsigned(golden: Golden) -> None:
    _entry(golden, key=None)


@case(LEDGER, "no trusted key has signed .* `stranger.example")
def _entry_signed_by_a_stranger(golden: Golden) -> None:
    _entry(golden, key=STRANGER)


@case(LEDGER, f"the ledger entry belongs to repository `{OTHER}`")
def _entry_of_another_repository(golden: Golden) -> None:
    _entry(golden, repository=OTHER)


@case(LEDGER, "the ledger entry has format 0")
def _entry_of_an_older_format(golden: Golden) -> None:
    _entry(golden, format=0)


@case(LEDGER, "the ledger entry has format 2")
def _entry_of_a_newer_format(golden: Golden) -> None:
    _entry(golden, format=2)


@case(LEDGER, "its role is not `ledger entry`")
def _entry_in_another_role(golden: Golden) -> None:
    _entry(golden, role="result")


@case(LEDGER, "its role is not `ledger entry`")
def _manifest_in_the_place_of_an_entry(golden: Golden) -> None:
    golden.enter(golden.get(manifest_name(golden.first)))


@case(LEDGER, "malformed: snapshots.0")
def _entry_about_a_path(golden: Golden) -> None:
    _entry(golden, snapshots=["../../etc"])


@case(LEDGER, "malformed: action")
def _entry_about_an_unknown_action(golden: Golden) -> None:
    _entry(golden, action="shred")


@case(LEDGER, "the ledger begins 2 times")
def _second_beginning(golden: Golden) -> None:
    _entry(golden, heads=[])


@case(LEDGER, "the entry `abababababab…` is missing")
def _entry_after_one_that_never_was(golden: Golden) -> None:
    _entry(golden, heads=["ab" * 32])


@case("snapshot-back", "the ledger says: removed by prune")
def _entry_that_removes_what_is_there(golden: Golden) -> None:
    _entry(golden, action="prune", reason="retention")


@case("snapshot-gone", "neither a prune nor a delete has removed it")
def _entry_of_a_snapshot_that_never_was(golden: Golden) -> None:
    _entry(golden, snapshots=["shop-20261125T120000Z-zzzz"])


# .. results, partials, tombstones, leases .....................................................


def _rewrite(golden: Golden, kind: Kind, key: SigningKey | None = KEY, **changes: object) -> None:
    name = golden.names(kind)[0]
    golden.set(name, golden.signed(name, lambda d: d.update(changes), key=key))


@case("unreadable", "the document was altered")
def _result_flipped(golden: Golden) -> None:
    name = golden.names(Kind.RESULT)[0]
    golden.set(name, golden.get(name).replace(b'"good": true', b'"good": false'))


@case("unreadable", "no trusted key has signed")
def _result_signed_by_a_stranger(golden: Golden) -> None:
    _rewrite(golden, Kind.RESULT, STRANGER)


@case("unreadable", "the result belongs to repository")
def _result_of_another_repository(golden: Golden) -> None:
    _rewrite(golden, Kind.RESULT, repository=OTHER)


@case("unreadable", "the result is one of snapshot")
def _result_of_another_snapshot(golden: Golden) -> None:
    first, *_, last = golden.names(Kind.RESULT)
    golden.set(first, golden.get(last))


@case("unreadable", "the result has format 2")
def _result_of_a_newer_format(golden: Golden) -> None:
    _rewrite(golden, Kind.RESULT, format=2)


@case("found-bad", "drilled on .*: was altered")
def _result_that_is_bad(golden: Golden) -> None:
    _rewrite(golden, Kind.RESULT, good=False, problem="was altered", examination="drilled")


@case("unreadable", "not a signed note|not JSON")
def _partial_cut(golden: Golden) -> None:
    name = golden.names(Kind.PARTIAL)[0]
    golden.set(name, golden.get(name)[:99])


@case("unreadable", "no trusted key has signed")
def _partial_signed_by_a_stranger(golden: Golden) -> None:
    _rewrite(golden, Kind.PARTIAL, STRANGER)


@case("unreadable", "the partial belongs to repository")
def _partial_of_another_repository(golden: Golden) -> None:
    _rewrite(golden, Kind.PARTIAL, repository=OTHER)


@case("unreadable", "the partial is one of run")
def _partial_of_another_run(golden: Golden) -> None:
    name = golden.names(Kind.PARTIAL)[0]
    golden.store.put(name.replace("k3x9", "k3x8"), golden.get(name))


def _tombstone(golden: Golden, key: SigningKey | None = KEY, **changes: object) -> None:
    run = "prune-20261125T120000Z-k3x9"
    fields = {"role": "tombstone", "format": 1, "repository": golden.id, "run": run,
              "at": "2026-11-25T12:00:00Z", "snapshots": [], "objects": [], "bytes": 0}  # fmt: skip
    text = json.dumps({**fields, **changes}) + "\n"
    data = sign_note(text, key) if key else text
    golden.store.put(layout.tombstone_name(run), data.encode())


@case("prune-begun", "has not ended")
def _tombstone_that_stands(golden: Golden) -> None:
    _tombstone(golden)


@case("unreadable", "tombstones/.*no trusted key has signed")
def _tombstone_signed_by_a_stranger(golden: Golden) -> None:
    _tombstone(golden, STRANGER)


@case("unreadable", "the tombstone belongs to repository")
def _tombstone_of_another_repository(golden: Golden) -> None:
    _tombstone(golden, repository=OTHER)


@case("unreadable", "the tombstone is the one of run")
def _tombstone_of_another_run(golden: Golden) -> None:
    _tombstone(golden, run="prune-20261125T120000Z-k3x8")


@case("unreadable", "tombstone is malformed: objects.0")
def _tombstone_that_names_a_path(golden: Golden) -> None:
    _tombstone(golden, objects=["../../etc/passwd"])


@case("foreign", "nothing that this program puts there")
def _file_of_somebody_else(golden: Golden) -> None:
    golden.store.put("holiday/beach.jpg", b"")


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_a_check_names_it(golden: Golden, case: Case) -> None:
    case.damage(golden)
    report = golden.check()
    said = [f.message for f in report.findings if f.code == case.code]
    assert any(re.search(case.words, message) for message in said), report.findings


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_a_reader_is_told_or_reads_the_right_bytes(golden: Golden, case: Case) -> None:
    case.damage(golden)
    if case.reading is None:
        assert golden.read(golden.first) == OLD + SHARED
    else:
        with pytest.raises(AlexandriaError, match=case.reading) as caught:
            golden.read(golden.first)
        assert caught.value.exit_code in {20, 21}


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_the_rest_is_still_read(golden: Golden, case: Case) -> None:
    """What is wrong with one thing must not make another unreadable."""
    case.damage(golden)
    if "in_its_middle" not in case.damage.__name__:
        assert golden.read(golden.second) == SHARED + NEW
    assert len(golden.check().findings) > 0


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60
    assert len({one.name for one in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "it is not JSON, or is cut off"),
        (b"{", "it is not JSON, or is cut off"),
        (b"[]", "its role is not `repository`"),
        (b'{"role": "manifest"}', "its role is not `repository`"),
        (b'{"role": "repository", "format": 2}', "has format 2"),
        (b'{"role": "repository", "format": 0}', "has format 0"),
        (b'{"role": "repository", "format": 1}', "malformed: id"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * (1 << 21), "too many to be one"),
    ],
)
def test_a_description_that_is_none(golden: Golden, text: bytes, words: str) -> None:
    golden.set(layout.DESCRIPTION, text)
    with pytest.raises(RepositoryInvalid, match=words) as caught:
        golden.open()
    assert "put back a copy" in (caught.value.hint or "") or "version" in (caught.value.hint or "")


def test_a_description_that_is_missing(golden: Golden) -> None:
    golden.store.delete(layout.DESCRIPTION)
    with pytest.raises(RepositoryInvalid, match="there is no repository"):
        golden.open()


def test_the_description_of_another_repository(golden: Golden) -> None:
    golden.set(
        layout.DESCRIPTION,
        golden.signed(layout.DESCRIPTION, lambda document: document.update(id=OTHER)),
    )
    with pytest.raises(RepositoryInvalid, match="this machine knows") as caught:
        golden.open()
    assert golden.id in str(caught.value)
