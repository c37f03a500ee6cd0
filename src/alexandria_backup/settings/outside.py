"""What stands around the application: the cluster it may run in, and where its secrets are."""

from pydantic import Field

from alexandria_backup.settings.section import Section
from alexandria_backup.settings.types import Seconds, UserPath, VaultAuth, Words

_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"


class KubernetesSettings(Section):
    """The cluster."""

    kubeconfig: UserPath | None = Field(
        None,
        description="The kubeconfig; default: `KUBECONFIG`, `~/.kube/config`, or in a pod its own "
        "service account.",
    )
    context: str | None = Field(
        None, min_length=1, description="The context of the kubeconfig; default: the current one."
    )
    namespace: str | None = Field(
        None,
        pattern=_NAME,
        description="The application's namespace; default: the pod's own, or the context's.",
    )
    secret: str = Field(
        "alexandria-ee",
        pattern=_NAME,
        description="The Secret that holds the DSN. It is looked at where no other source of the "
        "DSN is set and there is a kubeconfig or a pod's service account.",
    )
    key: str = Field(
        "database-dsn", pattern=r"^[A-Za-z0-9._-]+$", description="The key of that Secret."
    )
    workloads: Words = Field(
        (),
        description="What is scaled to 0 for a restore, such as `deployment/alexandria-api`; "
        "default: every Deployment and StatefulSet with the label "
        "`app.kubernetes.io/instance` of `[application] name`.",
    )
    stop_timeout_s: Seconds = Field(
        180.0, gt=0, description="Seconds to wait until the last pod is gone."
    )
    timeout_s: Seconds = Field(
        10.0, gt=0, description="Seconds to wait for one answer of the cluster."
    )


class SystemdSettings(Section):
    """The services of one host, as Quadlet makes them."""

    units: Words = Field(
        (),
        description="What is stopped for a restore, such as `alexandria-api`; default: "
        "`alexandria-api` and its siblings `alexandria-…`, without the database.",
    )
    user: bool = Field(
        False, description="Whether they are units of this user (`systemctl --user`), rootless."
    )
    timeout_s: Seconds = Field(
        180.0, gt=0, description="Seconds that one command of `systemctl` may take."
    )


class VaultSettings(Section):
    """Vault or OpenBao, with the key-value store of version 2."""

    enabled: bool | None = Field(
        None,
        description="Whether the DSN is in Vault; default: what `vault.enabled` says in the Helm "
        "values file that `--values` names, else no.",
    )
    address: str | None = Field(
        None,
        pattern=r"^https?://[^@\s]+$",
        description="Its URL; default: `VAULT_ADDR`, `BAO_ADDR`, or `https://127.0.0.1:8200`.",
    )
    namespace: str | None = Field(
        None, description="Its namespace, where it has any; default: `VAULT_NAMESPACE`."
    )
    ca_file: UserPath | None = Field(
        None,
        description="Certificates (PEM) to trust instead of the system's; default: `VAULT_CACERT`.",
    )
    mount: str | None = Field(
        None, min_length=1, description="Where the key-value store is mounted; default: `secret`."
    )
    prefix: str | None = Field(
        None, description="The path of the secret; default: `alexandria/llm/`."
    )
    key: str | None = Field(
        None,
        min_length=1,
        description="The field of the secret that holds the DSN; default: `database-dsn`. What "
        "stands before a slash in it is more of the path.",
    )
    auth: VaultAuth = Field(
        VaultAuth.TOKEN,
        description="How to log in: with a `token`, a pod's service account (`kubernetes`), or an "
        "`approle`.",
    )
    token_file: UserPath | None = Field(
        None,
        description="A file that holds the token; default: `VAULT_TOKEN`, then `~/.vault-token`.",
    )
    role: str = Field("alexandria-backup", description="The role for `auth = kubernetes`.")
    auth_mount: str | None = Field(
        None, description="Where the login is mounted; default: `kubernetes` or `approle`."
    )
    role_id_file: UserPath | None = Field(
        None, description="A file that holds the role id for `auth = approle`."
    )
    secret_id_file: UserPath | None = Field(
        None, description="A file that holds the secret id for `auth = approle`."
    )
    timeout_s: Seconds = Field(10.0, gt=0, description="Seconds to wait for one answer.")
