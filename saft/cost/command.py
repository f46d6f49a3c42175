"""`saft cost`: what the stages cost whose outputs are in the workspace."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.clip.folders import FINETUNED, MODEL
from pipeline.common.atomic import replacing_file
from pipeline.common.params import read_value
from pipeline.results.files import checks_file, evaluation_folder
from saft.cost.table import Recorded, markdown
from saft.errors import one_line_errors
from saft.project import in_project

FILE = Path("reports/cost.md")


@in_project
@one_line_errors("saft cost")
def main() -> None:
    """Show seconds, images/s, memory and energy of training, evaluation and checks."""
    table = markdown([recorded(stage, output) for stage, output in outputs()])
    with replacing_file(FILE) as partial:
        partial.write_text(table, encoding="utf-8")
    print(table, end="")
    print(f"\n{FILE}: the same table")


def outputs() -> Iterator[tuple[str, Path]]:
    """Each stage that keeps what it cost, under params.yaml, and the output it is filed by."""
    lists = ("models", "datasets", "attacks", "texts")
    models, datasets, attacks, texts = (read_value(f"evaluate.{key}", list[str]) for key in lists)
    if FINETUNED in models:
        yield "finetune", MODEL / "open_clip_model.safetensors"
    epsilons = read_value("evaluate.epsilons_255", list[int | float])
    for key in itertools.product(datasets, attacks, texts, epsilons, models):
        dataset, attack, text_set, epsilon, model = key
        folder = evaluation_folder(dataset, text_set, attack, epsilon, model)
        yield f"evaluate@{'-'.join(map(str, key))}", folder
    for dataset, model in itertools.product(
        read_value("evaluate.checks.datasets", list[str]), models
    ):
        yield f"check@{dataset}-{model}", checks_file(dataset, model)


def recorded(stage: str, output: Path) -> Recorded:
    """What is known of a stage.

    Raises:
        UserError: its record is not JSON.
    """
    from pipeline.cost.files import read_cost  # with torch: seconds to import

    if not output.exists():
        return Recorded(stage, None, False)
    record: dict[str, Any] | None = read_cost(output, Path())
    return Recorded(stage, record if record and "stage" in record else None, True)
