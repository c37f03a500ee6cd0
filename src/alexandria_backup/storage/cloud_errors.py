"""What obstore's errors mean, translated once.

obstore raises few types; the HTTP status, the server's error code and the kind of a transport
failure stand only in the text, in the debug form of the Rust crate `object_store`. Messages are
built from these three alone: the rest of the text may hold URLs that are signed.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions as vendor

from alexandria_backup.errors import (
    ObjectExists,
    ObjectMissing,
    StorageError,
    StoreDenied,
    StoreFull,
    StoreUnreachable,
)

#: The types that say all by themselves; `GenericError` is told apart by its text. Kept complete by
#: a test that walks `obstore.exceptions`.
MEANINGS: dict[type[Exception], type[StorageError]] = {
    FileNotFoundError: ObjectMissing,
    vendor.NotFoundError: ObjectMissing,
    vendor.AlreadyExistsError: ObjectExists,
    vendor.PermissionDeniedError: StoreDenied,
    vendor.UnauthenticatedError: StoreDenied,
    vendor.PreconditionError: StorageError,
    vendor.NotModifiedError: StorageError,
    vendor.NotSupportedError: StorageError,
    vendor.InvalidPathError: StorageError,
    vendor.JoinError: StorageError,
    vendor.UnknownConfigurationKeyError: StorageError,
    vendor.GenericError: StorageError,
    vendor.BaseError: StorageError,
    NotImplementedError: StorageError,
    ValueError: StorageError,
    # Of streamed writes, whose errors pass through Rust's `std::io`.
    OSError: StorageError,
    FileExistsError: ObjectExists,
    PermissionError: StoreDenied,
}

#: Everything that a call of obstore raises.
VENDOR_ERRORS = tuple(MEANINGS)

_STATUS = re.compile(r"status code: (\d{3})|\bstatus: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
#: S3's and Azure's names for a bucket or container that is not there.
_NO_CONTAINER = re.compile(r"NoSuchBucket|ContainerNotFound|The specified bucket does not exist")
_FULL = re.compile(r"QuotaExceeded|StorageFull|InsufficientStorage|EntityTooLarge|NoSpaceLeft")
#: Where the clouds give a machine its identity; asked when nothing else was configured.
_METADATA = re.compile(r"://(?:169\.254\.\d+\.\d+|\[fd00:ec2::254\]|metadata\.google\.internal)")
_HINTS: dict[type[StorageError], str] = {
    StoreDenied: "give these credentials the right to read, write, list and delete there",
    StoreFull: "raise the quota there, or choose another place",
    StoreUnreachable: "check the network and the endpoint (such as `AWS_ENDPOINT_URL`), then again",
}
#: `Unknown` is, among others, an answer that is none of HTTP's: something in between has failed.
_TRANSPORT = {"Connect", "Timeout", "Interrupted", "Request", "Decode", "Unknown"}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn an error of obstore into one of ours; `what` says what happened to what."""
    try:
        yield
    except VENDOR_ERRORS as error:
        raise translate(error, what) from error


def translate(error: Exception, what: str) -> StorageError:
    """Return the error of ours that an error of obstore means."""
    text = str(error)
    if _METADATA.search(text):
        return StoreDenied(
            f"{what}: no credentials were found",
            hint="set the cloud's variables (such as `AWS_ACCESS_KEY_ID`), or attach a role",
        )
    if _NO_CONTAINER.search(text):
        return StorageError(
            f"{what}: the bucket or container does not exist",
            hint="make it with the cloud's own tools, or set `ALEXANDRIA_REPOSITORY` to another",
        )
    if "BadScheme" in text:
        return StorageError(
            f"{what}: the endpoint is plain http, which is not allowed",
            hint="export AWS_ALLOW_HTTP=true",
        )
    if "MissingAccount" in text:
        return StorageError(
            f"{what}: no storage account is named", hint="export AZURE_STORAGE_ACCOUNT_NAME=…"
        )
    known = next((MEANINGS[kind] for kind in type(error).__mro__ if kind in MEANINGS), StorageError)
    status = status_of(error)
    meaning = known if known is not StorageError else _meaning(text, status)
    return meaning(f"{what}: {_reason(error, text, status)}", hint=_HINTS.get(meaning))


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that an error of obstore reports, if it reports one."""
    found = _STATUS.search(str(error))
    return int(found[1] or found[2]) if found else None


def ignores_ranges(error: Exception) -> bool:
    """Tell whether a server answered a request for a range with something else."""
    return "NotPartial" in str(error)


def _meaning(text: str, status: int | None) -> type[StorageError]:
    if status == 507 or _FULL.search(text):
        return StoreFull
    if status in {401, 403}:
        return StoreDenied
    if status in {408, 429} or (status is not None and status >= 500 and status != 501):
        return StoreUnreachable
    kind = _KIND.search(text)
    return StoreUnreachable if status is None and kind and kind[1] in _TRANSPORT else StorageError


def _reason(error: Exception, text: str, status: int | None) -> str:
    code = _CODE.search(text)
    if status is not None:
        return f"the server answered {status}" + (f" `{code[1]}`" if code else "")
    kind = _KIND.search(text)
    if kind:
        return {
            "Connect": "no connection",
            "Timeout": "no answer in time",
            "Interrupted": "the connection was cut",
            "Unknown": "the answer was not understood",
        }.get(kind[1], "the request failed")
    line = text.partition("\n")[0]
    return type(error).__name__ if "://" in line or not line else line[:200]
