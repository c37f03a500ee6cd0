"""`alexandria backup`: configuration, tools and knowledge store in one file."""

import sys
from typing import Annotated

import typer

from alexandria_backup.cli.bundle_text import backup_text
from alexandria_backup.cli.invocation import DsnFile, Json, Plan, invocation_of
from alexandria_backup.cli.plan_or_run import plan_or_run
from alexandria_backup.cli.warnings_of_run import remember_warnings
from alexandria_backup.errors import UsageError
from alexandria_backup.events import Note
from alexandria_backup.sealing.blocks import Compression


def command(
    context: typer.Context,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            help="A path, a folder, a URL, or `-` for standard output; default: a file of today, "
            "`alexandria-backup-YYYY-MM-DD.tar.gz`, here.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file of this name.")
    ] = False,
    compress: Annotated[
        Compression | None, typer.Option(help="How it is packed; default: `bundle.compress`.")
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AGE",
            help="Seal it to this age recipient (`age1…`); may be given several times.",
        ),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Leave out what is declared secret.")
    ] = False,
    models: Annotated[bool, typer.Option("--models", help="Take models, too.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read it back in full when it is stored.")
    ] = False,
    dsn_file: DsnFile = None,
    plan: Plan = False,
    json: Json = False,
) -> None:
    """Back up configuration, tools and knowledge store into one file; no database."""
    if context.invoked_subcommand is not None:
        return
    if output == "-":
        _refuse_for_a_stream(extras=json or verify, plan=plan)
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    create = wiring.bundles.create(
        output=output,
        stdout=sys.stdout.buffer if output == "-" else None,
        overwrite=overwrite,
        compress=compress,
        recipients=tuple(recipient or ()),
        redact=redact,
        models=models,
        read_back=verify,
    )
    if output == "-" and not plan:
        # Standard output carries the bundle itself.
        summary = create.run(lambda _: None)
        invocation.emit(Note(message=backup_text(summary)))
        remember_warnings(invocation, summary)
        return
    done = plan_or_run(invocation, create, plan=plan, confirm=lambda _: None, text=backup_text)
    if done is not None:
        remember_warnings(invocation, done)


def _refuse_for_a_stream(*, extras: bool, plan: bool) -> None:
    if extras:
        raise UsageError("with `--output -` there is neither `--json` nor `--verify`")
    if not plan and sys.stdout.isatty():
        raise UsageError("a bundle is not written to a terminal", hint="add `> FILE`")
