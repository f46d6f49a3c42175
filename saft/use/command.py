"""`saft profiles` and `saft use NAME`: params.yaml becomes one of profiles/, in one command."""

import sys
from typing import Annotated

import typer

from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE
from saft.use import profiles

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def list_profiles() -> None:
    """List the profiles: complete params.yaml files for other data."""
    for name, about in profiles.profiles().items():
        typer.echo(f"{name:28}{about}".rstrip())


def use(
    name: Annotated[str, typer.Argument(help="a profile, see `saft profiles`")],
    dry: Annotated[bool, typer.Option("--dry", help="show the difference, change nothing")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="overwrite a params.yaml of your own that is not in git")
    ] = False,
) -> None:
    """Copy profiles/NAME.yaml onto params.yaml; the difference is shown first.

    Edits of params.yaml that are not committed are never overwritten. `saft use demo` brings the
    demo back.
    """
    try:
        file = profiles.find(name)
        lines = profiles.difference(file)
        for line in lines:
            typer.secho(line, fg=None if line[:3] in ("+++", "---") else COLOURS.get(line[:1]))
        if dry:
            return
        if not lines and PARAMS_FILE.exists() and PARAMS_FILE.read_bytes() == file.read_bytes():
            typer.echo(f"{PARAMS_FILE} is {file} already")
            return
        profiles.check_replaceable(force)
        profiles.copy(file)
    except UserError as error:
        print(f"error: saft use: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    typer.echo(f"{PARAMS_FILE} is now {file}; next: saft check, then dvc repro")
