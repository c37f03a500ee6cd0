"""The application's audit chain: where it is, how and with which keys it is sealed, its anchors."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError, model_validator

from alexandria_backup.audit.encodings import LENGTH_PREFIXED
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import Recipe, recipe_named
from alexandria_backup.audit.recipe_choices import Genesis, Previous
from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.settings.section import Section
from alexandria_backup.settings.types import (
    Hidden,
    KeyEncoding,
    Location,
    UserPath,
    Words,
    json_text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AuditKeySettings(Section):
    """One key of a chain whose key was rotated: `[[audit.keys]]`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    file: UserPath
    encoding: KeyEncoding | None = None
    #: Rows made from `since` on and before `until` are sealed with it.
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since and self.until and self.since >= self.until:
            raise ValueError("`since` must be before `until`")
        return self

    def load(self) -> AuditKey:
        """Read the key; raises CredentialsNotFound and WrongKey."""
        key = AuditKey.load(self.file, self.encoding)
        return key.in_use(self.name, _microseconds(self.since), _microseconds(self.until))


class RecipeSettings(Section):
    """How an application computes its HMACs: `[audit.recipes.NAME]`; see `audit-recipe.md`."""

    version: int = 1
    #: The first bytes of each message, as text.
    domain: str = ""
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()
    encoding: str = LENGTH_PREFIXED
    null: str = ""
    parse: tuple[str, ...] = ()
    timestamps: str = "epoch-microseconds"
    previous: Previous = Previous.RAW_LAST
    output: Output = Output.HEX
    genesis: str = Genesis.ZEROS
    per_tenant: bool = False

    def recipe(self, name: str) -> Recipe:
        """Return the recipe; raises SettingsInvalid where it cannot be one."""
        return Recipe(
            name=name,
            version=self.version,
            domain=self.domain.encode(),
            fields=self.fields,
            optional=frozenset(self.optional),
            encoding=self.encoding,
            null=self.null,
            parse=frozenset(self.parse),
            timestamps=self.timestamps,
            previous=self.previous,
            output=self.output,
            start=self.genesis,
            per_tenant=self.per_tenant,
        )


def recipe_of(told: Mapping[str, Any], name: str) -> Recipe:
    """Return the recipe that a file of vectors holds; raises SettingsInvalid with what is wrong."""
    try:
        return RecipeSettings(**told).recipe(name)
    except ValidationError as error:
        problems = [
            f"`recipe.{'.'.join(map(str, one['loc']))}`: {one['msg'][:1].lower()}{one['msg'][1:]}"
            for one in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise SettingsInvalid(
            "; ".join(problems), hint="see docs/reference/audit-recipe.md"
        ) from None


class AuditSettings(Section):
    """The application's audit chain."""

    required: bool | None = Field(
        None,
        description="Whether a chain that could not be verified is an error; default: yes where "
        "a chain was found.",
    )
    table: str | None = Field(
        None, description="The table, as `schema.name`; default: found by its columns."
    )
    columns: Annotated[dict[str, str], BeforeValidator(json_text)] = Field(
        default_factory=dict,
        description="Names of columns by role (`id`, `hmac`, `prev_hmac`, `created_at`, …), where "
        'they are not the usual ones: `[audit.columns] principal = "actor"`.',
    )
    recipe: str = Field(
        "alexandria-v1",
        description="How a row's HMAC is computed: a built-in recipe, or one of `audit.recipes`.",
    )
    recipes: Annotated[dict[str, RecipeSettings], BeforeValidator(json_text)] = Field(
        default_factory=dict,
        description="Recipes of your own, each a table `[audit.recipes.NAME]`.",
    )
    key_file: UserPath | None = Field(None, description="A file that holds the key of the HMACs.")
    key: Hidden | None = Field(
        None, description="The key itself: in the variable only, never in the file."
    )
    key_secret: str | None = Field(
        None,
        pattern=r"^[^/]+/[^/]+$",
        description="Where the key is in the cluster: `SECRET/KEY`, in the namespace of "
        "`[kubernetes]`.",
    )
    key_vault: str | None = Field(
        None,
        pattern=r"^[^/].*/[^/]+$",
        description="Where the key is in Vault: `PATH/FIELD`, below the mount of `[vault]`.",
    )
    key_encoding: KeyEncoding | None = Field(
        None, description="How the key is written: `raw`, `hex` or `base64`; default: tried."
    )
    keys: Annotated[tuple[AuditKeySettings, ...], BeforeValidator(json_text)] = Field(
        (),
        description="Several keys, where the key was rotated, each a table `[[audit.keys]]` with "
        "`name`, `file`, `encoding`, `since` and `until`: a row made in this time is sealed "
        "with it.",
    )
    anchor_to: Location | None = Field(
        None,
        description="Where `audit anchor` puts signed notes, and where `audit verify` looks for "
        "them: a path or URL that the database's administrators cannot write to.",
    )
    anchors: Words = Field(
        (),
        description="Further signed notes that `audit verify` compares with: paths or URLs.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = (self.key_file, self.key, self.key_secret, self.key_vault, self.keys)
        if sum(map(bool, sources)) > 1:
            raise ValueError(
                "set one of `key_file`, `key_secret`, `key_vault`, `keys` and the variable of `key`"
            )
        return self

    def chosen_recipe(self) -> Recipe:
        """Return the recipe that is set, with the names of columns; raises SettingsInvalid."""
        own = {name: settings.recipe(name) for name, settings in self.recipes.items()}
        return recipe_named(self.recipe, own).with_columns(self.columns)

    def loaded_key(self) -> AuditKey | KeyRing | None:
        """Return the key or keys of this machine, None where none is set.

        Raises CredentialsNotFound and WrongKey.
        """
        if self.key_file is not None:
            return AuditKey.load(self.key_file, self.key_encoding)
        if self.key is not None:
            return AuditKey.given(self.key, self.key_encoding, source="`ALEXANDRIA_AUDIT__KEY`")
        return KeyRing(tuple(key.load() for key in self.keys)) if self.keys else None


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // timedelta(microseconds=1)
