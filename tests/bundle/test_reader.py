"""The one reader of bundles: what is sound is read, everything else is refused by its own words."""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_support import (
    A_FOLDER,
    Forgery,
    a_file,
    another,
    edited,
    packed,
    read,
    sealed,
    sound,
    stored,
    streamed,
)

from alexandria_backup.bundle.entry import Entry, Kind
from alexandria_backup.bundle.entry_parsing import parse
from alexandria_backup.bundle.headers import ZERO_BLOCK, headers
from alexandria_backup.bundle.reader import manifest_from_end, read_bundle
from alexandria_backup.errors import BundleDamaged, WrongKey
from alexandria_backup.sealing.blocks import BlockWriter, Compression, marked_offset
from alexandria_backup.sealing.signing import SigningKey


@pytest.mark.parametrize("compression", list(Compression))
def test_a_sound_bundle_is_read_whole_and_from_its_end(
    tmp_path: Path, compression: Compression
) -> None:
    data = sound(compression=compression).made()
    found = read(data)
    assert found.differences == ()
    assert [entry.shown for entry in found.manifest.entries()] == [
        "config/etc/app", "config/etc/app/one.yaml", "config/etc/app/two.yaml",
    ]  # fmt: skip
    from_end = manifest_from_end(stored(tmp_path / "bundle", data))
    assert from_end.sha256 == found.manifest.sha256


def test_the_manifest_is_found_where_the_rest_cannot_be_read(tmp_path: Path) -> None:
    data = bytearray(sound().made())
    data[20:60] = bytes(40)
    source = stored(tmp_path / "bundle", bytes(data))
    assert manifest_from_end(source).tail.entries == 3
    with pytest.raises(BundleDamaged):
        read_bundle(source)


# ── members that no bundle holds ─────────────────────────────────────────────────────────────────


def renamed(path: str) -> Forgery:
    return Forgery(members=[(A_FOLDER, b""), (a_file(path), b"a: 1\n")])


def typed(flag: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Give the first file another type, with a checksum that fits."""

    def change(blocks: list[bytes]) -> list[bytes]:
        blocks[1] = rechecked(blocks[1], 156, flag)
        return blocks

    return change


def rechecked(block: bytes, at: int, value: bytes) -> bytes:
    changed = bytearray(block)
    changed[at : at + len(value)] = value
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


def header(at: int, value: bytes) -> Forgery:
    def change(blocks: list[bytes]) -> list[bytes]:
        blocks[1] = rechecked(blocks[1], at, value)
        return blocks

    return sound(blocks=change)


def with_pax(*records: bytes) -> Forgery:
    """Let a pax header with these records stand before the first file."""
    body = b"".join(records)
    block = headers(replace(a_file("x/PaxHeader", body), mtime=0))
    block = rechecked(block, 156, b"x")
    block = block + body + bytes(-len(body) % 512)

    def change(blocks: list[bytes]) -> list[bytes]:
        return [blocks[0], block, *blocks[1:]]

    return sound(blocks=change)


def swapped(blocks: list[bytes]) -> list[bytes]:
    return [blocks[0], blocks[2], blocks[1]]


LINK = another(Kind.SYMLINK, "config/etc/app/link", link=b"/etc")
BELOW = a_file("config/etc/app/link/passwd")
HARD = another(Kind.HARDLINK, "config/etc/app/x", link=b"config/etc/app/none")
HARD_OUT = another(Kind.HARDLINK, "config/etc/app/x", link=b"tools/etc/app/one.yaml")
HARD_UP = another(Kind.HARDLINK, "config/etc/app/x", link=b"config/../../etc/passwd")
HARD_FOLDER = another(Kind.HARDLINK, "config/etc/app/x", link=b"config/etc/app")
SPARSE = a_file("config/etc/app/one.yaml", b"x" * 512, extents=((0, 512),))

REFUSED = {
    "climbs-out": (renamed("config/../../etc/shadow"), "climbs out"),
    "climbs-out-at-the-end": (renamed("config/etc/app/.."), "climbs out"),
    "is-absolute": (renamed("/etc/shadow"), "is absolute"),
    "has-empty-parts": (renamed("config//etc/app/x"), "climbs out, or has empty parts"),
    "has-a-dot": (renamed("config/etc/app/./x"), "climbs out"),
    "belongs-to-no-set": (renamed("shadow"), "belongs to no set"),
    "has-a-name-too-long": (renamed(f"config/etc/app/{'x' * 256}"), "no file can have this name"),
    "lies-outside-of-the-set": (renamed("config/etc/shadow"), "outside of what its set"),
    "lies-in-no-folder": (renamed("config/etc/app/x/y"), "a folder that is not in the bundle"),
    "lies-below-a-link": (
        Forgery(members=[(A_FOLDER, b""), (LINK, b""), (BELOW, b"a: 1\n")]),
        "lies below the symlink",
    ),
    "comes-twice": (
        Forgery(members=[(A_FOLDER, b""), (a_file(), b"a: 1\n"), (a_file(), b"a: 1\n")]),
        "is in the bundle twice",
    ),
    "comes-out-of-order": (sound(blocks=swapped), "out of order"),
    "hard-link-to-nothing": (
        Forgery(members=[(A_FOLDER, b""), (HARD, b"")]), "leads to no file that came before",
    ),
    "hard-link-to-another-set": (
        Forgery(members=[(A_FOLDER, b""), (HARD_OUT, b"")]), "leads to no file that came before",
    ),
    "hard-link-climbs-out": (Forgery(members=[(A_FOLDER, b""), (HARD_UP, b"")]), "climbs out"),
    "hard-link-to-a-folder": (
        Forgery(members=[(A_FOLDER, b""), (HARD_FOLDER, b"")]), "leads to no file that came before",
    ),
    "character-device": (sound(blocks=typed(b"3")), "a character device"),
    "block-device": (sound(blocks=typed(b"4")), "a block device"),
    "named-pipe": (sound(blocks=typed(b"6")), "a named pipe"),
    "contiguous-file": (sound(blocks=typed(b"7")), "a contiguous file"),
    "global-header": (sound(blocks=typed(b"g")), "a global header"),
    "gnu-long-name": (sound(blocks=typed(b"L")), "a long name of GNU tar"),
    "gnu-long-link": (sound(blocks=typed(b"K")), "a long link of GNU tar"),
    "gnu-sparse-file": (sound(blocks=typed(b"S")), "an old sparse file"),
    "unknown-type": (sound(blocks=typed(b"Z")), "a member of type b'Z'"),
    "folder-with-content": (sound(blocks=typed(b"5")), "is not named as one"),
    "link-with-content": (sound(blocks=typed(b"2")), "claims to have content"),
    "wrong-checksum": (
        sound(blocks=lambda b: [b[0], b[1][:100] + b"0000666\0" + b[1][108:], b[2]]),
        "not in canonical form",
    ),
    "number-in-another-base": (header(124, b"zzzzzzzzzzz\0"), "a number of a tar header"),
    "number-in-gnu-binary": (header(124, b"\x80" + bytes(11)), "a number of a tar header"),
    "hidden-in-a-header": (header(500, b"hidden"), "not in canonical form"),
    "hidden-behind-content": (
        sound(blocks=lambda b: [b[0], b[1][:-6] + b"hidden", b[2]]),
        "hidden behind the content",
    ),
    "file-that-leads-elsewhere": (header(157, b"/etc/passwd"), "claims to lead elsewhere"),
    "pax-record-twice": (with_pax(b"9 uid=70\n", b"9 uid=71\n"), "says `uid` twice"),
    "pax-record-unknown": (with_pax(b"12 magic=xx\n"), "unknown record `magic`"),
    "pax-record-malformed": (with_pax(b"99 uid=70\n"), "a pax header is malformed"),
    "pax-record-without-value": (with_pax(b"7 uids\n"), "a pax header is malformed"),
    "pax-record-not-needed": (with_pax(b"9 uid=70\n"), "not in canonical form"),
    "pax-path-climbs-out": (with_pax(b"20 path=c/../../etc\n"), "climbs out"),
    "pax-size-no-number": (with_pax(b"11 size=xx\n"), "`size` is not a number"),
    "pax-too-long": (
        sound(blocks=lambda b: [b[0], rechecked(b[1], 124, b"77777777777\0x"[:12]), b[2]]),
        "members have more than|not in canonical form|cut off",
    ),
    "sparse-map-malformed": (
        Forgery(members=[(A_FOLDER, b""), (SPARSE, b"x" * 512)],
                blocks=lambda b: [b[0], b[1].replace(b"1\n0\n512\n", b"1\n0\n5x2\n")]),
        "map of a sparse file is malformed",
    ),
    "sparse-map-does-not-fit": (
        Forgery(members=[(A_FOLDER, b""), (SPARSE, b"x" * 512)],
                blocks=lambda b: [b[0], b[1].replace(b"1\n0\n512\n", b"1\n0\n999\n")]),
        "does not fit its size",
    ),
    "no-manifest": (sound(blocks=lambda b: [*b, 2 * ZERO_BLOCK]), "ends before its manifest"),
    "member-behind-the-manifest": (
        sound(end=headers(a_file()) + bytes(512) + 2 * ZERO_BLOCK), "must be the last",
    ),
    "data-behind-the-end": (sound(end=3 * ZERO_BLOCK), "something follows the end"),
    "points-elsewhere": (sound(anchor=1), "not where the end of the file says"),
    "points-to-the-start": (sound(anchor=-(1 << 40)), "not where the end of the file says"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_do_harm_is_refused_by_its_own_words(case: str) -> None:
    forgery, words = REFUSED[case]
    with pytest.raises(BundleDamaged, match=words):
        read(forgery.made())


# ── a manifest that lies ─────────────────────────────────────────────────────────────────────────

LIES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "size": (edited("size", 6), "size"),
    "sha256": (edited("sha256", "0" * 64), "content"),
    "mode": (edited("mode", "0777"), "mode"),
    "uid": (edited("uid", 1000), "owner"),
    "gid": (edited("gid", 1000), "group"),
    "user": (edited("user", "nobody"), "owner's name"),
    "group": (edited("group", "nogroup"), "group's name"),
    "mtime": (edited("mtime", 1), "time"),
    "xattrs": (edited("xattrs", {"user.a": "Yg=="}), "extended attributes"),
}


@pytest.mark.parametrize("field", LIES)
def test_each_field_of_an_entry_that_lies_is_named(field: str) -> None:
    change, name = LIES[field]
    (difference,) = read(sound(lines=change).made()).differences
    assert (difference.path, difference.what) == ("config/etc/app/one.yaml", "changed")
    assert difference.fields == (name,)


def test_what_the_manifest_lacks_or_has_alone_is_named() -> None:
    one, two = a_file(), a_file("config/etc/app/two.yaml", b"b: 2\n")
    three = a_file("config/etc/app/three.yaml")
    found = read(sound(told=[A_FOLDER, one]).made()).differences
    assert [str(d) for d in found] == ["added `config/etc/app/two.yaml`"]
    found = read(sound(told=[A_FOLDER, one, three, two]).made()).differences
    assert [str(d) for d in found] == ["removed `config/etc/app/three.yaml`"]


def test_content_that_was_altered_is_named() -> None:
    def altered(blocks: list[bytes]) -> list[bytes]:
        return [blocks[0], blocks[1].replace(b"a: 1", b"a: 2"), blocks[2]]

    (difference,) = read(sound(blocks=altered).made()).differences
    assert str(difference) == "changed `config/etc/app/one.yaml`: content"


def line(number: int, change: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    def changed(lines: list[str]) -> list[str]:
        lines[number] = change(lines[number])
        return lines

    return changed


def replaced(number: int, old: str, new: str) -> Callable[[list[str]], list[str]]:
    return line(number, lambda text: text.replace(old, new))


MALFORMED: dict[str, tuple[Forgery, str]] = {
    "other-format": (
        sound(lines=replaced(0, "alexandria-bundle/1", "alexandria-bundle/9")), "another version",
    ),
    "head-not-json": (sound(lines=line(0, lambda t: t[:-3] + ",")), "head .* malformed"),
    "head-unknown-field": (
        sound(lines=replaced(0, '"tool":', '"more":1,"tool":')), "head .* malformed at `more`",
    ),
    "head-other-spelling": (sound(lines=replaced(0, '"tool":', '"tool": ')), "canonical form"),
    "set-name": (sound(lines=replaced(0, '"config":{', '"../x":{')), "head .* malformed"),
    "no-entries": (sound(lines=line(1, lambda _: '"members": [')), "no entries where they should"),
    "entry-spelled-otherwise": (
        sound(lines=replaced(3, '"uid": 0', '"uid":  0')), "not in canonical form",
    ),
    "entry-twice-a-key": (
        sound(lines=replaced(3, '"uid": 0', '"uid": 0, "uid": 0')), "not in canonical form",
    ),
    "entry-not-json": (sound(lines=line(3, lambda _: "{,")), "malformed"),
    "entry-no-type": (sound(lines=edited("type", "device")), "malformed"),
    "entry-negative-size": (sound(lines=edited("size", -1)), "malformed"),
    "entry-size-is-true": (sound(lines=edited("size", True)), "malformed"),
    "entry-deep": (sound(lines=line(3, lambda _: "[" * 100_000 + ",")), "malformed"),
    "entries-not-separated": (sound(lines=line(2, lambda t: t.rstrip(","))), "not separated"),
    "number-of-entries": (
        sound(lines=replaced(6, '"entries":3', '"entries":4')), "says that it has 4",
    ),
    "raw-bytes": (
        sound(lines=replaced(6, '"raw_bytes":2560', '"raw_bytes":4096')), "says that it is 4,096",
    ),
    "tail-malformed": (sound(lines=replaced(6, '"entries":3', '"entries":"x"')), "tail .* malfor"),
    "roots": (sound(lines=replaced(0, '"roots":["/etc/app"]', '"roots":["/srv"]')), "outside of"),
    "digest": (sound(document=lambda d: d.replace(b"a: 1", b"a: 1")[:-80] + d[-80:].replace(
        b'"note"', b'"nope"')), "does not end with its seal"),
    "altered": (sound(document=lambda d: d.replace(b"node-1", b"node-2")), "own digest"),
    "ends-early": (sound(document=lambda d: d[: len(d) // 2]), "malformed|too early|canonical"),
    "seal-then-more": (sound(document=lambda d: d + b"{}\n"), "does not end with its seal"),
    "empty": (sound(document=lambda _: b""), "too early"),
    "a-line-of-zeros": (sound(document=lambda _: bytes(1 << 20)), "no head|too early"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_manifest_that_is_none_is_refused(case: str) -> None:
    forgery, words = MALFORMED[case]
    with pytest.raises(BundleDamaged, match=words):
        read_all(forgery.made())


def read_all(data: bytes) -> None:
    list(read(data).manifest.entries())


def test_an_entry_that_comes_twice_in_the_manifest_is_refused() -> None:
    data = sound(told=[A_FOLDER, a_file(), a_file()]).made()
    with pytest.raises(BundleDamaged, match="twice or out of order"):
        read(data)


# ── signatures ───────────────────────────────────────────────────────────────────────────────────


def test_a_signature_is_checked_against_the_trusted_keys() -> None:
    ours, others = SigningKey.generate("ours"), SigningKey.generate("others")
    manifest = read(sound(key=ours).made()).manifest
    assert manifest.signers([ours.trusted]) == ("ours",)
    assert manifest.signers([]) == ()
    with pytest.raises(WrongKey, match="no trusted key has signed"):
        manifest.signers([others.trusted])
    with pytest.raises(WrongKey, match="is not signed"):
        read(sound().made()).manifest.signers([ours.trusted])


def test_a_signature_of_another_bundle_is_refused() -> None:
    key = SigningKey.generate("ours")
    note = read(sound(key=key).made()).manifest.note
    moved = read(sound(members=sound().members[:2], key=key).made()).manifest
    with pytest.raises(BundleDamaged, match="made over another manifest"):
        replace(moved, note=note).signers([key.trusted])


# ── packed data ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("compression", list(Compression))
def test_a_bundle_that_is_cut_off_is_refused_wherever(compression: Compression) -> None:
    data = sound(compression=compression).made()
    for size in (*range(0, len(data) - 1, 7), len(data) - 1):
        with pytest.raises(BundleDamaged):
            read(data[:size])


@pytest.mark.parametrize("compression", list(Compression))
def test_a_flipped_bit_never_passes(compression: Compression) -> None:
    data = sound(compression=compression).made()
    whole = read(data).manifest.sha256
    harmless = 0
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        try:
            found = read(bytes(flipped))
        except BundleDamaged:
            continue
        # Some bits of gzip's own header mean nothing: then all that is said is still true.
        assert found.manifest.sha256 == whole
        assert found.differences == ()
        harmless += 1
    assert harmless < 40


def test_a_bomb_is_not_unpacked_beyond_what_the_manifest_says(tmp_path: Path) -> None:
    bomb = a_file("config/etc/app/one.yaml", b"")
    huge = replace(bomb, size=1 << 33)
    forgery = Forgery(
        members=[(A_FOLDER, b""), (bomb, b"")],
        blocks=lambda blocks: [blocks[0], headers(huge) + bytes(8 << 20)],
    )
    with pytest.raises(BundleDamaged, match="members have more than"):
        read_bundle(stored(tmp_path / "bomb", forgery.made()))


def test_zeros_without_end_are_not_unpacked(tmp_path: Path) -> None:
    good = sound().made()
    start = manifest_offset(good)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = packer.compress(bytes(64 << 20)) + packer.flush()
    data = packed_again(zeros, good[start:])
    with pytest.raises(BundleDamaged):
        read_bundle(stored(tmp_path / "bomb", data))


def manifest_offset(data: bytes) -> int:
    return marked_offset(data[-64:])


def packed_again(before: bytes, rest: bytes) -> bytes:
    """Put other packed data before a manifest, and let the trailer say where it is now."""
    writer = BlockWriter(Compression.GZIP, 1)
    writer.close()
    end = writer.trailer(len(before))
    return before + rest[: -len(end)] + end


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"#!/bin/sh\n" * 100, "neither with gzip nor with zstd"),
        (gzip.compress(b""), "cut off"),
        (gzip.compress(b"hello" * 1000), "number of a tar header|canonical|member of type"),
        (os.urandom(4096), "neither with gzip nor with zstd"),
    ],
    ids=["empty", "script", "empty-gzip", "text", "noise"],
)
def test_what_is_no_bundle_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BundleDamaged, match=words):
        read(data)


def test_a_plain_tar_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1", encoding="utf-8")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(tmp_path / "one", arcname="config/etc/one")
    with pytest.raises(BundleDamaged, match=r"before its manifest|canonical"):
        read(raw.getvalue())
    with pytest.raises(BundleDamaged, match="cut off, or is none"):
        manifest_from_end(stored(tmp_path / "x.tar.gz", raw.getvalue()))


def test_a_trailer_that_points_behind_the_file_is_refused(tmp_path: Path) -> None:
    source = stored(tmp_path / "bundle", sound(anchor=1 << 40).made())
    with pytest.raises(BundleDamaged, match="lies behind it"):
        manifest_from_end(source)


def test_a_manifest_that_shares_its_block_is_refused() -> None:
    one = sound()
    raw = gzip.decompress(one.made())
    with pytest.raises(BundleDamaged, match="not where the end"):
        read(packed(raw, b""))


def test_a_stream_in_tiny_pieces_is_read_as_well() -> None:
    found = read_bundle(streamed(sound().made(), 1))
    assert found.differences == ()


def test_entries_survive_their_lines() -> None:
    entries: list[Any] = [
        a_file(), A_FOLDER, LINK, SPARSE,
        a_file("config/etc/app/ü", ns=5, xattrs=(("user.a", b"\0\xff"),)),
        replace(a_file(), path=b"config/etc/app/\xff\xfe", link=b""),
        another(Kind.SYMLINK, "config/l", link=b"\xff"),
    ]  # fmt: skip
    for entry in entries:
        assert isinstance(entry, Entry)
        assert parse(entry.line()) == entry


def test_the_seal_can_be_made_anew_by_hand() -> None:
    """The digest is over all that stands before the seal's line, as `head -n -1` gives it."""
    document = sound()._document(2560)
    lines = document.decode().split("\n")[:-2]
    assert sealed(lines) == document
