from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.repository import layout
from alexandria_backup.repository.layout import Kind, ParsedName, parse
from alexandria_backup.storage.store import is_name

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SNAPSHOT = "alexandria-ee-20261123T120000Z-k3x9"
DIGEST = "ab" * 32
UUID = "123e4567-e89b-12d3-a456-426614174000"
RUN = "prune-20261123T120000Z-k3x9"


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        (layout.DESCRIPTION, Kind.DESCRIPTION, ""),
        (layout.manifest_name(SNAPSHOT), Kind.MANIFEST, SNAPSHOT),
        (layout.object_name(DIGEST), Kind.OBJECT, DIGEST),
        (layout.ledger_name(NOON, DIGEST), Kind.LEDGER_ENTRY, DIGEST),
        (layout.new_result_name(SNAPSHOT, NOON), Kind.RESULT, SNAPSHOT),
        (layout.partial_name(RUN, 7), Kind.PARTIAL, RUN),
        (layout.lease_name(UUID), Kind.LEASE, UUID),
        (layout.tombstone_name(RUN), Kind.TOMBSTONE, RUN),
        (f"runs/{RUN}/000001.json", Kind.JOURNAL, RUN),
        (
            "runs/restore-20261123T120000Z-k3x9/000001.json",
            Kind.JOURNAL,
            RUN.replace("prune", "restore"),
        ),
    ],
    # Names of results are random, and every worker of a run must call a test by the same one.
    ids=lambda value: value.value if isinstance(value, Kind) else "of",
)
def test_what_is_built_is_read_back(name: str, kind: Kind, key: str) -> None:
    assert is_name(name)
    assert parse(name) == ParsedName(kind=kind, key=key)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "repository.json.old",
        "objects/ab",
        f"objects/ab/{DIGEST.upper()}",
        f"objects/ac/{DIGEST}",
        f"objects/ab/{DIGEST}0",
        f"objects/ab/{DIGEST}\n",
        f"snapshots/{SNAPSHOT}",
        f"snapshots/../{SNAPSHOT}.manifest",
        f"snapshots/{SNAPSHOT}/.manifest",
        f"snapshots/sub/{SNAPSHOT}.manifest",
        f"ledger/20261123T120000Z-{DIGEST}",
        "tombstones/" + "x" * 200,
    ],
)
def test_what_is_foreign(name: str) -> None:
    assert parse(name).kind is Kind.FOREIGN


@given(st.text(max_size=60))
def test_any_name_is_parsed(name: str) -> None:
    for folder in ("", "objects/", "snapshots/", "ledger/", "results/", "leases/"):
        assert parse(folder + name).kind in Kind


@pytest.mark.parametrize("application", ["a", "alexandria-ee", "A.b_c-20261123T120000Z", "x" * 63])
def test_the_names_of_applications_fit_into_ids(application: str) -> None:
    snapshot = layout.new_snapshot_id(application, NOON)
    assert layout.is_snapshot_id(snapshot)
    assert parse(layout.manifest_name(snapshot)).key == snapshot


def test_ids_of_the_same_second_differ() -> None:
    assert len({layout.new_snapshot_id("shop", NOON) for _ in range(50)}) > 40


def test_names_of_the_ledger_sort_by_time() -> None:
    times = [NOON.replace(microsecond=m) for m in (0, 5, 999_999)]
    names = [layout.ledger_name(at, DIGEST) for at in times]
    assert names == sorted(names)
