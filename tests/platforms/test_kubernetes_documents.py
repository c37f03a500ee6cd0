"""Whatever the API answers, a workload and its pods are read, or refused as one of our errors."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria_backup.cluster.kinds import DEPLOYMENTS
from alexandria_backup.platforms.kubernetes.pods import Pod, read_pod
from alexandria_backup.platforms.kubernetes.workload import SAVED, Workload, read_workload

_NAMES = ("metadata", "spec", "status", "replicas", "selector", "matchLabels", "matchExpressions")
_MORE = ("annotations", "labels", "conditions", "containers", "managedFields", "fieldsV1", SAVED)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from((*_NAMES, *_MORE)), below, max_size=5)
    ),
    max_leaves=20,
)
_DOCUMENTS = st.dictionaries(st.sampled_from(("metadata", "spec", "status")), _VALUES)


@settings(deadline=None)
@given(document=_DOCUMENTS)
def test_any_document_is_read(document: dict[str, Any]) -> None:
    assert isinstance(read_workload(DEPLOYMENTS, document), Workload)
    assert isinstance(read_pod(document), Pod)


def test_a_selector_is_written_as_the_api_takes_it() -> None:
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["api", "web"]},
            {"key": "old", "operator": "NotIn", "values": ["yes"]},
            {"key": "app", "operator": "Exists"},
            {"key": "canary", "operator": "DoesNotExist"},
        ],
    }
    found = read_workload(DEPLOYMENTS, {"spec": {"selector": selector}}).selector
    assert found == "a=1,b=2,tier in (api,web),old notin (yes),app,!canary"


def test_without_a_number_there_is_one_replica_as_the_api_has_it() -> None:
    assert read_workload(DEPLOYMENTS, {"spec": {}}).replicas == 1


def test_a_saved_number_that_is_none_is_not_believed() -> None:
    for text in ("", "-1", "three", "9" * 40, "\uff11"):
        document = {"metadata": {"annotations": {SAVED: text}}}
        assert read_workload(DEPLOYMENTS, document).saved is None


def test_the_reason_of_a_pod_is_what_its_containers_wait_for() -> None:
    status = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    }
    assert str(read_pod({"metadata": {"name": "api-1"}, "status": status})) == (
        "`api-1` (CrashLoopBackOff)"
    )
    del status["containerStatuses"]
    assert "Unschedulable" in str(read_pod({"metadata": {"name": "api-1"}, "status": status}))
