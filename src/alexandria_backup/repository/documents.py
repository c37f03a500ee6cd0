"""Documents of a repository: JSON that begins with its role, and who signed it.

A signature covers the exact text, and the text holds the role and the repository's id; so nothing
that was signed as something else, or for another repository, can stand in a document's place. The
form is a C2SP signed note where there is a key, and the bare JSON where there is none.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from alexandria_backup.errors import ManifestInvalid, RepositoryInvalid, SnapshotDamaged
from alexandria_backup.repository.manifest_parts import Part
from alexandria_backup.sealing.signing import SigningKey, TrustedKey, open_note, sign_note

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, kw_only=True)
class Opened(Generic[P]):
    """A document that was read, and which trusted keys vouch for it."""

    document: P
    #: Names of trusted keys with a good signature; empty where none is trusted or none signed.
    signers: tuple[str, ...]
    #: Whether it carries signatures at all, believed or not.
    signed: bool


@dataclass(frozen=True, kw_only=True)
class Form(Generic[P]):
    """How the documents of one role are written and read."""

    #: The role, which is also what messages call it: `ledger entry`.
    role: str
    model: type[P]
    #: The version that is written and read.
    version: int
    #: Bytes; nothing larger is read.
    largest: int
    #: What is raised for one that is malformed.
    invalid: type[SnapshotDamaged] = RepositoryInvalid

    def encode(self, document: P, key: SigningKey | None) -> bytes:
        """Return the document's bytes; signed where there is a key."""
        text = document.model_dump_json(indent=1) + "\n"
        return (sign_note(text, key) if key is not None else text).encode()

    def decode(self, data: bytes, trusted: Sequence[TrustedKey]) -> Opened[P]:
        """Read a document.

        With trusted keys, one of them must have signed it; without, any is read, and `signers` is
        empty. Raises `invalid` for everything that is not a document of this role and version, and
        WrongKey where only others have signed. Whose repository it is of, the caller compares.
        """
        if len(data) > self.largest:
            raise self.invalid(f"the {self.role} has {len(data):,} bytes, too many to be one")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise self.invalid(f"the {self.role} is not UTF-8 text") from None
        signers: tuple[str, ...] = ()
        # The text is JSON without an empty line, so what follows one can only be signatures.
        unverified, empty_line, signatures = text.partition("\n\n")
        if trusted:
            text, signers = self._verified(text, trusted)
        elif not all(line.startswith("— ") for line in signatures.splitlines()):
            raise self._malformed("what follows it is no signature")
        else:
            # Signatures that nobody was asked to check are cut off, not believed.
            text = unverified
        return Opened(document=self._parsed(text), signers=signers, signed=bool(empty_line))

    def _verified(self, text: str, trusted: Sequence[TrustedKey]) -> tuple[str, tuple[str, ...]]:
        try:
            note = open_note(text, trusted)
        except ManifestInvalid as error:
            raise self.invalid(error.message, hint=error.hint) from error
        return note.text, note.signers

    def _parsed(self, text: str) -> P:
        self._check_head(text)
        try:
            # Strict, but for what JSON has no form of: times, tuples and names of kinds.
            return self.model.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            # Keys come from the document, and a terminal must not be shown everything.
            where = ascii(".".join(str(part) for part in first["loc"]))[1:-1]
            raise self._malformed(f"{where[:100] or 'document'}: {first['msg']}") from None

    def _check_head(self, text: str) -> None:
        """Refuse what does not say that it is of this role and version, before the rest is read.

        The model would fill in a role that is missing; something else could then stand in for it.
        """
        try:
            document = json.loads(text, object_pairs_hook=_without_doubles)
        except (ValueError, RecursionError) as error:
            raise self._malformed("it is not JSON, or is cut off") from error
        head = document if isinstance(document, dict) else {}
        if head.get("role") != self.role:
            raise self._malformed(f"its role is not `{self.role}`")
        version = head.get("format")
        if type(version) is not int:
            raise self._malformed("it names no version of its format")
        if version != self.version:
            raise self.invalid(
                f"the {self.role} has format {version!s:.20}, "
                f"and this program reads format {self.version}",
                hint="use the version of this program that wrote it, or a newer one",
            )

    def _malformed(self, reason: str) -> SnapshotDamaged:
        return self.invalid(f"the {self.role} is malformed: {reason}")


def refuse_foreign(repository: str, document_of: str | None, what: str) -> None:
    """Raise RepositoryInvalid where a document belongs to another repository."""
    if document_of != repository:
        raise RepositoryInvalid(
            f"{what} belongs to {_named(document_of)}, and this is repository `{repository}`"
        )


def _named(repository: str | None) -> str:
    return f"repository `{repository}`" if repository else "a folder of files"


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key given twice: two readers could then read two documents in one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
