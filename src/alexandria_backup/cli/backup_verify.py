"""`alexandria backup verify`: read a bundle as a restore would, to its last byte."""

import sys
from typing import Annotated

import typer

from alexandria_backup.cli.bundle_text import verdict_text
from alexandria_backup.cli.invocation import Json, invocation_of
from alexandria_backup.errors import BundleDamaged
from alexandria_backup.events import Warned


def command(
    context: typer.Context,
    bundle: Annotated[
        str, typer.Argument(help="The bundle: a path, a URL, or `-` for standard input.")
    ],
    *,
    json: Json = False,
) -> None:
    """Read every byte of a bundle and say each difference from its manifest; extract nothing."""
    invocation = invocation_of(context)
    verdict = invocation.wiring(json=json).bundles.verify(bundle, lambda: sys.stdin.buffer)
    invocation.renderer.result(verdict, verdict_text(verdict))
    for reason in verdict.not_verified:
        invocation.emit(Warned(message=reason))
    if verdict.differences:
        raise BundleDamaged(
            f"{len(verdict.differences):,} members of `{bundle}` are not what its manifest says"
        )
