"""`alexandria restore`: bring a snapshot back beside the live database, prove it, swap it in."""

from typing import Annotated

import typer

from alexandria_backup.cli.confirmation import confirm_restore
from alexandria_backup.cli.ending import finish
from alexandria_backup.cli.instants import instant
from alexandria_backup.cli.invocation import At, DsnFile, Jobs, Json, Plan, Yes, invocation_of
from alexandria_backup.cli.owners import other_owners
from alexandria_backup.cli.plan_or_run import plan_or_run
from alexandria_backup.cli.run_text import restore_text
from alexandria_backup.runbooks.restore_state import RestoreChoices


def command(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(help="A snapshot's id, `latest`, or a path or URL.")],
    *,
    at: At = None,
    to_database: Annotated[
        str | None, typer.Option(help="Restore into this new database; nothing is swapped.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With `--to-database`: only this table, as `schema.table` or `table`, with all "
            "that it needs; may be repeated.",
        ),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Load into the live database itself, where no other one may be created: costs "
            "downtime for the whole load.",
        ),
    ] = False,
    stop_first: Annotated[
        bool, typer.Option("--stop-first", help="Stop the application before loading.")
    ] = False,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="Restore neither owners nor privileges.")
    ] = False,
    create_roles: Annotated[
        bool,
        typer.Option(
            "--create-roles", help="Create roles that are missing, without login and password."
        ),
    ] = False,
    map_owner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Give to NEW what belongs to OLD in the archive, privileges too; may be repeated.",
        ),
    ] = None,
    yes_different: Annotated[
        bool, typer.Option("--yes-different", help="The archive is of another application.")
    ] = False,
    accept_chain: Annotated[
        bool, typer.Option("--accept-chain", help="The archive's audit chain is broken; go on.")
    ] = False,
    amcheck: Annotated[
        bool,
        typer.Option("--amcheck", help="Check loaded tables and B-tree indexes with `amcheck`."),
    ] = False,
    jobs: Jobs = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the journal.")] = None,
    dsn_file: DsnFile = None,
    plan: Plan = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Restore a snapshot: load it beside the live database, prove it, then swap by name."""
    invocation = invocation_of(context)
    wiring = invocation.wiring(json=json, dsn_file=dsn_file)
    restore = wiring.restores.restore(
        wiring.snapshots.as_of(snapshot, instant(at)),
        RestoreChoices(
            to_database=to_database,
            tables=tuple(table or ()),
            in_place=in_place,
            stop_first=stop_first,
            no_owner=no_owner,
            create_roles=create_roles,
            map_owner=other_owners(map_owner or ()),
            yes_different=yes_different,
            accept_chain=accept_chain,
            amcheck=amcheck,
            reason=reason,
        ),
        jobs=jobs,
    )
    summary = plan_or_run(
        invocation,
        restore,
        plan=plan,
        confirm=confirm_restore(invocation, yes=yes),
        text=restore_text,
    )
    if summary is not None:
        finish(invocation, wiring, summary)
