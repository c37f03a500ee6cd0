"""The states of the runs that make, restore, roll back and give up bundles."""

from pydantic import AwareDatetime, BaseModel, ConfigDict

from alexandria_backup.runbooks.step import RunState
from alexandria_backup.runbooks.stopping import StoppingState
from alexandria_backup.sealing.blocks import Compression


class BackupState(RunState):
    """The state of the making of a bundle."""

    #: Where it goes, for a person.
    output: str
    #: The folder or URL prefix, and the name in it; both None for standard output.
    store: str | None
    name: str | None
    #: Whether a bundle of that name may be replaced.
    overwrite: bool = False
    compress: Compression
    #: Whether models go in, too.
    models: bool = False
    redacted: bool = False
    #: Whether the bundle is read back in full when it is stored.
    read_back: bool = False
    created: AwareDatetime | None = None
    #: Bytes that the files have, as far as a look at them tells.
    expected_bytes: int = 0
    #: The newest snapshot of the database; None where there is no repository, or none in it.
    snapshot: str | None = None
    #: Bytes of the bundle; None until it is stored.
    bytes: int | None = None
    content_bytes: int = 0
    entries: int = 0
    left_out: int = 0
    problems: int = 0
    #: Whom it is sealed to; empty: to nobody.
    recipients: tuple[str, ...] = ()
    signed: bool = False


class Root(BaseModel):
    """A path that is exchanged as one thing: by two renames within its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    set_name: str
    #: As in the bundle: an absolute path.
    root: str
    #: Where it lies on this machine.
    target: str
    #: What is to lie there; None: nothing, as before the run that is rolled back.
    incoming: str | None
    #: Device and inode of `incoming`: a rename keeps them, so they tell whether it was done.
    identity: tuple[int, int] | None = None
    #: Where that goes which lies there now.
    kept: str


class SwapState(StoppingState):
    """What an exchange of roots needs to know."""

    roots: tuple[Root, ...] = ()
    #: What was replaced, where it lies now; known once it was exchanged.
    kept: tuple[str, ...] = ()
    #: Whether this is the machine's own place, so that the application is stopped meanwhile.
    live: bool = False


class BundleRestoreRequest(BaseModel):
    """What was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    #: The bundle: an absolute path or a URL.
    source: str
    #: The folder that stands for the machine's `/`.
    to: str
    #: None: all that are in the bundle.
    sets: tuple[str, ...] | None = None


class BundleRestoreState(SwapState):
    """The state of the restore of a bundle."""

    request: BundleRestoreRequest
    bundle: str = ""
    host: str = ""
    created: AwareDatetime | None = None
    signers: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    #: The manifest's digest: what was found must be what is extracted.
    sha256: str = ""
    entries: int = 0
    bytes: int = 0
    #: What could not be given back; those fields are then not compared.
    not_given: tuple[str, ...] = ()


class BundleRollbackState(SwapState):
    """The state of the way back from a restore of a bundle."""

    of_run: str


class BundleAcceptState(RunState):
    """The state of giving up what a restore of a bundle has kept."""

    of_run: str
    #: What is removed.
    kept: tuple[str, ...] = ()
