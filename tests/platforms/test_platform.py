import json

import pytest

from alexandria_backup.errors import JournalInvalid
from alexandria_backup.platforms.platform import StoppedUnit, StopRecord

RECORD = StopRecord(
    platform="kubernetes",
    was_running=True,
    stopped=True,
    units=(
        StoppedUnit(name="deployment/api", instances=3),
        StoppedUnit(name="deployment/worker", instances=0),
    ),
)


def test_a_record_survives_the_journal() -> None:
    assert StopRecord.from_document(json.loads(json.dumps(RECORD.to_document()))) == RECORD


@pytest.mark.parametrize(
    "change",
    [
        {"platform": 3},
        {"was_running": "yes"},
        {"stopped": None},
        {"units": [{"name": "api"}]},
        {"units": "api"},
        {"caution": 1},
        {"novel": True},
    ],
)
def test_a_malformed_record_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(JournalInvalid):
        StopRecord.from_document({**RECORD.to_document(), **change})


def test_a_record_without_a_field_is_refused() -> None:
    document = RECORD.to_document()
    del document["stopped"]
    with pytest.raises(JournalInvalid):
        StopRecord.from_document(document)
