"""`saft descriptions`: look at a description artifact, make one of several.

Both work on artifacts from anywhere. In a project (a folder with params.yaml) its class
table, its cleaning rules and its base model's context are taken into account.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.common.errors import UserError, printable
from pipeline.descriptions.artifact import DESCRIPTIONS
from saft.descriptions import merging, text
from saft.descriptions.artifacts import Artifact, read_inputs, write_merged
from saft.descriptions.figures import collect, project_classes
from saft.errors import one_line_errors

app = typer.Typer(
    name="descriptions",
    help="Look at a description artifact; make one artifact of several.",
    no_args_is_help=True,
)


@app.command()
@one_line_errors()
def show(
    path: Annotated[
        Path, typer.Argument(help="folder with descriptions.parquet, or the Parquet file")
    ] = DESCRIPTIONS.parent,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
    classes: Annotated[bool, typer.Option("--classes", help="also one line per class")] = False,
) -> None:
    """Show a datasheet: origin, coverage, lengths, repeats, and what cleaning would drop."""
    figures = collect(path)
    if not classes:
        del figures["classes"]
    lines = map(printable, text.lines(figures))
    typer.echo(json.dumps(figures, indent=2) if as_json else "\n".join(lines))


@app.command()
@one_line_errors()
def merge(
    inputs: Annotated[list[Path], typer.Argument(help="two or more artifacts, as for `show`")],
    output: Annotated[Path, typer.Option(help="folder to write; must not exist or be empty")],
    prefer: Annotated[
        Literal["first"] | None,
        typer.Option(help="take a class that differs from the first input that has it"),
    ] = None,
) -> None:
    """Make one artifact of several that describe different classes."""
    artifacts = read_inputs(inputs, output)
    table, classes = project_classes()
    merged = merging.merge([artifact.class_rows for artifact in artifacts], classes)
    if merged.conflicts and prefer is None:
        _refuse(merged.conflicts, artifacts)
    write_merged(output, artifacts, merged)
    typer.echo("\n".join(map(printable, [f"{output}:", *merging.outcome_lines(merged, table)])))


def _refuse(conflicts: Sequence[merging.Conflict], artifacts: Sequence[Artifact]) -> None:
    inputs = [str(artifact.path) for artifact in artifacts]
    typer.echo("\n".join(map(printable, merging.conflict_lines(conflicts, inputs))), err=True)
    raise UserError(
        f"classes that differ between inputs: {len(conflicts)}; remove each from all inputs but "
        "one, or take it from the first that has it with --prefer first; nothing was written"
    )
