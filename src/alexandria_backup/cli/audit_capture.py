"""`alexandria audit capture`: keep evidence before anybody touches a row; and verify it."""

from pathlib import Path
from typing import Annotated

import typer

from alexandria_backup.cli.commands import PLAIN
from alexandria_backup.cli.invocation import DsnFile, Json, invocation_of
from alexandria_backup.errors import UsageError

app = typer.Typer(
    help="Keep the rows that the findings name, their neighbours and verdicts, signed.",
    rich_markup_mode=PLAIN,
    invoke_without_command=True,
)


@app.callback()
def command(
    context: typer.Context,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="The new file, such as `evidence.zip`.")
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Why, in a sentence; it stands in the evidence.")
    ] = "not given",
    operator: Annotated[
        str | None, typer.Option("--operator", help="Who makes it; default: this user.")
    ] = None,
    through: Annotated[
        str | None,
        typer.Option("--through", help="Capture the first rows through this id, to retire them."),
    ] = None,
    dsn_file: DsnFile = None,
    json: Json = False,
) -> None:
    """Keep the rows that the findings name, their neighbours and verdicts, under one signature."""
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise UsageError(
            "no file is named for the evidence", hint="alexandria audit capture --out evidence.zip"
        )
    invocation = invocation_of(context)
    audits = invocation.wiring(json=json, dsn_file=dsn_file).audits
    made = audits.capture(out, reason=reason, operator=operator, through=through)
    lines = [
        f"captured  {made.facts.rows:,} rows of `{made.facts.table}`: {made.facts.scope}",
        f"verdict   {made.facts.summary}",
        f"file      {out}",
        f"sha256    {made.sha256}",
        f"signed by {', '.join(made.signers)}",
    ]
    invocation.renderer.result(
        {"path": out, "sha256": made.sha256, "signers": made.signers, **vars(made.facts)},
        "\n".join(lines),
    )


@app.command("verify")
def verify(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The file.")],
    *,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY", help="A public key, `name+id+base64`; default: the settings'."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check evidence with nothing but the file and the public key."""
    invocation = invocation_of(context)
    opened = invocation.wiring(json=json).audits.opened_capture(path, key or ())
    facts = opened.facts
    lines = [
        f"good      signed by {', '.join(opened.signers)}",
        f"captured  {facts.rows:,} rows of `{facts.table}` in `{facts.database}`, "
        f"{facts.at:%Y-%m-%d %H:%M:%S} UTC, by {facts.operator} on {facts.host}",
        f"verdict   {facts.summary}",
        f"sha256    {opened.sha256}",
    ]
    lines += [f"note: {limit}" for limit in facts.limits]
    invocation.renderer.result(
        {"sha256": opened.sha256, "signers": opened.signers, **vars(facts)}, "\n".join(lines)
    )
