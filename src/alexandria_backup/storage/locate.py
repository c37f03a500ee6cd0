"""From what a person types to a store: paths, `s3://`, `gs://`, `az://`, `file://`, `memory:`."""

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.store import AzureStore, GCSStore, S3Store

from alexandria_backup.errors import UsageError
from alexandria_backup.storage.cloud import CloudStore
from alexandria_backup.storage.cloud_errors import translated
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectStore, check_name

if TYPE_CHECKING:  # obstore has these two in its stubs alone
    from obstore.store import ClientConfig, RetryConfig

#: What `open_store` understands, for messages.
KNOWN = "a path, `file://`, `s3://`, `gs://`, `az://` or `memory:`"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(file|memory):", re.IGNORECASE)
#: A scheme, one of whose slashes was forgotten.
_HALF = re.compile(r"(s3|gs|az):/", re.IGNORECASE)
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CLOUDS = {"s3", "gs", "az"}


@dataclass(frozen=True, kw_only=True)
class CloudOptions:
    """What an object store needs to be told beyond its URL; credentials are never among it."""

    #: The server, for stores that speak a cloud's protocol elsewhere; None: the cloud's own, or
    #: what its variable says (`AWS_ENDPOINT_URL`, `AZURE_STORAGE_ENDPOINT`).
    endpoint: str | None = None
    #: Allow an endpoint without TLS; None: as `AWS_ALLOW_HTTP` says, else no.
    allow_http: bool | None = None
    #: How often a request is tried again within the store, on 5xx and broken connections.
    retries: int = 6
    #: How long a request may wait for the first or the next bytes of its answer.
    answer_timeout: timedelta = timedelta(seconds=30)
    #: The same for what sends data: the server answers when it has a whole part of 32 MiB.
    upload_timeout: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class _Location:
    """A URL taken apart. `scheme` is `path` for anything on this machine's disks."""

    scheme: str
    #: Bucket or container; empty for paths and memory.
    container: str
    #: The path, or the prefix in the container without a slash at either end.
    path: str
    #: The text ends with a slash, so that it means a folder and never one object.
    is_folder: bool


def open_store(url: str, options: CloudOptions | None = None) -> ObjectStore:
    """Return the store that a path or URL means; nothing is contacted or made yet.

    Paths may be absolute, relative (to the working directory of now) or begin with `~`. `memory:`
    is a new, empty store each time. Identities of clouds come from the environment and the
    machine; path-style addressing is S3's default here, and `AWS_VIRTUAL_HOSTED_STYLE_REQUEST`
    changes it. Raises `UsageError` for another scheme, and for a URL that carries credentials.
    """
    location = _take_apart(url)
    if location.scheme == "path":
        return LocalStore(_local(location.path))
    if location.scheme == "memory":
        if location.path:
            raise UsageError("`memory:` has no names to choose from", hint="memory:")
        return MemoryStore()
    return _open_cloud(location, options or CloudOptions())


def split_location(url: str) -> tuple[str, str]:
    """Split the path or URL of one object into the URL of its store and its name there.

    `s3://bucket/a/b.pgdump` gives `("s3://bucket/a", "b.pgdump")`, and `b.pgdump` gives
    `(".", "b.pgdump")`. Raises `UsageError` where no object is named.
    """
    location = _take_apart(url)
    folder, slash, name = location.path.rpartition("/")
    if not name or location.is_folder:
        raise UsageError(f"`{_shown(location)}` names a place and no file in it")
    check_name(name)
    if location.scheme == "path":
        return (folder or "/") if slash else ".", name
    if location.scheme == "memory":
        return "memory:", location.path
    return f"{location.scheme}://{location.container}" + (f"/{folder}" if folder else ""), name


def _take_apart(url: str) -> _Location:
    found = _SCHEME.match(url)
    if not url or "\0" in url:
        raise UsageError(f"no place is given: expected {KNOWN}")
    if found is None:
        _refuse_half_a_url(url)
        return _Location(scheme="path", container="", path=url, is_folder=url.endswith("/"))
    scheme = (found[1] or found[2]).lower()
    if scheme == "file":
        return _file_location(url)
    if scheme == "memory":
        path = url[len("memory:") :].lstrip("/")
        return _Location(scheme="memory", container="", path=path, is_folder=path.endswith("/"))
    if scheme not in _CLOUDS:
        raise UsageError(f"`{scheme}://` is not a place that can be used: expected {KNOWN}")
    container, _, path = url[found.end() :].partition("/")
    if "@" in container or "?" in url or "#" in url:
        # Never shown: what stands before `@` or after `?` may be a key or a signature.
        raise UsageError(
            f"a `{scheme}://` URL carries no credentials and no options",
            hint="set them in the environment, such as `AWS_ACCESS_KEY_ID` or `AWS_ENDPOINT_URL`",
        )
    if not _CONTAINER.fullmatch(container):
        raise UsageError(f"the `{scheme}://` URL names no bucket or container")
    trimmed = path.removesuffix("/")
    if trimmed:
        check_name(trimmed)
    return _Location(scheme=scheme, container=container, path=trimmed, is_folder=path.endswith("/"))


def _refuse_half_a_url(path: str) -> None:
    """Raise UsageError for what would be a URL with one slash more, and hardly a folder's name."""
    half = _HALF.match(path)
    if half is not None and not Path(path).exists():
        raise UsageError(
            f"`{half[1]}:` is followed by one slash only: expected {KNOWN}",
            hint=f"{half[1].lower()}://{path[half.end() :]}",
        )


def _file_location(url: str) -> _Location:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise UsageError(
            "a `file:` URL names an absolute path of this machine", hint="file:///path"
        )
    path = unquote(parts.path)
    return _Location(scheme="path", container="", path=path, is_folder=path.endswith("/"))


def _shown(location: _Location) -> str:
    if location.scheme == "path":
        return location.path
    if location.scheme == "memory":
        return "memory:"
    return f"{location.scheme}://{location.container}" + (f"/{location.path}" * bool(location.path))


def _local(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"the home folder in `{path}` is not known") from error


def _open_cloud(location: _Location, options: CloudOptions) -> CloudStore:
    allow_http = options.allow_http
    if allow_http is None:
        allow_http = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes", "on"}

    def opened(answer: timedelta, retry: timedelta) -> S3Store | GCSStore | AzureStore:
        client: ClientConfig = {
            "allow_http": allow_http,
            "connect_timeout": timedelta(seconds=10),
            "read_timeout": answer,
            # For a whole request: only a bound, because a long object may come as one answer.
            "timeout": timedelta(days=1),
        }
        retries: RetryConfig = {"max_retries": options.retries, "retry_timeout": retry}
        return _client(location, options.endpoint, client, retries)

    url = _shown(location)
    with translated(f"`{url}` could not be opened"):
        return CloudStore(
            # Silence is borne for a minute here, and the wrapper that tries again tells of it.
            opened(options.answer_timeout, timedelta(seconds=45)),
            uploads=opened(options.upload_timeout, timedelta(minutes=3)),
            url=url,
            prefix=location.path,
        )


def _client(
    location: _Location, endpoint: str | None, client: "ClientConfig", retry: "RetryConfig"
) -> S3Store | GCSStore | AzureStore:
    """Open a client; what is not given here, obstore reads from the environment itself."""
    if location.scheme == "s3":
        return S3Store(
            location.container,
            config={"endpoint": endpoint} if endpoint else None,
            client_options=client,
            retry_config=retry,
        )
    if location.scheme == "gs":
        return GCSStore(
            location.container,
            config={"base_url": endpoint} if endpoint else None,
            client_options=client,
            retry_config=retry,
        )
    return AzureStore(
        location.container,
        config={"endpoint": endpoint} if endpoint else None,
        client_options=client,
        retry_config=retry,
    )


def is_missing_folder(url: str) -> bool:
    """Tell whether a URL means a folder of this machine that does not exist."""
    location = _take_apart(url)
    return location.scheme == "path" and not _local(location.path).is_dir()
