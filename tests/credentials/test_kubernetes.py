import base64
from dataclasses import replace

import pytest
from fake_kubernetes_api_support import Served
from import_blocker_support import without

from alexandria_backup.cluster.access import ClusterPlace
from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.credentials.kubernetes import KubernetesSecretSource
from alexandria_backup.credentials.source import find_dsn
from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.events import Event

DSN = b"postgresql://app:swordfish@db.example/alexandria"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def source(served: Served, events: list[Event]) -> KubernetesSecretSource:
    return KubernetesSecretSource(
        cluster=Cluster(place=ClusterPlace(kubeconfig=served.kubeconfig), patience_s=0),
        secret="alexandria-ee",
        key="database-dsn",
        named=True,
        emit=events.append,
    )


def refused(source: KubernetesSecretSource) -> CredentialsNotFound:
    with pytest.raises(CredentialsNotFound) as caught:
        source.find()
    assert "swordfish" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    return caught.value


def test_the_dsn_is_found(source: KubernetesSecretSource, served: Served) -> None:
    served.cluster.secret("alexandria-ee", database_dsn=DSN)
    found = find_dsn([source])
    assert found.dsn.database == "alexandria"
    assert found.source == "the Kubernetes Secret `alexandria-ee`, key `database-dsn`"


def test_a_newline_at_the_end_is_left_out_and_said(
    source: KubernetesSecretSource, served: Served, events: list[Event]
) -> None:
    served.cluster.secret("alexandria-ee", database_dsn=DSN + b"\n")
    assert source.find().reveal() == DSN.decode()
    assert "white space around it" in str(events[0])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (base64.b64encode(DSN), "encoded twice"),
        (base64.b64encode(DSN) + b"\n", "encoded twice"),
        (base64.b64encode(b"host=db password=swordfish"), "encoded twice"),
    ],
)
def test_what_is_no_dsn_is_told_apart(
    source: KubernetesSecretSource, served: Served, value: bytes, said: str
) -> None:
    served.cluster.secret("alexandria-ee", database_dsn=value)
    error = refused(source)
    assert said in error.message
    assert (error.hint or "").startswith("kubectl create secret generic alexandria-ee --from-file=")


def test_a_missing_key_lists_the_names_and_never_the_values(
    source: KubernetesSecretSource, served: Served
) -> None:
    served.cluster.secret("alexandria-ee", url=DSN, license=b"swordfish")
    assert "its keys: `license`, `url`" in refused(source).message


def test_a_secret_without_data(source: KubernetesSecretSource, served: Served) -> None:
    served.cluster.create("secrets", "alexandria-ee", {"type": "Opaque"})
    assert "its keys: none" in refused(source).message


def test_data_that_is_not_base64(source: KubernetesSecretSource, served: Served) -> None:
    served.cluster.create("secrets", "alexandria-ee", {"data": {"database-dsn": "swordfish!"}})
    assert "is not base64" in refused(source).message


def test_a_missing_secret_is_named_with_its_namespace(source: KubernetesSecretSource) -> None:
    error = refused(source)
    assert error.message == "there is no Secret `alexandria-ee` in namespace `llm`"
    assert "--all-namespaces" in (error.hint or "")


def test_a_right_that_is_missing(source: KubernetesSecretSource, served: Served) -> None:
    served.cluster.allowed = lambda *_: False
    error = refused(source)
    assert "our account may not `get` `secret/alexandria-ee`" in error.message
    assert "--verb=get --resource=secrets" in (error.hint or "")


def test_a_token_that_has_expired(source: KubernetesSecretSource, served: Served) -> None:
    served.cluster.tokens = set()
    assert "does not accept our credentials" in refused(source).message


def test_without_the_extra_it_says_what_to_install(source: KubernetesSecretSource) -> None:
    with without("kr8s"):
        assert refused(source).hint == "pip install 'alexandria-backup[kubernetes]'"


def test_whoever_did_not_name_it_learns_why_the_cluster_was_asked(
    source: KubernetesSecretSource,
) -> None:
    found = refused(replace(source, named=False))
    assert found.message.endswith("in namespace `llm` (asked, since no DSN is set elsewhere)")
    assert found.hint == refused(source).hint


def test_it_is_looked_at_where_it_is_named_or_there_is_a_cluster(served: Served) -> None:
    def configured(place: ClusterPlace, *, named: bool) -> bool:
        return KubernetesSecretSource(
            cluster=Cluster(place=place), secret="s", key="k", named=named, emit=print
        ).configured()

    assert configured(ClusterPlace(), named=True)
    assert configured(ClusterPlace(kubeconfig=served.kubeconfig), named=False)
    assert not configured(ClusterPlace(), named=False)
