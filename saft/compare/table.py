"""Several fine-tuning runs side by side: every arm on the same images under the same attacks.

A run is what one `dvc exp run -S finetune.method=<method>` wrote; `saft.compare.experiments` makes
the runs and reads them. The other models of evaluate.models, the same in all of them, are the first
lines. An arm of several seeds has a line with means over them, then one for each.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.clip.folders import FINETUNED
from pipeline.report.pareto import Point
from pipeline.results.accuracy import verdicts
from pipeline.results.evaluated import EvaluatedSet
from pipeline.results.statistics import (
    Paired,
    PairedRuns,
    Share,
    Spread,
    paired,
    paired_runs,
    paired_seeds,
    spread,
    wilson,
)
from saft.compare.arms import Arm, ComparedRun, Failed, all_done, columns, other_models
from saft.compare.calibration import calibration_errors

MEAN = "mean"
WORST = "robust"
Value = Share | Spread | float


class Measured(NamedTuple):
    """Of one model. shares: measure (see `columns`) -> Share of a run, Spread over seeds, or a
    plain share for the mean over image sets of a run; ece: measure (see `ece_titles`) -> expected
    calibration error in 0..1, or its Spread over seeds; {} where there are no results."""

    shares: Mapping[str, Value] = {}
    ece: Mapping[str, Spread | float] = {}


class TableRow(NamedTuple):
    """One model on one image set, or their unweighted mean (then without intervals).

    arm: whether it stands for an arm as a whole: its means over seeds, or its only run.
    runs: of how many runs with results, of how many in all (None for models that no run made).
    shares, ece: see `Measured`; {} where all failed. change: against the first arm, on the worst
    case; None for that itself, for models that no run made, for single ones of several seeds and,
    without seeds, for means. cost: of its training, with the mean only. best: measures in which no
    other arm is better.
    """

    dataset: str
    label: str
    arm: bool
    seed: int | None
    runs: tuple[int, int] | None
    shares: Mapping[str, Value]
    ece: Mapping[str, Spread | float]
    change: Paired | PairedRuns | None = None
    cost: dict[str, Any] | None = None
    best: frozenset[str] = frozenset()


def table_rows(arms: Sequence[Arm]) -> Iterator[TableRow]:
    """Image set by image set, the models that no run made first, then the means.

    Args:
        arms: with at least one run that has results; the runs share their sets.
    """
    for index, evaluated in enumerate(all_done(arms)[0].sets):
        yield from _marked([*_model_rows(evaluated), *_arm_rows(arms, index)])
    yield from _marked([*_model_means(all_done(arms)[0]), *_arm_means(arms)])


def plot_points(arms: Sequence[Arm]) -> list[Point]:
    """Of every model that has results: means over image sets and seeds; hollow: no run made it;
    runs: its single seeds."""
    result: list[Point] = []
    for row in table_rows(arms):
        if row.dataset != MEAN or not row.shares:
            continue
        accuracies = value(row.shares["clean"]), value(list(row.shares.values())[-1])
        if row.arm or row.runs is None:
            result.append(Point(row.label, *accuracies, hollow=row.runs is None))
        else:  # a single one of the arm before it
            result[-1] = result[-1]._replace(runs=(*result[-1].runs, accuracies))
    return result


def value(share: Value) -> float:
    """The number itself, in 0..1."""
    return share if isinstance(share, float) else share.value


def _model_rows(evaluated: EvaluatedSet) -> Iterator[TableRow]:
    for model in other_models(evaluated):
        yield TableRow(
            evaluated.about.dataset, model, False, None, None, *_measured(evaluated, model)
        )


def _arm_rows(arms: Sequence[Arm], index: int) -> Iterator[TableRow]:
    dataset = all_done(arms)[0].sets[index].about.dataset
    for arm in arms:
        of_runs = {seed: _measured(run.sets[index], FINETUNED) for seed, run in arm.done.items()}
        change = None if arm is arms[0] else _change(arms[0], arm, index)
        yield from _lines(dataset, arm, of_runs, change, {})


def _arm_means(arms: Sequence[Arm]) -> Iterator[TableRow]:
    first = _means(arms[0])
    for arm in arms:
        means = _means(arm)
        shared = [seed for seed in means if seed in first]
        change = None
        if arm is not arms[0] and len(arm.runs) > 1 and shared:
            worst = list(means[shared[0]].shares)[-1]
            gained = [value(means[s].shares[worst]) - value(first[s].shares[worst]) for s in shared]
            change = paired_seeds(np.array(gained))
        yield from _lines(MEAN, arm, means, change, {s: run.cost for s, run in arm.done.items()})


def _lines(
    dataset: str,
    arm: Arm,
    of_runs: dict[int | None, Measured],
    change: Paired | PairedRuns | None,
    costs: dict[int | None, dict[str, Any] | None],
) -> Iterator[TableRow]:
    """The line of an arm and, where it has several seeds, one for each of them."""
    counts = len(of_runs), len(arm.runs)
    if len(arm.runs) == 1:
        [seed] = arm.runs
        of_run, cost = of_runs.get(seed, Measured()), costs.get(seed)
        yield TableRow(dataset, arm.label, True, seed, counts, *of_run, change, cost)
        return
    over_seeds = _spreads([*of_runs.values()])
    yield TableRow(dataset, arm.label, True, None, counts, *over_seeds, change)
    for seed, run in arm.runs.items():
        done = not isinstance(run, Failed)
        of_run, cost = of_runs.get(seed, Measured()), costs.get(seed)
        yield TableRow(dataset, arm.label, False, seed, (int(done), 1), *of_run, None, cost)


def _spreads(of_runs: Sequence[Measured]) -> Measured:
    if not of_runs:
        return Measured()
    return Measured(
        {key: spread([value(one.shares[key]) for one in of_runs]) for key in of_runs[0].shares},
        {key: spread([value(one.ece[key]) for one in of_runs]) for key in of_runs[0].ece},
    )


def _change(first: Arm, second: Arm, index: int) -> Paired | PairedRuns | None:
    """On the worst case of one image set, under the seeds that both have results of."""
    shared = [seed for seed in second.done if seed in first.done]
    if not shared:
        return None
    ours, theirs = (
        np.stack([verdicts(arm.done[seed].sets[index], WORST)[FINETUNED] for seed in shared])
        for arm in (first, second)
    )
    return paired(ours[0], theirs[0]) if len(second.runs) == 1 else paired_runs(ours, theirs)


def _measured(evaluated: EvaluatedSet, model: str) -> Measured:
    correct = {key: verdicts(evaluated, key)[model] for key in columns(evaluated)}
    shares = {key: wilson(int(flags.sum()), len(flags)) for key, flags in correct.items()}
    return Measured(shares, calibration_errors(evaluated, model))


def _means(arm: Arm) -> dict[int | None, Measured]:
    return {seed: _mean(run, FINETUNED) for seed, run in arm.done.items()}


def _model_means(run: ComparedRun) -> Iterator[TableRow]:
    for model in other_models(run.sets[0]):
        yield TableRow(MEAN, model, False, None, None, *_mean(run, model))


def _mean(run: ComparedRun, model: str) -> Measured:
    """Unweighted, over the image sets."""
    over_sets = _spreads([_measured(evaluated, model) for evaluated in run.sets])
    return Measured(*({key: value(of) for key, of in part.items()} for part in over_sets))


def _marked(rows: Sequence[TableRow]) -> Iterator[TableRow]:
    """The same rows, with what is best among the arms."""
    arms = [row.shares for row in rows if row.arm and row.shares]
    top = {key: max(value(shares[key]) for shares in arms) for key in arms[0]} if arms else {}
    for row in rows:
        best = (key for key, share in row.shares.items() if row.arm and value(share) == top[key])
        yield row._replace(best=frozenset(best))
