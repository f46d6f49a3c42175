"""`saft compare`: fine-tune with every method under the same parameters, one table, one plot.

Each run is a DVC experiment of its own, `compare-<method>`, made from params.yaml with only
finetune.method (and what is named on the command line) changed, at the first epsilon, without
checks and last iterates. What has not changed comes from DVC's cache, so a second call is quick.
"""

import csv
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError, listed
from pipeline.common.params import PARAMS_FILE, read_params, read_value
from pipeline.common.tables import write_json
from saft.compare import alike, experiments, runs, specs
from saft.compare.arms import Arm, all_done, all_failed
from saft.compare.table import MEAN
from saft.dvc_experiments import alone
from saft.errors import one_line_errors
from saft.output_folder import check_parent

FOLDER = Path("reports/comparison")
FILES = ("table.md", "table.csv", "table.json", "table.html", "clean-robust.svg")
Methods = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="METHOD[:KEY=VALUE,...]",
        help="what is compared, the first is what the others are tested against; KEY=VALUE "
        "changes an option of the method (saft:attention_norm=channel) or a key of params.yaml "
        "(saft:filter.top_k=3); none: all methods, saft first, those that train on captions only "
        "where finetune.captions has some",
    ),
]
Seeds = Annotated[
    str | None, typer.Option(help="values of finetune.seed, each a run: 0,1,2 [default: its own]")
]
Run = Annotated[bool, typer.Option(help="--no-run: only read the experiments that there are")]
List = Annotated[
    bool, typer.Option("--list", help="print the arguments of `dvc exp run`, a line for each run")
]
Out = Annotated[Path, typer.Option(help="folder for the tables and the plot")]


@one_line_errors("saft compare")
def main(
    methods: Methods = None, seeds: Seeds = None, run: Run = True, list_runs: List = False,
    out: Out = FOLDER,
) -> None:  # fmt: skip
    """Train and evaluate every method alike, and put the results side by side."""
    check_folder(out)
    if MEAN in read_value("evaluate.datasets", list[str]):
        raise UserError(
            f"{PARAMS_FILE}: evaluate.datasets: '{MEAN}' is the table's word for the mean of the "
            "sets; give the image set another name"
        )
    alike.check_trains(read_value("evaluate.models", list[str]), PARAMS_FILE.name)
    before = read_params()
    asked = [specs.parse_spec(text, before) for text in methods or specs.default_methods(before)]
    plan = runs.planned(asked, specs.parse_seeds(seeds) if seeds is not None else [], before)
    if list_runs:
        for one in plan:
            changes = [part for change in one.changes(before) for part in ("-S", change)]
            print(shlex.join(["--name", one.experiment, *changes]))
        return
    with alone("compare") if run else nullcontext():
        failed = experiments.run_all(plan, before) if run else set()
        arms = experiments.read_arms(plan, failed)
    _report(arms, out)


def check_folder(out: Path) -> None:
    """Raise UserError if writing a comparison there would remove anything else."""
    if out.is_dir():
        others = sorted({path.name for path in out.iterdir()} - set(FILES))
        if others:
            raise UserError(
                f"--out {out}: holds {others[0]}, which is of no comparison and would be removed; "
                "name a folder that is new, empty or an earlier comparison's"
            )
    elif out.exists():
        raise UserError(f"--out {out}: is a file; name a folder")
    check_parent(out, "name another folder with --out")


def _report(arms: list[Arm], out: Path) -> None:
    """Write and print the table; raise a UserError if a run is missing in it."""
    failures = all_failed(arms)
    if not all_done(arms):
        raise UserError(f"no run has results; {failures[0].experiment}: {failures[0].reason}")
    alike.check_alike(all_done(arms))
    write(out, arms)
    print((out / FILES[0]).read_text(encoding="utf-8"), end="")
    print(f"\n{out}: {', '.join(FILES)}", flush=True)
    if failures:
        for one in failures:
            print(f"{one.experiment}: {one.reason}", file=sys.stderr)
        named = listed([one.experiment for one in failures], 3, ", ")
        total = sum(len(arm.runs) for arm in arms)
        raise UserError(f"{len(failures)} of {total} runs failed: {named}; the table says so")


def write(out: Path, arms: Sequence[Arm]) -> None:
    """Write the table in all its forms, its numbers and the plot as a whole."""
    from pipeline.report import drawing
    from saft.compare import data, page, texts  # with matplotlib: seconds to import

    with replacing_directory(out) as folder:
        text = "\n\n".join([*texts.caption(arms), texts.markdown(arms)])
        (folder / "table.md").write_text(text, encoding="utf-8")
        with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(data.csv_rows(arms))
        write_json(folder / "table.json", data.numbers(arms, page.on_front(arms)))
        (folder / "table.html").write_text(page.render(arms), encoding="utf-8")
        (folder / "clean-robust.svg").write_bytes(drawing.svg(*page.plot(arms)))
