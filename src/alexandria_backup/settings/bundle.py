"""What goes into bundles, and how they are made."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.settings.section import Section
from alexandria_backup.settings.types import Count, Location, UserPath, Words, json_text

SetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]

CONFIG = "/etc/alexandria"
DATA = "/var/lib/alexandria"

DEFAULT_SETS: dict[str, tuple[str, ...]] = {
    "config": (CONFIG, "/etc/containers/systemd/alexandria*"),
    "tools": (f"{DATA}/tools", f"{DATA}/agents"),
    "knowledge": (f"{DATA}/stores", f"{DATA}/knowledge"),
}


class BundleSettings(Section):
    """Bundles of configuration, tools and knowledge store."""

    sets: Annotated[dict[SetName, Words], BeforeValidator(json_text)] = Field(
        DEFAULT_SETS,
        description="The sets of a bundle: each a name, and the paths and patterns that belong to "
        "it. In the variable as JSON.",
    )
    required: Words | None = Field(
        None,
        description="Which of these paths and patterns must lead to something; default: "
        f"`{CONFIG}` where a set has it.",
    )
    exclude: Words = Field(
        (
            "*.db-wal", "*.db-shm", "*.db-journal", "*.sqlite-wal", "*.sqlite-shm",
            "*.sqlite-journal", "*.sqlite3-wal", "*.sqlite3-shm", "*.sqlite3-journal",
            "cache/", ".cache/", "__pycache__/", "*.part", "*.tmp", "*.sock",
        ),
        description="Patterns of what is left out: without a slash they are compared with the "
        "name, with one with the whole path, and with one at the end with folders alone.",
    )  # fmt: skip
    models: bool = Field(
        False, description="Whether models go in; they are large, and can be fetched again."
    )
    model_patterns: Words = Field(
        ("models/", "*.gguf", "*.safetensors", "*.onnx"), description="What counts as a model."
    )
    secrets: Words = Field(
        ("*.key", "*.pem", "*.p12", "*.pfx", "*.env", ".env", "*secret*", "*password*", "*.token"),
        description="Patterns of what holds secrets and is left out by `--redact`, besides the "
        "files of DSNs and of the audit key that these settings name.",
    )
    settle: Words = Field(
        ("*.faiss", "*.index", "*.hnsw", "*.usearch", "*.annoy"),
        description="Patterns of indexes that are copied until they hold still, then packed.",
    )
    staging_dir: UserPath | None = Field(
        None,
        description="Where one copy at a time lies of a database or an index in use; default: the "
        "system's folder for temporary files.",
    )
    output: Location | None = Field(
        None,
        min_length=1,
        description="Where bundles go where `--output` does not say: a path, a folder or a URL; "
        "default: the working folder.",
    )
    compress: Literal["gzip", "zstd"] = Field("gzip", description="How bundles are packed.")
    threads: Count | None = Field(
        None,
        ge=1,
        le=64,
        description="How many threads pack, and how many processes, four at most, read where "
        "there are many small files; default: one per processor.",
    )

    def must_have(self) -> tuple[str, ...]:
        """Return the paths and patterns that must lead to something.

        SettingsInvalid where one of them is in no set.
        """
        there = {path for paths in self.sets.values() for path in paths}
        if self.required is None:
            return (CONFIG,) if CONFIG in there else ()
        for path in self.required:
            if path not in there:
                raise SettingsInvalid(
                    f"`{path}` in `bundle.required` is in none of `bundle.sets`",
                    hint="write it there as it stands in a set",
                )
        return self.required
