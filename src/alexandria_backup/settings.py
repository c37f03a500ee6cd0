"""`alexandria.toml` and `ALEXANDRIA_*` variables, as typed settings.

Every field can be set in both; a variable wins. A nested field's variable has two underscores:
`[audit] key_file` is `ALEXANDRIA_AUDIT__KEY_FILE`. A key that does not exist is an error that names
the nearest one: a setting that is silently ignored is how backups stop.
"""

import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG, S_IWGRP, S_IWOTH
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.secret import Secret

PREFIX = "ALEXANDRIA_"
#: The variable that names the settings file; it is no setting itself.
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
FILE_NAME = "alexandria.toml"
_SYSTEM_FILE = Path("/etc/alexandria/backup.toml")
#: What Kubernetes sets in each pod for a Service whose name begins with `alexandria`.
_SERVICE_LINK = re.compile(
    r"ALEXANDRIA_([A-Z0-9_]+_)?"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class KeyEncoding(StrEnum):
    """How a key is written in its file."""

    RAW = "raw"
    HEX = "hex"
    BASE64 = "base64"


def _list_or(split: Callable[[str], list[str]], value: object) -> object:
    """Read a variable's text: JSON where it begins with a bracket, else as `split` does."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return split(value)
    try:
        return json.loads(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _words(value: object) -> object:
    return _list_or(shlex.split, value)


def _statements(value: object) -> object:
    # One statement: SQL is full of blanks and commas, so none of them can divide two.
    return _list_or(lambda text: [text] if text.strip() else [], value)


def _keys(value: object) -> object:
    return _list_or(lambda text: text.replace(",", " ").split(), value)


def _number(value: object) -> object:
    # To Python `true` is 1.
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("it holds characters that cannot be printed")
    return value


def _path_text(value: object) -> object:
    # `Path("")` would be the working folder.
    if value == "":
        raise ValueError("the path is empty")
    return value


def _expanded(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path holds no NUL byte")
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("the home folder that `~` stands for is not known") from None


def _secret(value: object) -> object:
    return Secret(value) if isinstance(value, str) else value


Count = Annotated[int, BeforeValidator(_number)]
Seconds = Annotated[float, BeforeValidator(_number)]
Location = Annotated[str, AfterValidator(_one_line)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Hidden = Annotated[Secret, BeforeValidator(_secret)]
Statements = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_statements)]
Keys = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_keys)]
UserPath = Annotated[Path, BeforeValidator(_path_text), AfterValidator(_expanded)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


class DatabaseSettings(_Section):
    """The application's database, and how to work on its server."""

    dsn_file: UserPath | None = Field(
        None, description="A file that holds the DSN of the application's database."
    )
    admin_dsn_file: UserPath | None = Field(
        None,
        description="A file that holds the DSN of another role, and of the maintenance database, "
        "for what the application's role may not do.",
    )
    client_tools: UserPath | None = Field(
        None, description="The folder of `pg_dump` and `pg_restore`; default: found by version."
    )
    server_free_space: Count | None = Field(
        None, ge=0, description="Bytes free on the server, where they cannot be measured."
    )
    connect_timeout_s: Seconds = Field(10.0, gt=0, description="Seconds to wait for a connection.")
    lock_timeout_s: Seconds = Field(
        30.0, ge=0, description="Seconds to wait for a lock; 0: for ever."
    )
    fence_timeout_s: Seconds = Field(
        60.0, gt=0, description="Seconds to wait until sessions of a fenced database have ended."
    )
    jobs: Count = Field(2, ge=1, le=64, description="How many connections load at once.")


class ApplicationSettings(_Section):
    """The application that uses the database."""

    name: str = Field(
        "alexandria-ee",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        description="Its name: snapshots are named after it, and `latest` is per application.",
    )
    url: str | None = Field(
        None, description="Where it answers `/ready` and `/license`, such as `https://host:8443`."
    )
    ca_file: UserPath | None = Field(
        None, description="Certificates (PEM) to trust for `url` instead of the system's."
    )
    ready_timeout_s: Seconds = Field(
        300.0, gt=0, description="Seconds to wait for `/ready` after a start."
    )
    stop_command: Annotated[Words | None, NoDecode] = Field(
        None, description="The command that stops it, as a list of words; never through a shell."
    )
    start_command: Annotated[Words | None, NoDecode] = Field(
        None, description="The command that starts it."
    )
    command_timeout_s: Seconds = Field(
        120.0, gt=0, description="Seconds that each of these commands may take."
    )
    checks: Statements = Field(
        (),
        description="SQL statements that return true if restored data are good; in the variable "
        "one statement, or a JSON list.",
    )


class AuditSettings(_Section):
    """The application's audit chain."""

    required: bool | None = Field(
        None,
        description="Whether a chain that could not be verified is an error; default: yes where "
        "a chain was found.",
    )
    table: str | None = Field(
        None, description="The table, as `schema.name`; default: found by its columns."
    )
    recipe: str = Field("alexandria-v1", description="How a row's HMAC is computed.")
    key_file: UserPath | None = Field(None, description="A file that holds the key of the HMACs.")
    key_encoding: KeyEncoding | None = Field(
        None, description="How the key is written: `raw`, `hex` or `base64`; default: tried."
    )


class SigningSettings(_Section):
    """Signatures of manifests."""

    key_file: UserPath | None = Field(
        None, description="An Ed25519 private key (PEM, or its seed in base64) that signs."
    )
    key_name: str = Field("alexandria-backup", description="The name that signatures carry.")
    trusted_keys: Keys = Field(
        (),
        description="Keys whose signatures are accepted, as `name+id+base64`; where there are "
        "any, unsigned manifests are refused. In the variable with blanks or commas between.",
    )


class SnapshotSettings(_Section):
    """How a snapshot is taken."""

    pg_dump_options: Words = Field(
        ("--format=custom", "--compress=9"),
        description="Options of `pg_dump`; the paper recipe's by default.",
    )


def _default_state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where journals are kept: below XDG_STATE_HOME, or as root in /var/lib."""
    home = environ.get("XDG_STATE_HOME")
    if home:
        return Path(home) / "alexandria-backup"
    if os.geteuid() == 0:
        return Path("/var/lib/alexandria-backup")
    if not environ.get("HOME"):
        raise SettingsInvalid(
            "there is no home folder to keep journals in",
            hint="export ALEXANDRIA_STATE_DIR=/var/lib/alexandria-backup",
        )
    return Path(environ["HOME"]) / ".local" / "state" / "alexandria-backup"


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    dsn: Hidden | None = Field(
        None,
        description="The DSN itself; as a variable only, since a settings file is read by many.",
    )
    repository: Location | None = Field(
        None,
        min_length=1,
        description="Where snapshots are kept: a folder, or a URL such as `s3://bucket/dir`.",
    )
    state_dir: UserPath = Field(
        default_factory=_default_state_dir,
        description="Where this machine keeps journals; default: "
        "`$XDG_STATE_HOME/alexandria-backup`, `~/.local/state/alexandria-backup`, "
        "or for root `/var/lib/alexandria-backup`.",
    )
    database: DatabaseSettings = DatabaseSettings()
    application: ApplicationSettings = ApplicationSettings()
    audit: AuditSettings = AuditSettings()
    signing: SigningSettings = SigningSettings()
    snapshot: SnapshotSettings = SnapshotSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's form
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `load` is told the variables
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not ours to read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not used
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load` has merged, and nothing of this process's surroundings."""
        return (init_settings,)


@dataclass(frozen=True, kw_only=True)
class LoadedSettings:
    """Settings, and where they came from."""

    settings: Settings
    #: The file that was read; None where there was none.
    source: Path | None


@dataclass(frozen=True, kw_only=True)
class SettingDescription:
    """One setting, for the reference."""

    #: Such as `audit.key_file`.
    key: str
    #: Such as `ALEXANDRIA_AUDIT__KEY_FILE`.
    variable: str
    default: str
    description: str


def load(*, config: Path | None, environ: Mapping[str, str], cwd: Path) -> LoadedSettings:
    """Find and read the settings file, let the variables win, and check everything.

    The file is `config`, `ALEXANDRIA_CONFIG`, `./alexandria.toml`, the one in the user's config
    folder, or `/etc/alexandria/backup.toml`: the first that is named or exists. Relative paths in
    it are relative to its folder. One that was not named and lies in `cwd` must be root's or this
    user's, and nobody else may write it. Raises SettingsInvalid with a line per problem.
    """
    named = _named(config, environ, cwd)
    source = named or _found(environ, cwd)
    content = _read(source, guarded=named is None and source.parent == cwd) if source else {}
    problems = [*_unknown_variables(environ), *_misplaced(content, source)]
    if problems:
        raise _invalid(problems)
    given = _merged(content, _from_variables(environ))
    if "state_dir" not in given:
        given["state_dir"] = _default_state_dir(environ)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise _invalid(_explain(error, environ, source)) from None
    return LoadedSettings(settings=settings, source=source)


def describe() -> tuple[SettingDescription, ...]:
    """Return every setting, in the order of the file."""
    return tuple(
        SettingDescription(
            key=key,
            variable=_variable(key),
            default=_default(field),
            description=field.description or "",
        )
        for key, field in _fields()
    )


def _fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            yield from _fields(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "__").upper()


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default is None:
        return ""
    value = field.get_default()
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _named(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    named = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is None:
        return None
    try:
        return cwd / _expanded(named)
    except ValueError as error:
        raise SettingsInvalid(f"the settings file cannot be found: {error}") from error


def _found(environ: Mapping[str, str], cwd: Path) -> Path | None:
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '/nonexistent')}/.config"
    places = (cwd / FILE_NAME, Path(home) / "alexandria" / FILE_NAME, _SYSTEM_FILE)
    return next((place for place in places if _is_there(place)), None)


def _is_there(place: Path) -> bool:
    try:
        # Not `is_file`: from Python 3.14 on, a folder closed to us is an empty one to it.
        return S_ISREG(place.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        # Going on to the next place could lead to other settings.
        raise SettingsInvalid(f"`{place}` cannot be looked at: {error.strerror}") from error


def _read(source: Path, *, guarded: bool) -> dict[str, Any]:
    try:
        with source.open("rb") as file:
            if guarded:
                _refuse_strangers(os.fstat(file.fileno()), source)
            content = tomllib.loads(file.read().decode("utf-8"))
    except FileNotFoundError:
        raise SettingsInvalid(
            f"the settings file `{source}` does not exist", hint=f"ls {source.parent}"
        ) from None
    except OSError as error:
        raise SettingsInvalid(f"`{source}` cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"`{source}` is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        # TOML's message tells line and column, and quotes nothing.
        raise SettingsInvalid(f"`{source}` is not TOML: {error}") from None
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        raise SettingsInvalid(f"`{source}` is not usable as TOML: {said}") from None
    return _anchored(content, source.parent)


def _refuse_strangers(found: os.stat_result, source: Path) -> None:
    """Refuse a file that somebody else may have laid into the folder: its commands are run."""
    # A user's own group is no stranger: with a umask of 002, all that he makes is his group's, too.
    writable = found.st_mode & S_IWOTH or (found.st_mode & S_IWGRP and found.st_gid != os.getegid())
    if found.st_uid in {0, os.geteuid()} and not writable:
        return
    how = "can be written by others" if writable else "belongs to another user"
    raise SettingsInvalid(
        f"`{source}` {how}, and is read only where it is named: its commands would be run",
        hint=f"alexandria --config ./{FILE_NAME} …",
    )


def _anchored(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths in the file relative to the file."""
    for key, field in _fields():
        *sections, name = key.split(".")
        table: Any = content
        for section in sections:
            table = table.get(section) if isinstance(table, dict) else None
        value = table.get(name) if isinstance(table, dict) else None
        if not isinstance(value, str) or not value or value.startswith("~"):
            continue
        if _is_path(field) or (key == "repository" and ":" not in value.partition("/")[0]):
            table[name] = str(folder / value)
    return content


def _is_path(field: FieldInfo) -> bool:
    kinds = (field.annotation, *get_args(field.annotation))
    return any(kind is Path or get_args(kind)[:1] == (Path,) for kind in kinds)


def _from_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings)
    known = {_variable(key) for key, _ in _fields()}
    source.env_vars = {name.lower(): value for name, value in environ.items() if name in known}
    return source()


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(under, dict) and isinstance(value, dict)
        result[key] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return result


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = [_variable(key) for key, _ in _fields()] + [CONFIG_VARIABLE]
    for name in environ:
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.fullmatch(name):
            yield f"the variable `{name}` is no setting{_nearest(name, known)}"


def _misplaced(content: Mapping[str, Any], source: Path | None) -> Iterator[str]:
    if "dsn" in content:
        yield (
            f"`dsn` does not belong into `{source}`, which others may read: "
            f"put it into a file of mode 0600 and name that as `[database] dsn_file`"
        )
    known = [key for key, _ in _fields()]
    for name, value in content.items():
        # Here and not by pydantic: its settings take keys with an underscore for their own options.
        field = Settings.model_fields.get(name)
        if field is None:
            yield f"{_shown(name)} in `{source}` is no setting{_nearest(name, known)}"
        elif _is_section(field) and not isinstance(value, dict):
            yield f"`{name}` in `{source}` is wrong: it is a section, written `[{name}]`"


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, _Section)


def _shown(name: str) -> str:
    return f"`{name}`" if name.isprintable() else ascii(name)


def _explain(
    error: ValidationError, environ: Mapping[str, str], source: Path | None
) -> Iterator[str]:
    keys = [key for key, _ in _fields()]
    keys += sorted({key.partition(".")[0] for key in keys})
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        key = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
        given_in = (
            f"the variable `{_variable(key)}`"
            if _variable(key) in environ
            else f"`{key}` in `{source}`"
        )
        if problem["type"] == "extra_forbidden":
            yield f"{_shown(key)} in `{source}` is no setting{_nearest(key, keys)}"
        else:
            said = problem["msg"].removeprefix("Value error, ")
            yield f"{given_in} is wrong: {said[:1].lower()}{said[1:]}"


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; the nearest is `{near[0]}`" if near else ""


def _invalid(problems: "Iterator[str] | list[str]") -> SettingsInvalid:
    return SettingsInvalid("; ".join(problems), hint="see docs/reference/settings.md")
