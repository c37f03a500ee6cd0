"""A DSN in a Secret of Kubernetes, where the paper runbook looks first; or another value of one."""

import base64
import binascii
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.cluster.kinds import SECRETS
from alexandria_backup.credentials.dsn_text import secret_text
from alexandria_backup.errors import ClusterObjectMissing, CredentialsNotFound, PlatformRefused
from alexandria_backup.events import Emit
from alexandria_backup.secret import Secret


@dataclass(frozen=True, kw_only=True)
class KubernetesSecretSource:
    """One key of one Secret."""

    cluster: Cluster
    secret: str
    key: str
    #: Whether the operator has named it; otherwise it is looked at where there is a cluster.
    named: bool
    emit: Emit
    #: The setting that names the key, and the command that does without the cluster.
    setting: str = "[kubernetes] key"
    otherwise: str = "export ALEXANDRIA_DSN=…   # to do without the cluster"

    @property
    def name(self) -> str:
        """Name Secret and key; the namespace is known once the cluster was looked for."""
        return f"the Kubernetes Secret `{self.secret}`, key `{self.key}`"

    def configured(self) -> bool:
        """Tell whether it was named, or there is a kubeconfig or a pod's account."""
        return self.named or self.cluster.place.is_there()

    def find(self) -> Secret:
        """Ask the cluster for it, as text."""
        try:
            value = self.read()
        except CredentialsNotFound as error:
            if self.named:
                raise
            # Whoever has a kubeconfig for something else must learn why the cluster was asked.
            message = f"{error.message} (asked, since no DSN is set elsewhere)"
            raise CredentialsNotFound(message, hint=error.hint) from None
        return secret_text(
            value, f"key `{self.key}` of {self._where}", self.emit, mend=self._mend()
        )

    def read(self) -> bytes:
        """Ask the cluster for it, whatever it is; raises CredentialsNotFound."""
        try:
            found = self.cluster.get(SECRETS, self.secret)
        except ClusterObjectMissing:
            raise CredentialsNotFound(
                f"there is no Secret `{self.secret}` in namespace `{self.cluster.namespace}`",
                hint="kubectl get secrets --all-namespaces "
                f"--field-selector=metadata.name={shlex.quote(self.secret)}",
            ) from None
        except PlatformRefused as error:
            hint = error.hint or self.otherwise
            raise CredentialsNotFound(f"{self.name}: {error.message}", hint=hint) from None
        return self._value(found.get("data"))

    @property
    def _where(self) -> str:
        return f"Secret `{self.secret}` in namespace `{self.cluster.namespace}`"

    def _value(self, data: object) -> bytes:
        keys = data if isinstance(data, Mapping) else {}
        encoded = keys.get(self.key)
        if not isinstance(encoded, str):
            there = ", ".join(f"`{key}`" for key in sorted(keys)) or "none"
            raise CredentialsNotFound(
                f"{self._where} has no key `{self.key}`; its keys: {there}",
                hint=f"set `{self.setting}`",
            )
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise CredentialsNotFound(f"key `{self.key}` of {self._where} is not base64") from None

    def _mend(self) -> str:
        make = shlex.join(
            (
                *("kubectl", "create", "secret", "generic", self.secret),
                *(f"--from-file={self.key}=FILE", "--namespace", self.cluster.namespace),
            )
        )
        return f"{make} --dry-run=client -o yaml | kubectl apply -f -"
