"""What the settings make of each room: servers, application, stores, chain, keys, tools.

Everything is built when it is asked for, and imported then: a command that needs no database works
without one, and does not wait for what talks to it (ruff is told in `pyproject.toml`).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.events import Emit, Note
from alexandria_backup.settings.model import Settings
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.locate import is_missing_folder, open_store
from alexandria_backup.storage.open_retrying import open_retrying
from alexandria_backup.storage.store import ObjectStore

if TYPE_CHECKING:
    from alexandria_backup.cluster.cluster import Cluster
    from alexandria_backup.credentials.source import FoundDsn
    from alexandria_backup.postgres.client_tools import ClientTools
    from alexandria_backup.repository.opened import Repository
    from alexandria_backup.repository.trust import Keys, Pins
    from alexandria_backup.runbooks.chain_reader import ChainReader
    from alexandria_backup.runbooks.check_queries import CheckQueries
    from alexandria_backup.runbooks.servers import Servers
    from alexandria_backup.runbooks.switch_application import Application
    from alexandria_backup.sealing.signing import SigningKey, TrustedKey


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """Settings, and the objects that stand for them."""

    settings: Settings
    emit: Emit
    #: The option that goes before every other source of the DSN.
    dsn_file: Path | None = None
    #: The option that goes before `[kubernetes] namespace`.
    namespace: str | None = None
    #: The Helm values file that says whether Vault is used.
    values: Path | None = None
    #: The settings file that was read; None where there was none.
    source: Path | None = None

    @cached_property
    def found_dsn(self) -> "FoundDsn":
        """The application's DSN and where it was found."""
        from alexandria_backup.credentials.local import EnvironmentSource, FileSource
        from alexandria_backup.credentials.source import find_dsn
        from alexandria_backup.wiring.outside import secret_source, vault_source

        database = self.settings.database
        sources = (
            FileSource(given_as="--dsn-file", path=self.dsn_file, emit=self.emit),
            EnvironmentSource(variable="ALEXANDRIA_DSN", value=self.settings.dsn),
            FileSource(given_as="[database] dsn_file", path=database.dsn_file, emit=self.emit),
            vault_source(self.settings.vault, self.values, self.emit),
            secret_source(
                self.settings.kubernetes,
                self.cluster,
                self.emit,
                named=self.namespace is not None,
            ),
        )
        return find_dsn(sources)

    @property
    def checks(self) -> "CheckQueries":
        """The queries of `[application] checks`; each is its own name."""
        from alexandria_backup.runbooks.check_queries import CheckQueries

        application = self.settings.application
        return CheckQueries(
            queries={query: query for query in application.checks},
            timeout_s=application.checks_timeout_s,
        )

    @cached_property
    def cluster(self) -> "Cluster":
        """The cluster that the application may run in."""
        from alexandria_backup.wiring.outside import cluster

        return cluster(self.settings.kubernetes, self.namespace)

    @cached_property
    def servers(self) -> "Servers":
        """The application's server."""
        from alexandria_backup.credentials.local import FileSource
        from alexandria_backup.credentials.source import find_dsn
        from alexandria_backup.postgres.startup import Timeouts
        from alexandria_backup.runbooks.servers import Servers

        database = self.settings.database
        administrator = FileSource(
            given_as="[database] admin_dsn_file", path=database.admin_dsn_file, emit=self.emit
        )
        return Servers(
            application=self.found_dsn.dsn,
            administrator=find_dsn((administrator,)).dsn if administrator.configured() else None,
            timeouts=Timeouts(connect=database.connect_timeout_s, lock=database.lock_timeout_s),
        )

    @cached_property
    def application(self) -> "Application":
        """The application and what runs it."""
        from alexandria_backup.wiring.outside import secret_source

        kubernetes = self.settings.kubernetes
        secret = secret_source(kubernetes, self.cluster, self.emit, named=True)
        return self._application(from_secret=self.found_dsn.source == secret.name)

    @cached_property
    def node(self) -> "Application":
        """The application as this machine runs it, for which no database needs to be known."""
        return self._application(from_secret=False)

    def _application(self, *, from_secret: bool) -> "Application":
        from alexandria_backup.platforms.readiness import ReadinessProbe
        from alexandria_backup.runbooks.switch_application import Application
        from alexandria_backup.wiring.platforms import platform

        settings = self.settings.application
        probe = ReadinessProbe(url=settings.url, ca_file=settings.ca_file) if settings.url else None
        return Application(
            platform=platform(self.settings, self.cluster, from_secret=from_secret),
            probe=probe,
            patience_s=settings.ready_timeout_s,
        )

    def store(self, location: str) -> ObjectStore:
        """Open the store at a path or URL; raises SettingsInvalid for what is neither."""
        return open_retrying(location, emit=self.emit)

    def folder(self, location: str) -> LocalStore | None:
        """Return the store of a folder of this machine, which nothing wraps; None for a URL."""
        opened = open_store(location)
        return opened if isinstance(opened, LocalStore) else None

    @cached_property
    def repository(self) -> ObjectStore | None:
        """The store of the settings; None where none is set."""
        return self.store(self.settings.repository) if self.settings.repository else None

    @cached_property
    def state(self) -> ObjectStore:
        """The folder in which this machine keeps journals."""
        folder = self.settings.state_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsInvalid(
                f"the state folder `{folder}` cannot be made: {error.strerror}",
                hint="export ALEXANDRIA_STATE_DIR=…   # a folder that this user can write",
            ) from error
        return LocalStore(folder)

    @property
    def journal_stores(self) -> tuple[ObjectStore, ...]:
        """Where journals are kept: on this machine, and in the repository."""
        named = self.settings.repository
        # A folder that is not there yet holds no journals; whoever needs it will say so.
        if self.repository is None or (named and is_missing_folder(named)):
            return (self.state,)
        return (self.state, self.repository)

    @cached_property
    def chain(self) -> "ChainReader":
        """Recipe and key of the audit chain."""
        from alexandria_backup.runbooks.chain_reader import ChainReader
        from alexandria_backup.wiring.outside import audit_key

        audit = self.settings.audit
        return ChainReader(
            recipe=audit.chosen_recipe(),
            key=audit_key(self.settings, lambda: self.cluster, self.values, self.emit),
            table=_qualified(audit.table) if audit.table else None,
        )

    @cached_property
    def signing_key(self) -> "SigningKey | None":
        """The key that signs manifests; None where none is set."""
        from alexandria_backup.sealing.signing import SigningKey

        signing = self.settings.signing
        if signing.key_file is None:
            return None
        return SigningKey.load(signing.key_file, name=signing.key_name)

    @cached_property
    def trusted_keys(self) -> "tuple[TrustedKey, ...]":
        """The keys whose signatures are accepted; raises SettingsInvalid for what is none."""
        from alexandria_backup.sealing.signing import TrustedKey

        return tuple(TrustedKey.parse(text) for text in self.settings.signing.trusted_keys)

    @cached_property
    def opened(self) -> "Repository | None":
        """The repository of the settings; None where none is set, or it is a folder of files."""
        from alexandria_backup.repository.opened import is_repository, open_repository

        if self.repository is None:
            return None
        if is_missing_folder(self.settings.repository or "") or not is_repository(self.repository):
            return None
        repository = open_repository(self.repository, self.keys, self.pins)
        for note in repository.settled.notes:
            self.emit(Note(message=note))
        return repository

    @cached_property
    def keys(self) -> "Keys":
        """What the settings say about keys; raises WrongKey for what is none."""
        from alexandria_backup.repository.trust import Keys
        from alexandria_backup.sealing.encryption import Identity, Recipient

        encryption = self.settings.encryption
        file = encryption.identity_file
        return Keys(
            trusted=self.trusted_keys,
            recipients=tuple(Recipient.parse(text) for text in encryption.recipients),
            signing=self.signing_key,
            identities=Identity.load_all(file) if file else (),
        )

    @cached_property
    def pins(self) -> "Pins":
        """What this machine remembers of repositories."""
        from alexandria_backup.repository.trust import Pins

        return Pins(self.settings.state_dir)

    @property
    def all_trusted_keys(self) -> "tuple[TrustedKey, ...]":
        """The trusted keys, and this installation's own: it believes what it has signed itself."""
        own = (self.signing_key.trusted,) if self.signing_key is not None else ()
        return (*self.trusted_keys, *own)

    @property
    def has_repository(self) -> bool:
        """Whether there is a repository to look into: one is set, and its folder is there."""
        named = self.settings.repository
        return bool(named) and not is_missing_folder(named or "")

    def database_lock(self) -> AbstractContextManager[None]:
        """Return the lock of all runs that change the application's database."""
        from alexandria_backup.runbooks.run_lock import run_lock

        return run_lock(self.servers, self.servers.database)

    def tools(self, server_major: int) -> "ClientTools":
        """Return PostgreSQL's programs for a server of this major version."""
        from alexandria_backup.postgres.client_tools import find_client_tools

        return find_client_tools(server_major, configured=self.settings.database.client_tools)


def _qualified(table: str) -> tuple[str, str]:
    schema, _, name = table.rpartition(".")
    return schema or "public", name
