"""`saft check`: is everything there that `dvc repro` needs, and what will it take."""

import json
import sys
from typing import Annotated

import typer

from pipeline.common.errors import UserError


def main(
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object on stdout, with all numbers")
    ] = False,
) -> None:
    """Check params, data, descriptions, weights, disk and memory, and estimate the time.

    Computes and downloads nothing. Ends with OK, or with a numbered list of what to mend and
    status 1.
    """
    from saft.check import parts as checks  # with torch: only here, so that --help is quick
    from saft.check.plan import Plan

    try:
        plan, parts = Plan(), []
    except (UserError, OSError) as error:  # OSError: params.yaml is a folder, or not ours to read
        print(f"error: saft check: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    for part in checks.run(plan):
        parts.append(part)
        if not as_json:
            typer.secho(f"{part.title}:", bold=True)
            typer.echo("".join(f"  {line}\n" for line in part.lines), nl=False)
    found = checks.as_values(parts)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found["ok"]:
        typer.secho("OK", fg="green")
    else:
        typer.secho("To mend:", fg="red")
        for number, text in enumerate(found["problems"], start=1):
            typer.echo(f"  {number}. {text}")
    raise SystemExit(0 if found["ok"] else 1)
