"""Runs that differ in one setting, several seeds each: accuracies, and paired differences.

    python -m benchmarks.seeds_compared RUNS --reference released

RUNS has a folder <setting>-<seed>/ for each run, a copy of its data/evaluation/. For every image
set a row per setting: the mean over its seeds of clean accuracy and of accuracy in the worst case
(right on the clean image and under every attack), each with the standard deviation over seeds, and
the difference to the reference setting under the same seeds on the same images. Its 95 % interval
is a bootstrap that draws seeds and images anew at once, so that it covers both other trainings and
other test images. A Markdown table; one text set, one epsilon.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import typer

from pipeline.common.errors import UserError
from stages.runner import stage

MODEL, RESAMPLES, SEED = "finetuned", 2000, 0
MEASURES = ("clean", "worst case")


class Verdicts(NamedTuple):
    """Of one setting on one image set: bool (measures, seeds, images), and the seeds in order."""

    right: np.ndarray
    seeds: tuple[int, ...]


@stage("seeds_compared")
def main(
    runs: Annotated[Path, typer.Argument(help="folder of <setting>-<seed>/ folders")],
    reference: Annotated[str, typer.Option(help="setting that the others are compared with")],
) -> None:
    """Print the table."""
    seeds_of = settings(runs)
    if reference not in seeds_of:
        raise UserError(
            f"--reference {reference}: no such setting in {runs}; {', '.join(seeds_of)}"
        )
    first = runs / f"{reference}-{seeds_of[reference][0]}"
    header = ["image set", "setting", "seeds"]
    for measure in MEASURES:
        header += [measure, f"{measure}, less {reference}"]
    print("| " + " | ".join(header) + " |", "| --- " * len(header) + "|", sep="\n")
    for dataset in sorted(folder.name for folder in first.iterdir() if folder.is_dir()):
        verdicts = {
            setting: read_verdicts(runs, setting, seeds, dataset)
            for setting, seeds in seeds_of.items()
        }
        print("\n".join(rows(dataset, verdicts, reference)))


def settings(runs: Path) -> dict[str, tuple[int, ...]]:
    """Setting -> its seeds, ascending, of the folders <setting>-<seed>/.

    Raises:
        UserError: there is no such folder.
    """
    seeds_of: dict[str, list[int]] = {}
    for folder in sorted(runs.glob("*-*")):
        setting, _, seed = folder.name.rpartition("-")
        if folder.is_dir() and seed.isdecimal():
            seeds_of.setdefault(setting, []).append(int(seed))
    if not seeds_of:
        raise UserError(f"{runs}: has no folders <setting>-<seed>")
    return {setting: tuple(sorted(seeds)) for setting, seeds in seeds_of.items()}


def read_verdicts(runs: Path, setting: str, seeds: Sequence[int], dataset: str) -> Verdicts:
    """What the runs of a setting say about every image of a set.

    Raises:
        UserError: a run lacks the set, or has it with several text sets or epsilons.
    """
    return Verdicts(
        np.stack([_of_run(runs / f"{setting}-{seed}" / dataset) for seed in seeds], axis=1),
        tuple(seeds),
    )


def _of_run(folder: Path) -> np.ndarray:
    """Bool (measures, images) of <text set>/<attack>/<epsilon>/finetuned/predictions.parquet."""
    files = sorted(folder.glob(f"*/*/*/{MODEL}/predictions.parquet"))
    kinds = {(file.parents[3].name, file.parents[1].name) for file in files}
    if len(kinds) != 1:
        raise UserError(f"{folder}: {len(kinds)} text sets and epsilons of {MODEL}; leave one")
    tables = [pq.read_table(file) for file in files]
    predicted, label = (tables[0][name].to_numpy() for name in ("clean_prediction", "label"))
    robust = [table["robust_any"].to_numpy() for table in tables]
    return np.stack([predicted == label, np.logical_and.reduce(robust)])


def rows(dataset: str, verdicts: Mapping[str, Verdicts], reference: str) -> list[str]:
    """Lines of the table for one image set, the reference first."""
    order = [reference, *(setting for setting in verdicts if setting != reference)]
    lines = []
    for setting in order:
        cells = [f"`{dataset}`", setting, str(len(verdicts[setting].seeds))]
        for measure in range(len(MEASURES)):
            right = verdicts[setting].right[measure]
            cells.append(_mean(right))
            cells.append(
                "" if setting == reference else _difference(verdicts, setting, reference, measure)
            )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _mean(right: np.ndarray) -> str:
    of_seeds = 100 * right.mean(axis=1)
    deviation = f" ± {of_seeds.std(ddof=1):.2f}" if len(of_seeds) > 1 else ""
    return f"{of_seeds.mean():.2f}{deviation}"


def _difference(
    verdicts: Mapping[str, Verdicts], setting: str, reference: str, measure: int
) -> str:
    first, second = verdicts[setting], verdicts[reference]
    shared = sorted(set(first.seeds) & set(second.seeds))
    of_seeds = [
        100.0 * of.right[measure][[of.seeds.index(seed) for seed in shared]]
        for of in (first, second)
    ]
    difference = of_seeds[0] - of_seeds[1]
    low, high = bootstrap(difference, RESAMPLES, SEED)
    return f"{difference.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def bootstrap(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """2.5 and 97.5 % quantiles of the mean of `values` (seeds, images) under draws, with
    replacement, of both its rows and its columns."""
    generator = np.random.default_rng(seed)
    rows, columns = values.shape
    means = []
    for _ in range(resamples):
        # how often each row and each column is drawn: the mean is a product with both
        of_rows = np.bincount(generator.integers(0, rows, rows), minlength=rows)
        of_columns = np.bincount(generator.integers(0, columns, columns), minlength=columns)
        means.append(of_rows @ values @ of_columns / values.size)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    typer.run(main)
