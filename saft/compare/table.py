"""Several fine-tuning runs side by side: every method on the same images under the same attacks.

A run is what one `dvc exp run -S finetune.method=<method>` wrote; `saft.compare.experiments` makes
the runs and reads them. The undefended base model, the same in all of them, is the first line.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.common.errors import UserError
from pipeline.results.accuracy import verdicts
from pipeline.results.evaluated import MODELS, NORMS, EvaluatedSet, options_text
from pipeline.results.statistics import Paired, Share, paired, wilson

MEAN = "mean"
BASE = "base model"


class ComparedRun(NamedTuple):
    """One method: its label in the table, its evaluated image sets in the order of
    evaluate.datasets, and what its training cost (None where it was not measured)."""

    label: str
    sets: list[EvaluatedSet]
    cost: dict[str, Any] | None


class TableRow(NamedTuple):
    """One model on one image set, or their unweighted mean (then without intervals).

    shares: measure (see `columns`) -> Share, or a plain share for the mean; change: against the
    first run, on the worst case; None for that run itself and for means; cost: of its training,
    with the mean only.
    """

    dataset: str
    label: str
    shares: dict[str, Share | float]
    change: Paired | None
    cost: dict[str, Any] | None


def check_alike(runs: Sequence[ComparedRun]) -> None:
    """Raise UserError unless all runs were evaluated alike: same threat model, attacks, texts and
    images, and the same base model, by its verdicts."""
    for run in runs[1:]:
        for ours, theirs in zip(runs[0].sets, run.sets, strict=False):
            _check_alike(runs[0].label, ours, run.label, theirs)
        names = [[evaluated.metrics.dataset for evaluated in r.sets] for r in (runs[0], run)]
        if names[0] != names[1]:
            raise UserError(_unlike(runs[0].label, run.label, "evaluate.datasets", *names))


def _check_alike(first: str, ours: EvaluatedSet, second: str, theirs: EvaluatedSet) -> None:
    attacks = [[attack.metrics.attack for attack in s.attacks] for s in (ours, theirs)]
    if attacks[0] != attacks[1]:
        raise UserError(_unlike(first, second, "evaluate.attacks", *attacks))
    for one, other in zip(ours.attacks, theirs.attacks, strict=True):
        for key in set(type(one.metrics).model_fields) - {*MODELS, "note"}:
            values = [getattr(attack.metrics, key) for attack in (one, other)]
            if values[0] != values[1]:
                raise UserError(_unlike(first, second, key, *values))
        base = [attack.predictions["base"] for attack in (one, other)]
        for column in ("number", "clean_prediction"):
            if base[0][column] != base[1][column]:
                what = "the images" if column == "number" else "the base model"
                raise UserError(f"{first} and {second} differ in {what}: run both again")


def _unlike(first: str, second: str, key: str, ours: Any, theirs: Any) -> str:
    return (
        f"{first} and {second} were evaluated differently: {key} is {ours} against {theirs}; "
        "run both again with the same params.yaml"
    )


def columns(evaluated: EvaluatedSet) -> dict[str, str]:
    """Measures of the table and their titles: clean, each attack, worst case if there are two."""
    attacks = {attack.metrics.attack: attack.metrics.title for attack in evaluated.attacks}
    return {"clean": "clean"} | attacks | ({"robust": "worst case"} if len(attacks) > 1 else {})


def table_rows(runs: Sequence[ComparedRun]) -> Iterator[TableRow]:
    """Image set by image set, base model first, then the means; `runs` must share their sets."""
    models = [_model_rows(BASE, "base", runs[0], None)]
    models += [
        _model_rows(run.label, "finetuned", run, runs[0] if number else None)
        for number, run in enumerate(runs)
    ]
    for index in range(len(runs[0].sets)):
        yield from (rows[index] for rows in models)
    costs = [None, *(run.cost for run in runs)]
    for rows, cost in zip(models, costs, strict=True):
        yield _mean_row(rows, cost)


def scatter_points(runs: Sequence[ComparedRun]) -> list[tuple[str, float, float]]:
    """(label, mean clean accuracy, mean robust accuracy) of the base model and every run."""
    means = [row for row in table_rows(runs) if row.dataset == MEAN]
    worst = list(means[0].shares)[-1]
    return [(row.label, _value(row.shares["clean"]), _value(row.shares[worst])) for row in means]


def _model_rows(
    label: str, model: str, run: ComparedRun, first: ComparedRun | None
) -> list[TableRow]:
    result = []
    for index, evaluated in enumerate(run.sets):
        correct = {key: verdicts(evaluated, key)[model] for key in columns(evaluated)}
        shares: dict[str, Share | float] = {
            key: wilson(int(flags.sum()), len(flags)) for key, flags in correct.items()
        }
        change = None
        if first is not None:
            reference = verdicts(first.sets[index], "robust")["finetuned"]
            change = paired(reference, verdicts(evaluated, "robust")[model])
        result.append(TableRow(evaluated.metrics.dataset, label, shares, change, None))
    return result


def _mean_row(rows: list[TableRow], cost: dict[str, Any] | None) -> TableRow:
    shares: dict[str, Share | float] = {
        key: float(np.mean([_value(row.shares[key]) for row in rows])) for key in rows[0].shares
    }
    return TableRow(MEAN, rows[0].label, shares, None, cost)


def _value(share: Share | float) -> float:
    return share.value if isinstance(share, Share) else share


def csv_rows(runs: Sequence[ComparedRun]) -> Iterator[list[Any]]:
    """Header and one row per image set, model and measure; empty where there is no value."""
    yield [
        "dataset", "model", "measure", "accuracy", "low", "high", "correct", "images",
        "seconds_per_epoch", "peak_memory_bytes",
    ]  # fmt: skip
    for row in table_rows(runs):
        cost = row.cost or {}
        tail = [cost.get("seconds_per_epoch", ""), cost.get("peak_memory_bytes", "")]
        for key, share in row.shares.items():
            counts: list[Any] = ["", "", "", ""]
            if isinstance(share, Share):
                counts = [round(share.low, 4), round(share.high, 4), share.correct, share.images]
            head = [row.dataset, row.label, key, round(_value(share), 4)]
            yield [*head, *counts, *tail]


def markdown(runs: Sequence[ComparedRun]) -> str:
    """The table for people; accuracies in percent with 95 % Wilson intervals."""
    titles = columns(runs[0].sets[0])
    versus = f"against {runs[0].label}"
    heads = ["image set", "model", *titles.values(), versus, "s/epoch", "peak MiB"]
    lines = [heads, ["---"] * len(heads)]
    previous = ""
    for row in table_rows(runs):
        name = f"`{row.dataset}`" if row.dataset != MEAN else MEAN
        cells = [_cell(share) for share in row.shares.values()]
        first = "" if row.dataset == previous else name
        lines.append([first, row.label, *cells, _change(row.change), *_cost(row.cost)])
        previous = row.dataset
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def caption(runs: Sequence[ComparedRun]) -> str:
    """What the numbers are, in one paragraph: threat model, attacks and texts, and what an
    attack did otherwise than its name says."""
    metrics = runs[0].sets[0].metrics
    attacks = [f"{a.metrics.title} ({options_text(a.metrics)})" for a in runs[0].sets[0].attacks]
    norm = NORMS.get(metrics.norm, metrics.norm)
    return (
        f"Accuracy in percent, 95 % Wilson intervals in brackets. Attack: {norm}, "
        f"ε = {metrics.epsilon_255:g}/255 in {metrics.space} pixels ({metrics.pixels}²), "
        f"{metrics.precision}, seed {metrics.seed}; {'; '.join(attacks)}. An attack's column "
        "counts images right on the clean image and at every iterate; the worst case those right "
        f"under all attacks. Classified and attacked with the texts '{metrics.texts.name}' / "
        f"'{metrics.attacker.name}'. Against {runs[0].label}: images gained and lost in the worst "
        "case, exact McNemar p, not corrected for the number of comparisons.\n"
        + "".join(f"\n{note}\n" for note in _notes(runs))
    )


def _notes(runs: Sequence[ComparedRun]) -> list[str]:
    """Notes of the attacks, each once."""
    metrics = [a.metrics for run in runs for evaluated in run.sets for a in evaluated.attacks]
    notes = [f"{m.title} on {m.dataset}: {m.note}." for m in metrics if m.note]
    return list(dict.fromkeys(notes))


def _cell(share: Share | float) -> str:
    if isinstance(share, Share):
        return f"{100 * share.value:.1f} ({100 * share.low:.1f}–{100 * share.high:.1f})"
    return f"**{100 * share:.1f}**"


def _change(change: Paired | None) -> str:
    if change is None:
        return ""
    return f"+{change.gained}/−{change.lost}, p = {change.p_value:.2g}"


def _cost(cost: dict[str, Any] | None) -> list[str]:
    if cost is None:
        return ["", ""]
    return [f"{cost['seconds_per_epoch']:.1f}", f"{cost['peak_memory_bytes'] / 2**20:.0f}"]
