"""Where the cluster is and who we are there: kubeconfig, exec plug-in, or a pod's own account.

kr8s reads all of these. Its own calls are not used: it asks the server for its version without a
timeout before anything else, repeats each refusal four times, and its errors hide `Retry-After`.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from alexandria_backup.errors import ClusterDenied, ClusterUnreachable
from alexandria_backup.secret import Secret

#: Where a pod finds its account.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, kw_only=True)
class ClusterPlace:
    """Which cluster and namespace the operator means; None is what `kubectl` would take."""

    #: None: `KUBECONFIG`, then `~/.kube/config`, then the pod's own account.
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    service_account: Path = SERVICE_ACCOUNT

    def is_there(self) -> bool:
        """Tell whether anything here names a cluster, without asking it; needs no library."""
        return self.in_pod() or any(path.exists() for path in self._files())

    def in_pod(self) -> bool:
        """Tell whether this process runs in a pod that has an account."""
        return "KUBERNETES_SERVICE_HOST" in os.environ and self.service_account.is_dir()

    def given(self) -> str:
        """Return kubeconfig files as kr8s takes them: several with a colon between."""
        return os.pathsep.join(str(path) for path in self._files())

    def _files(self) -> tuple[Path, ...]:
        if self.kubeconfig is not None:
            return (self.kubeconfig,)
        named = os.environ.get("KUBECONFIG")
        if named:
            return tuple(Path(part).expanduser() for part in named.split(os.pathsep) if part)
        home = os.environ.get("HOME")
        return (Path(home) / ".kube" / "config",) if home else ()


@dataclass(frozen=True, kw_only=True)
class Access:
    """What it takes to talk to the cluster."""

    server: str
    namespace: str
    token: Secret | None
    tls: ssl.SSLContext
    proxy: str | None
    #: The name in the server's certificate where it is not the URL's.
    tls_server_name: str | None


def load_access(place: ClusterPlace) -> Access:
    """Read the credentials; called again after a 401, since tokens are rotated in their files.

    Raises ClusterUnreachable where kr8s is not installed or nothing names a cluster, and
    ClusterDenied for credentials that cannot be read. No message quotes what was read.
    """
    api = _library().Api
    # Imported with kr8s, which needs it.
    import anyio  # noqa: PLC0415

    if place.kubeconfig is not None and not place.kubeconfig.exists():
        raise ClusterUnreachable(
            f"the kubeconfig `{place.kubeconfig}` does not exist",
            hint="check `[kubernetes] kubeconfig`",
        )
    if not place.is_there():
        raise ClusterUnreachable(
            "there is no kubeconfig, and this is no pod with an account of its own",
            hint="export KUBECONFIG=…   # or set `[kubernetes] kubeconfig`",
        )
    before = set(os.listdir(tempfile.gettempdir()))  # noqa: PTH208 - names are all it takes
    auth = api(
        bypass_factory=True,
        kubeconfig=place.given(),
        context=place.context,
        serviceaccount=str(place.service_account),
    ).auth
    try:
        with _without_dsn():
            anyio.run(auth.reauthenticate)
        tls = anyio.run(auth.ssl_context)
    except Exception as error:  # noqa: BLE001 - a kubeconfig can be wrong in any way
        # Not its text: what is said may quote a token.
        raise ClusterDenied(
            f"the credentials for the cluster cannot be read ({type(error).__name__})",
            hint="kubectl auth whoami",
        ) from None
    finally:
        _sweep((auth.client_key_file, auth.client_cert_file, auth.server_ca_file), before)
    token = (auth.token or "").strip()
    return Access(
        server=auth.server.rstrip("/"),
        namespace=_namespace(place, auth.active_context, auth.namespace),
        token=Secret(token) if token else None,
        tls=tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context(),
        proxy=auth.proxy,
        tls_server_name=auth.tls_server_name,
    )


def _library() -> ModuleType:
    try:
        return import_module("kr8s")
    except ImportError:
        raise ClusterUnreachable(
            "to talk to Kubernetes, this program needs its extra `kubernetes`",
            hint="pip install 'alexandria-backup[kubernetes]'",
        ) from None


@contextmanager
def _without_dsn() -> Iterator[None]:
    """Hide our DSN from exec plug-ins: kr8s gives them this process's whole environment."""
    hidden = [name for name in os.environ if name.startswith("ALEXANDRIA_") and "DSN" in name]
    kept = {name: os.environ.pop(name) for name in hidden}
    try:
        yield
    finally:
        os.environ.update(kept)


def _sweep(paths: tuple[object, ...], before: set[str]) -> None:
    """Remove the keys that kr8s has written out of a kubeconfig and would leave behind."""
    folder = Path(tempfile.gettempdir())
    for path in (Path(str(given)) for given in paths if given is not None):
        if path.parent == folder and path.name not in before:
            path.unlink(missing_ok=True)


def _namespace(place: ClusterPlace, context: str, found: str) -> str:
    """Return the namespace that was asked for, the pod's, or the context's."""
    if place.namespace:
        return place.namespace
    if not context and place.in_pod():
        # kr8s never gets this far: to it, the namespace is `default` by then.
        try:
            return (place.service_account / "namespace").read_text(encoding="utf-8").strip()
        except OSError:
            return _DEFAULT_NAMESPACE
    return found or _DEFAULT_NAMESPACE
