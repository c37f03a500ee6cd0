"""`alexandria repository init`: make a repository, or take over other keys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.repository.making import Made
from alexandria_backup.repository.new_keys import NewKeys


@dataclass(frozen=True, kw_only=True)
class Line:
    """What was made, as `--json` shows it."""

    repository: str
    url: str
    created: bool
    keys_changed: bool
    #: `age1…`; empty where it is not encrypted.
    recipients: tuple[str, ...]
    trusted_keys: tuple[str, ...]
    #: The ledger's heads.
    heads: tuple[str, ...]
    #: Of `--new-keys`; None where they were there before.
    identity_file: Path | None
    signing_file: Path | None


def command(
    context: typer.Context,
    *,
    new_keys: Annotated[
        Path | None,
        typer.Option(
            "--new-keys", help="Make an identity and a signing key in this folder, and use them."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make the place of the settings a repository; a second time changes only its keys.

    With recipients, what is sealed to them must first be opened again with the identity.
    """
    invocation = invocation_of(context)
    repositories = invocation.wiring(json=json).repositories
    keys = repositories.new_keys(new_keys) if new_keys else None
    line = _line(repositories.init(keys), keys)
    invocation.renderer.result(line, _text(line))


def _line(made: Made, keys: NewKeys | None) -> Line:
    repository = made.repository
    return Line(
        repository=repository.id,
        url=repository.store.url,
        created=made.created,
        keys_changed=made.keys_changed,
        recipients=tuple(str(recipient) for recipient in repository.recipients),
        trusted_keys=tuple(str(key) for key in repository.trusted),
        heads=made.heads,
        identity_file=keys.identity_file.absolute() if keys else None,
        signing_file=keys.signing_file.absolute() if keys else None,
    )


def _text(line: Line) -> str:
    said = (
        "made" if line.created else "its keys are others now" if line.keys_changed else "as it was"
    )
    lines = [
        f"repository  {line.repository} in {line.url}: {said}",
        f"encrypted   {'to ' + ', '.join(line.recipients) if line.recipients else 'no'}",
        f"signed      {'by ' + ', '.join(line.trusted_keys) if line.trusted_keys else 'no'}",
        f"head        {', '.join(line.heads)}",
    ]
    if line.identity_file and line.signing_file:
        recipients = ", ".join(f'"{recipient}"' for recipient in line.recipients)
        trusted = ", ".join(f'"{key}"' for key in line.trusted_keys)
        lines += [
            "",
            "# add to the settings:",
            f"encryption.recipients = [{recipients}]",
            f'signing.key_file = "{line.signing_file}"',
            f"signing.trusted_keys = [{trusted}]",
            f"# then move {line.identity_file} to a safe place off this machine:",
            "# whoever has it can read every snapshot, and without it nobody can",
        ]
    return "\n".join(lines)
