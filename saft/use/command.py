"""`saft profiles` and `saft use NAME`: params.yaml becomes one of profiles/, in one command."""

import sys
from typing import Annotated

import typer

from pipeline.common.params import PARAMS_FILE
from saft.errors import one_line_errors
from saft.project import in_project
from saft.use import profiles

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@in_project
@one_line_errors("saft profiles")
def list_profiles() -> None:
    """List the profiles: params.yaml files for other data."""
    for name, about in profiles.profiles().items():
        typer.echo(f"{name:28}{about}".rstrip())


@in_project
@one_line_errors("saft use")
def use(
    name: Annotated[str, typer.Argument(help="a profile, see `saft profiles`")],
    dry: Annotated[bool, typer.Option("--dry", help="show the difference, change nothing")] = False,
    show: Annotated[
        bool, typer.Option("--print", help="print the complete file, change nothing")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="overwrite a params.yaml of your own that is not in git")
    ] = False,
) -> None:
    """Write profiles/NAME.yaml, with all that it extends, to params.yaml; the difference is shown.

    Edits of params.yaml that are not committed are never overwritten. `saft use demo` brings the
    demo back.
    """
    profile = profiles.find(name)
    if show:
        sys.stdout.buffer.write(profile.content)
        return
    lines = profiles.difference(profile)
    for line in lines:
        typer.secho(line, fg=None if line[:3] in ("+++", "---") else COLOURS.get(line[:1]))
    if dry:
        return
    if not lines and PARAMS_FILE.exists() and PARAMS_FILE.read_bytes() == profile.content:
        typer.echo(f"{PARAMS_FILE} is {profile.file} already")
        return
    profiles.check_replaceable(force)
    profiles.write(profile)
    typer.echo(f"{PARAMS_FILE} is now {profile.file}; next: saft check, then dvc repro")
