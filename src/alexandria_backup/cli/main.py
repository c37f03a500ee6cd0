"""The entry point of `alexandria`, `alex` and `alex-cli`: the only place that exits."""

import os
import signal
import sys
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from alexandria_backup.cli import (
    audit_verify,
    demo,
    doctor,
    restore,
    rollback,
    run_abort,
    run_accept,
    run_list,
    run_resume,
    run_show,
    snapshot_create,
    snapshot_export,
    snapshot_list,
    snapshot_show,
    snapshot_verify,
)
from alexandria_backup.cli.invocation import Invocation, invocation_of
from alexandria_backup.errors import AlexandriaError, ExitCode, Interrupted, UsageError

app = typer.Typer(
    help="Backup and restore for applications on PostgreSQL: planned, resumable, proved.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
snapshot = typer.Typer(help="Take, list and check snapshots.", no_args_is_help=True)
run = typer.Typer(help="Look at runs; resume, abort or accept them.", no_args_is_help=True)
audit = typer.Typer(help="Check the application's audit chain.", no_args_is_help=True)
app.add_typer(snapshot, name="snapshot")
app.add_typer(run, name="run")
app.add_typer(audit, name="audit")

app.command("demo")(demo.command)
app.command("doctor")(doctor.command)
app.command("restore")(restore.command)
app.command("rollback")(rollback.command)
snapshot.command("create")(snapshot_create.command)
snapshot.command("export")(snapshot_export.command)
snapshot.command("list")(snapshot_list.command)
snapshot.command("show")(snapshot_show.command)
snapshot.command("verify")(snapshot_verify.command)
run.command("list")(run_list.command)
run.command("show")(run_show.command)
run.command("resume")(run_resume.command)
run.command("abort")(run_abort.command)
run.command("accept")(run_accept.command)
audit.command("verify")(audit_verify.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alexandria-backup {metadata.version('alexandria-backup')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="The settings file, `alexandria.toml`.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="The application's namespace in Kubernetes.")
    ] = None,
    values: Annotated[
        Path | None, typer.Option(help="A Helm values file; `vault.enabled` in it is heeded.")
    ] = None,
    version: Annotated[  # noqa: ARG001 - the callback does it
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    invocation = invocation_of(context)
    invocation.config, invocation.namespace, invocation.values = config, namespace, values


def main() -> NoReturn:
    """Run the program with the arguments of this process, and exit with an `ExitCode`."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run the program and return its exit code; nothing below this line exits."""
    # A closed terminal or a stopped service interrupts as Ctrl-C does: what can be is undone.
    for name in (signal.SIGTERM, signal.SIGHUP):
        # What was told to be ignored, as by nohup, stays ignored.
        if signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, _interrupt)
    # Known before the command line is understood: a mistake in it is an error like any other.
    wants_json = "--json" in arguments
    invocation = Invocation(environ=os.environ, cwd=Path.cwd(), json=wants_json)
    try:
        ended = typer.main.get_command(app)(args=arguments, obj=invocation, standalone_mode=False)
        # What a command returns is nothing, or what typer makes of Ctrl-C: 130.
        if ended == ExitCode.INTERRUPTED:
            return _report(invocation, Interrupted("interrupted"))
    except AlexandriaError as error:
        return _report(invocation, error)
    except TyperException as error:
        return _report(invocation, UsageError(str(error), hint="alexandria --help"))
    except (KeyboardInterrupt, Abort):
        return _report(invocation, Interrupted("interrupted"))
    except BrokenPipeError:
        # The reader went away, as `| head` does; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    finally:
        invocation.renderer.close()
    return ExitCode.DONE_WITH_WARNINGS if invocation.warnings else ExitCode.DONE


def _report(invocation: Invocation, error: AlexandriaError) -> int:
    invocation.renderer.error(error)
    return error.exit_code


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's form
    raise KeyboardInterrupt
