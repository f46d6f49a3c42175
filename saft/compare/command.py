"""`saft compare`: fine-tune with every method under the same parameters, one table, one plot.

Each method is a DVC experiment of its own, `compare-<method>`, made from params.yaml with only
finetune.method (and options named on the command line) changed, at the first epsilon, without
checks and last iterates. What has not changed comes from DVC's cache, so a second call is quick.
"""

import csv
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pipeline.common.atomic import replacing_directory
from pipeline.common.params import PARAMS_FILE, read_value
from saft.compare import alike, experiments, table
from saft.dvc_experiments import alone
from saft.errors import one_line_errors

FOLDER = Path("reports/comparison")
Methods = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="METHOD[:KEY=VALUE,...]",
        help="methods, the first is what the others are tested against; METHOD:KEY=VALUE,... "
        "changes options of it (saft:attention_norm=channel); none: all, saft first",
    ),
]
Run = Annotated[bool, typer.Option(help="--no-run: only read the experiments that there are")]
Out = Annotated[Path, typer.Option(help="folder for the table and the plot")]


@one_line_errors("saft compare")
def main(methods: Methods = None, run: Run = True, out: Out = FOLDER) -> None:
    """Train and evaluate every method alike, and put the results side by side."""
    alike.check_trains(read_value("evaluate.models", list[str]), PARAMS_FILE.name)
    specs = [experiments.parse(text) for text in methods or experiments.default_methods()]
    with alone("compare") if run else nullcontext():
        for spec in specs if run else ():
            experiments.run_experiment(spec)
        runs = [experiments.read_run(spec) for spec in specs]
    alike.check_alike(runs)
    write(out, runs)
    print((out / "table.md").read_text(encoding="utf-8"), end="")
    print(f"\n{out}: table.md, table.csv, clean-robust.svg")


def write(out: Path, runs: list[table.ComparedRun]) -> None:
    """Write the table, its numbers and the plot as a whole."""
    from pipeline.report import drawing, figures  # matplotlib: seconds to import

    worst = list(table.columns(runs[0].sets[0]).values())[-1]
    with replacing_directory(out) as folder:
        text = f"{table.caption(runs)}\n{table.markdown(runs)}"
        (folder / "table.md").write_text(text, encoding="utf-8")
        with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table.csv_rows(runs))
        points = [figures.Point(*point) for point in table.scatter_points(runs)]
        plot = figures.clean_against_robust(points, worst)
        (folder / "clean-robust.svg").write_bytes(drawing.svg(*plot))
