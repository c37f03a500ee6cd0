"""Archives in another version than their pg_dump's, in the hands of older and newer readers."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from alexandria_backup.archive.contents import survey
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import Compression
from alexandria_backup.archive.writer import ArchiveWriter
from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.postgres.client_tools import ClientTools, installed_in
from alexandria_backup.sealing.digests import RowDigest

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
#: The format that each pg_restore reads at most.
READS = {15: 14, 16: 15, 18: 16}


@pytest.fixture
def readers(server16: Any, server18: Any) -> dict[int, ClientTools]:
    """The programs at hand, by their major version."""
    folders = [server16.bin_dir, server18.bin_dir]
    if DEBIAN_15.exists():
        folders.append(DEBIAN_15)
    return {tools.major: tools for tools in map(installed_in, folders) if tools is not None}


def rewritten(data: bytes, minor: int, compression: Compression | None = None) -> bytes:
    writer = ArchiveWriter(ArchiveReader([data]), format_minor=minor, compression=compression)
    return b"".join(writer.stream())


@pytest.mark.parametrize("minor", [14, 15, 16])
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_readers_of_a_version_read_it(
    sample: Any, readers: dict[int, ClientTools], minor: int, compression: Compression
) -> None:
    # Large objects of pg_dump 17 and newer are told in a way that only 1.16 has.
    data = sample.dump(*(("--no-large-objects",) if sample.server.major > 16 else ()))
    ours = rewritten(data, minor, compression)
    reader = ArchiveReader([ours])
    assert reader.header.version == (1, minor, 0)
    assert survey(reader, digest=RowDigest) == survey(ArchiveReader([data]), digest=RowDigest)
    for major, tools in readers.items():
        ended = script(tools, ours)
        if READS[major] < minor:
            assert b"unsupported version" in ended.stderr
            continue
        assert (ended.returncode, ended.stderr) == (0, b"")
        if READS[major] >= ArchiveReader([data]).header.version[1]:
            # It reads the original as well, and makes the same of both.
            assert without_keys(ended.stdout) == without_keys(script(tools, data).stdout)
        else:
            assert b"COPY public.numbers (n, hash, filler) FROM stdin;\n1\t" in ended.stdout


def script(tools: ClientTools, archive: bytes) -> "subprocess.CompletedProcess[bytes]":
    command = [str(tools.pg_restore), "--file=-"]
    return subprocess.run(command, input=archive, capture_output=True, check=False)


def without_keys(text: bytes) -> list[bytes]:
    # Their key is random; what the head says of the archive is a comment.
    return [line for line in text.splitlines() if not line.startswith((b"\\", b"--"))]


def test_to_an_older_version_and_back(sample: Any) -> None:
    data = sample.dump("--no-blobs")
    minor = ArchiveReader([data]).header.version[1]
    there = rewritten(data, 16)
    # The kinds of relations are new in 1.16, and nobody knows them afterwards.
    assert rewritten(rewritten(there, 15), 16) == rewritten(there, 16) or minor == 16
    assert rewritten(rewritten(data, 16), minor) == data


def test_large_objects_of_a_new_dump_are_refused(server18: Any, sample: Any) -> None:
    if sample.server.major < 17:
        assert rewritten(sample.dump(), 14)
        return
    with pytest.raises(PrecheckRefused) as caught:
        rewritten(sample.dump(), 15)
    assert "version 1.15" in caught.value.message
    assert "large objects" in caught.value.message


def test_statistics_and_zstd_are_refused(craft: Any) -> None:
    made = craft(minor=16, algorithm=3)
    made.extra_entries = [made.entry(20, b"STATISTICS DATA")]
    with pytest.raises(PrecheckRefused) as caught:
        rewritten(made.build(), 14)
    assert "statistics of the planner and compression with zstd" in caught.value.message
    # Readers of 1.15 know zstd.
    assert rewritten(craft(minor=16, algorithm=3).build(), 15)


@pytest.mark.parametrize("minor", [11, 13, 17])
def test_versions_that_are_not_written(craft: Any, minor: int) -> None:
    with pytest.raises(PrecheckRefused, match=r"1\.14, 1\.15, 1\.16"):
        rewritten(craft().build(), minor)


def test_a_level_is_kept_where_there_was_one(craft: Any) -> None:
    made = craft(minor=14, algorithm=9)
    assert rewritten(made.build(), 14) == made.build()
    assert ArchiveReader([rewritten(made.build(), 16)]).header.raw.compression == 1
