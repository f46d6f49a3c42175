"""`saft evaluate MODEL...`: any CLIP on any images under any protocol, in one command.

The request becomes a DVC experiment of its own, made from params.yaml by `-S` alone: the working
copy is left as it is, and what has been computed before comes from DVC's cache.
"""

import contextlib
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, listed
from pipeline.common.params import PARAMS_FILE, Section, read_params, validate
from pipeline.common.tables import read_json
from pipeline.images.classes import EVALUATED
from pipeline.results.files import EVALUATION, METRICS
from saft.dvc_experiments import alone, fetch, run
from saft.errors import one_line_errors
from saft.evaluation.overrides import overrides
from saft.evaluation.protocol import with_protocol, without_unused
from saft.evaluation.request import Request, requested

REPORTS = Path("reports/evaluations")
PAGE = Path("reports/report.html")
NEEDED = (str(EVALUATION), str(EVALUATED), PARAMS_FILE.name, str(METRICS), str(PAGE))
Models = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]MODEL...",
        help="a name of section models, or finetuned; open_clip's name/tag; hf-hub:org/repository; "
        "a folder of open_clip or transformers; a checkpoint file (with --clip)",
    ),
]
Sets = Annotated[
    str | None,
    typer.Option(help="sets of params.yaml or folders of class folders, separated by commas"),
]
Protocol = Annotated[
    str | None, typer.Option(help="a profile whose evaluation is taken, see `saft profiles`")
]
Images = Annotated[int | None, typer.Option(min=1, help="per set, evenly spaced over it")]
ClipAround = Annotated[
    str | None, typer.Option("--clip", help="name/tag of the CLIP that a checkpoint starts from")
]
Size = Annotated[
    int | None, typer.Option(min=8, help="pixels of a folder's images [default: the model's]")
]
Reference = Annotated[
    str | None, typer.Option(help="the model of the paired tests [default: the first]")
]
Dry = Annotated[bool, typer.Option("--dry", help="show what would be changed, run nothing")]


@one_line_errors("saft evaluate")
def main(
    models: Models, sets: Sets = None, protocol: Protocol = None, images: Images = None,
    clip: ClipAround = None, size: Size = None, reference: Reference = None, dry: Dry = False,
) -> None:  # fmt: skip
    """Attack models on image sets and print their accuracies; params.yaml stays as it is."""
    before = read_params()
    _check(before)
    named = sets.split(",") if sets is not None else None
    values = requested(
        _protocol(before, protocol), Request(models, named, images, clip, size, reference)
    )
    _check(values)
    values = without_unused(values, before)
    changes = overrides(before, values)
    if dry:
        typer.echo("\n".join(changes) or f"{PARAMS_FILE} says all of it already")
        return
    name = f"evaluate-{hashlib.sha256(repr(values).encode()).hexdigest()[:8]}"
    page = REPORTS / f"{name}.html"
    with alone(name):
        if not run(name, changes):
            raise UserError(f"{name} failed, see above")
        print(read_table(name, values, page))
    print(f"{page}: the report; `dvc exp apply {name}` brings params.yaml and the verdicts")


def _protocol(values: dict[str, Any], name: str | None) -> dict[str, Any]:
    if name is None:
        return values
    from saft.use import profiles

    return with_protocol(values, profiles.find(name).values, name)


def _check(values: dict[str, Any]) -> None:
    from saft.schema import check_params  # with torch: only here, so that --help is quick

    if problems := check_params(values):
        raise UserError(listed(problems, 3, "; "))


class _Counts(Section, extra="ignore"):
    passed: int
    failed: int


class _Judged(Section, extra="ignore"):
    """What of reports/metrics.json stands below the table."""

    checks: _Counts


def read_table(experiment: str, values: dict[str, Any], page: Path) -> str:
    """The table of an experiment, from DVC's cache; its report is copied to `page`."""
    from pipeline.common.params import section_of
    from pipeline.results.agreement import Agreed
    from pipeline.results.evaluated import check_evaluated, read_evaluated
    from saft.evaluation.table import caption, checks_lines, markdown

    evaluate = values["evaluate"]
    with tempfile.TemporaryDirectory() as folder:
        fetch(experiment, NEEDED, Path(folder))
        with contextlib.chdir(folder):
            results = [
                read_evaluated(dataset, texts, evaluate["attacks"], epsilon, evaluate["models"])
                for texts in evaluate["texts"][:1]
                for epsilon in evaluate["epsilons_255"]
                for dataset in evaluate["datasets"]
            ]
            check_evaluated(results, section_of(values, "evaluate", Agreed))
            counts = validate(read_json(METRICS), _Judged, str(METRICS)).checks
            checks = checks_lines(counts.model_dump(), values)
        with replacing_file(page) as partial:
            shutil.copyfile(Path(folder) / PAGE, partial)
    table = markdown(results, values["report"]["reference"])
    return f"{caption(results)}\n{table}\n{checks}"
