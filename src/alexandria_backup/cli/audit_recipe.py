"""`alexandria audit recipe`: find out how rows are sealed, by vectors and byte by byte."""

from pathlib import Path
from typing import Annotated

import typer

from alexandria_backup.audit.vectors import Tried
from alexandria_backup.cli.commands import PLAIN
from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of
from alexandria_backup.errors import AuditUnverified, UsageError

app = typer.Typer(
    help="Check the recipe of the audit chain.", no_args_is_help=True, rich_markup_mode=PLAIN
)


@app.command("test")
def command(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="Test vectors: TOML, or JSON where it ends in `.json`.")
    ] = None,
    *,
    show_message: Annotated[
        str | None,
        typer.Option("--show-message", help="Print the bytes that are sealed for this row's id."),
    ] = None,
    dsn_file: DsnFile = None,
    json: Json = False,
) -> None:
    """Compute vectors, or a row of the database, and say which fit."""
    invocation = invocation_of(context)
    if file is None and show_message is None:
        raise UsageError(
            "no vectors and no row are named", hint="alexandria audit recipe test --show-message ID"
        )
    audits = invocation.wiring(json=json, dsn_file=dsn_file).audits
    tried = audits.tried(file, show_message)
    lines = [line for one in tried for line in _lines(one, shown=show_message is not None)]
    invocation.renderer.result({"rows": tried}, "\n".join(lines))
    wrong = sum(not one.fits for one in tried)
    if wrong:
        raise AuditUnverified(
            f"{wrong:,} of {len(tried):,} rows do not fit the recipe",
            hint="alexandria audit recipe test FILE --show-message ID",
        )


@app.command("sql")
def sql(context: typer.Context, *, dsn_file: DsnFile = None, json: Json = False) -> None:
    """Print the recipe as a SQL function, for writers in other languages."""
    invocation = invocation_of(context)
    statement = invocation.wiring(json=json, dsn_file=dsn_file).audits.append_function()
    invocation.renderer.result({"sql": statement}, statement)


def _lines(tried: Tried, *, shown: bool) -> list[str]:
    verdict = "fits" if tried.fits else "does not fit"
    lines = [f"{verdict}: row `{tried.id}`"]
    if tried.problem is not None:
        lines.append(f"  {tried.problem}")
    if shown or not tried.fits:
        lines += [f"  message  {tried.message}"] if tried.message is not None else []
        lines.append(f"  computed {tried.computed or 'nothing: no key is set'}")
        lines.append(f"  stored   {tried.stored or 'nothing'}")
    return lines
