"""The entry point of `alexandria`, `alex` and `alex-cli`: the only place that exits."""

import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from alexandria_backup.cli.commands import COMMANDS, PLAIN, add_commands, needed
from alexandria_backup.cli.invocation import Invocation, invocation_of
from alexandria_backup.cli.mistakes import mistake
from alexandria_backup.errors import AlexandriaError, ExitCode, Interrupted


def application(wanted: Sequence[tuple[str, ...]] = tuple(COMMANDS)) -> typer.Typer:
    """Return the program with these commands, by default with all."""
    app = typer.Typer(
        help="Backup and restore for applications on PostgreSQL: planned, resumable, proved.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=True,
        rich_markup_mode=PLAIN,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_options)
    add_commands(app, wanted)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        # Here, since it takes a fifth of this answer's time, and no other one needs it this early.
        from importlib import metadata  # noqa: PLC0415

        typer.echo(f"alexandria-backup {metadata.version('alexandria-backup')}")
        raise typer.Exit


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
    code: int = ExitCode.INTERRUPTED
    with suppress(KeyboardInterrupt):
        code = invoke(sys.argv[1:])
    # What was done is said: an interrupt of Python's own ending would only hide it.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sys.exit(code)


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
        program = typer.main.get_command(application(_wanted(arguments)))
        ended = program(args=arguments, obj=invocation, standalone_mode=False)
        # What a command returns is nothing, or what typer makes of Ctrl-C: 130.
        if ended == ExitCode.INTERRUPTED:
            return _report(invocation, Interrupted("interrupted"))
    except AlexandriaError as error:
        return _report(invocation, error)
    except TyperException as error:
        return _report(invocation, mistake(error))
    except (KeyboardInterrupt, Abort):
        return _report(invocation, Interrupted("interrupted"))
    except BrokenPipeError:
        # The reader went away, as `| head` does; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    finally:
        invocation.close()
    return ExitCode.DONE_WITH_WARNINGS if invocation.warnings else ExitCode.DONE


def _wanted(arguments: list[str]) -> Sequence[tuple[str, ...]]:
    # A shell that completes a command line has it in variables, and asks for options as well.
    completing = any(re.fullmatch(r"_ALEX\w*_COMPLETE", name) for name in os.environ)
    return tuple(COMMANDS) if completing else needed(arguments)


def _report(invocation: Invocation, error: AlexandriaError) -> int:
    invocation.renderer.error(error)
    return error.exit_code


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's form
    raise KeyboardInterrupt
