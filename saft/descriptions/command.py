"""`saft descriptions`: look at a description artifact, make one of several.

Both work on artifacts from anywhere. In a project (a folder with params.yaml) its class
table, its cleaning rules and its base model's context are taken into account.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from pipeline.clip.folders import BASE_MODEL
from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, read_section, read_value
from pipeline.common.tables import read_json, read_table, write_json, write_table
from pipeline.descriptions.artifact import DESCRIPTIONS, PROVENANCE, SCHEMA
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.cleaning import CleaningParams
from pipeline.filtering.table import FILTERED
from pipeline.filtering.table import SCHEMA as FILTERED_SCHEMA
from pipeline.images.classes import CLASSES, ClassEntry, read_classes
from saft.descriptions import datasheet, merging
from saft.descriptions import text as datasheet_text

app = typer.Typer(
    name="descriptions",
    help="Look at a description artifact; make one artifact of several.",
    no_args_is_help=True,
)
# Not pipeline.clip.model's constant: that module imports torch.
CONFIG = BASE_MODEL / "open_clip_config.json"


class Artifact(NamedTuple):
    """An artifact as read: class id -> its rows, and provenance.json, None: not there."""

    path: Path
    found: dict[str, list[dict[str, Any]]]
    provenance: dict[str, Any] | None


@app.command()
def show(
    path: Annotated[
        Path, typer.Argument(help="folder with descriptions.parquet, or the Parquet file")
    ] = DESCRIPTIONS.parent,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
    classes: Annotated[bool, typer.Option("--classes", help="also one line per class")] = False,
) -> None:
    """Show a datasheet: origin, coverage, lengths, repeats, and what cleaning would drop."""
    with _one_line_errors():
        figures = collect(path)
    if not classes:
        del figures["classes"]
    text = json.dumps(figures, indent=2) if as_json else "\n".join(datasheet_text.lines(figures))
    typer.echo(text)


@app.command()
def merge(
    inputs: Annotated[list[Path], typer.Argument(help="two or more artifacts, as for `show`")],
    output: Annotated[Path, typer.Option(help="folder to write; must not exist or be empty")],
    prefer: Annotated[
        Literal["first"] | None,
        typer.Option(help="take a class that differs from the first input that has it"),
    ] = None,
) -> None:
    """Make one artifact of several that describe different classes."""
    with _one_line_errors():
        artifacts = _read_inputs(inputs, output)
        table, classes = _project_classes()
        merged = merging.merge([artifact.found for artifact in artifacts], classes)
        if merged.conflicts and prefer is None:
            _refuse(merged.conflicts, artifacts)
        _write(output, artifacts, merged)
    typer.echo("\n".join([f"{output}:", *merging.outcome_lines(merged, table)]))


def collect(path: Path) -> dict[str, Any]:
    """What `show` shows, as plain values.

    Raises:
        UserError: the artifact, params.yaml, the class table, the base model's config or
            the filter's table is missing or malformed.
    """
    artifact = read(path)
    table, classes = _project_classes()
    cleaning, rules_from = datasheet.DEFAULT_CLEANING, "defaults"
    if PARAMS_FILE.exists():
        cleaning, rules_from = read_section("filter.cleaning", CleaningParams), str(PARAMS_FILE)
    figures = datasheet.datasheet(artifact.found, classes, cleaning, _context(), count_tokens)
    figures["cleaning"]["rules_from"] = rules_from
    about = {"file": str(artifact.path), "provenance": artifact.provenance, "class_table": table}
    return about | figures | {"filter": _filtered(artifact.path, figures["sentences"]["total"])}


def read(path: Path) -> Artifact:
    """The artifact at `path`, a folder or the Parquet file.

    Raises:
        UserError: it is missing, of another schema, has an empty cell or no row; or
            provenance.json beside it is no JSON object.
    """
    file = path / DESCRIPTIONS.name if path.is_dir() else path
    if not file.exists():
        raise UserError(
            f"{file}: not found; `dvc pull describe` fetches what your team made, "
            "`dvc repro describe` makes it"
        )
    table = read_table(file, SCHEMA)
    holes = [name for name in SCHEMA.names if table[name].null_count]
    if holes or not len(table):
        fault = f"column '{holes[0]}' has empty cells" if holes else "holds no sentence"
        raise UserError(f"{file}: {fault}; make it again")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["class_id"], []).append(row)
    beside = file.with_name(PROVENANCE.name)
    provenance = read_json(beside) if beside.exists() else None
    if beside.exists() and not isinstance(provenance, dict):
        raise UserError(f"{beside}: expected a JSON object")
    return Artifact(file, found, provenance)


def _read_inputs(inputs: Sequence[Path], output: Path) -> list[Artifact]:
    if len(inputs) < 2:
        raise UserError("merge: needs two inputs or more")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output}: is there already and not an empty folder; choose another")
    return [read(path) for path in inputs]


def _project_classes() -> tuple[str | None, list[ClassEntry] | None]:
    """The class table that is described in this project, if there is one."""
    if not PARAMS_FILE.exists():
        return None, None
    dataset = read_value("describe.dataset", str)
    path = CLASSES / f"{dataset}.parquet"
    return (str(path), read_classes(dataset)) if path.exists() else (None, None)


def _filtered(path: Path, sentences: int) -> dict[str, Any] | None:
    """What became of the project's own artifact; None: `path` is another, or not yet known."""
    if path.resolve() != DESCRIPTIONS.resolve() or not FILTERED.exists():
        return None
    return datasheet.filtered(read_table(FILTERED, FILTERED_SCHEMA).to_pylist(), sentences)


def _context() -> int:
    """The base model's own, where there is one; 77 is also open_clip's default."""
    if not CONFIG.exists():
        return datasheet.CONTEXT
    try:
        context = read_json(CONFIG)["model_cfg"]["text_cfg"].get("context_length")
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{CONFIG}: not an open_clip config: no model_cfg.text_cfg") from None
    if context is not None and (type(context) is not int or context < 1):
        raise UserError(f"{CONFIG}: model_cfg.text_cfg.context_length: {context!r} is no length")
    return context or datasheet.CONTEXT


def _refuse(conflicts: Sequence[merging.Conflict], artifacts: Sequence[Artifact]) -> None:
    inputs = [str(artifact.path) for artifact in artifacts]
    typer.echo("\n".join(merging.conflict_lines(conflicts, inputs)), err=True)
    raise UserError(
        f"classes that differ between inputs: {len(conflicts)}; remove each from all inputs but "
        "one, or take it from the first that has it with --prefer first; nothing was written"
    )


def _write(output: Path, artifacts: Sequence[Artifact], merged: merging.Merged) -> None:
    columns = {name: [row[name] for row in merged.rows] for name in SCHEMA.names}
    provenance: dict[str, Any] = {"merged": [_made_of(artifact) for artifact in artifacts]}
    if merged.conflicts:
        provenance |= {"prefer": "first", "preferred_classes": merged.preferred}
    try:
        with replacing_directory(output.resolve()) as folder:
            write_table(folder / DESCRIPTIONS.name, columns, SCHEMA)
            write_json(folder / PROVENANCE.name, provenance)
    except OSError as error:
        reason = f"cannot be written: {error.strerror}; nothing was written"
        raise UserError(f"{output}: {reason}") from None


def _made_of(artifact: Artifact) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(artifact.path.read_bytes()).hexdigest(),
        "classes": len(artifact.found),
        "sentences": sum(map(len, artifact.found.values())),
        "provenance": artifact.provenance,
    }


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
