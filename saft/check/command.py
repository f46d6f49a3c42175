"""`saft check`: is everything there that `dvc repro` needs, and what will it take."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saft.errors import one_line_errors
from saft.project import in_project

if TYPE_CHECKING:
    from saft.check.part import Part


@in_project
@one_line_errors("saft check")
def main(
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object on stdout, with all numbers")
    ] = False,
) -> None:
    """Check params, data, descriptions, weights, disk and memory, and estimate the time.

    Computes and downloads nothing. Ends with OK, or with a numbered list of what to fix and
    status 1.
    """
    from saft.check import parts  # with torch: only here, so that --help is quick
    from saft.check.plan import Plan

    done: list[Part] = []
    for part in parts.run(Plan()):
        done.append(part)
        if not as_json:
            _print_part(part)
    findings = parts.as_values(done)
    if as_json:
        typer.echo(json.dumps(findings, indent=2))
    else:
        _print_verdict(findings)
    raise SystemExit(0 if findings["ok"] else 1)


def _print_part(part: "Part") -> None:
    typer.secho(f"{part.title}:", bold=True)
    typer.echo("".join(f"  {line}\n" for line in part.lines), nl=False)


def _print_verdict(findings: dict[str, Any]) -> None:
    if findings["ok"]:
        typer.secho("OK", fg="green")
        return
    typer.secho("To fix:", fg="red")
    for number, text in enumerate(findings["problems"], start=1):
        typer.echo(f"  {number}. {text}")
