"""Several fine-tuning runs side by side: every method on the same images under the same attacks.

A run is what one `dvc exp run -S finetune.method=<method>` left; `saft.compare.command` makes the
runs and reads them. The undefended base model, the same in all of them, is the first line.
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


class Run(NamedTuple):
    """One method: how it is called in the table, its evaluated image sets in the order of
    evaluate.datasets, and what its training cost (None where nobody measured)."""

    label: str
    sets: list[EvaluatedSet]
    cost: dict[str, Any] | None


class Line(NamedTuple):
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


def check_alike(runs: Sequence[Run]) -> None:
    """Raise UserError unless all runs were evaluated alike: same threat model, attacks, texts and
    images, and the same base model, by its verdicts."""
    for run in runs[1:]:
        for ours, theirs in zip(runs[0].sets, run.sets, strict=False):
            _check_alike(runs[0].label, ours, run.label, theirs)
        names = [[entry.metrics.dataset for entry in r.sets] for r in (runs[0], run)]
        if names[0] != names[1]:
            raise UserError(_unlike(runs[0].label, run.label, "evaluate.datasets", *names))


def _check_alike(first: str, ours: EvaluatedSet, second: str, theirs: EvaluatedSet) -> None:
    attacks = [[found.metrics.attack for found in entry.attacks] for entry in (ours, theirs)]
    if attacks[0] != attacks[1]:
        raise UserError(_unlike(first, second, "evaluate.attacks", *attacks))
    for one, other in zip(ours.attacks, theirs.attacks, strict=True):
        for key in set(type(one.metrics).model_fields) - {*MODELS, "note"}:
            values = [getattr(found.metrics, key) for found in (one, other)]
            if values[0] != values[1]:
                raise UserError(_unlike(first, second, key, *values))
        base = [found.predictions["base"] for found in (one, other)]
        for column in ("number", "clean_prediction"):
            if base[0][column] != base[1][column]:
                what = "the images" if column == "number" else "the base model"
                raise UserError(f"{first} and {second} differ in {what}: run both again")


def _unlike(first: str, second: str, key: str, ours: Any, theirs: Any) -> str:
    return (
        f"{first} and {second} were evaluated differently: {key} is {ours} against {theirs}; "
        "run both again with the same params.yaml"
    )


def columns(entry: EvaluatedSet) -> dict[str, str]:
    """Measures of the table and their titles: clean, each attack, worst case if there are two."""
    attacks = {found.metrics.attack: found.metrics.title for found in entry.attacks}
    return {"clean": "clean"} | attacks | ({"robust": "worst case"} if len(attacks) > 1 else {})


def lines(runs: Sequence[Run]) -> Iterator[Line]:
    """Image set by image set, base model first, then the means; `runs` must share their sets."""
    datasets = [entry.metrics.dataset for entry in runs[0].sets]
    found = [_model_lines(BASE, "base", runs[0], None)]
    found += [
        _model_lines(run.label, "finetuned", run, runs[0] if place else None)
        for place, run in enumerate(runs)
    ]
    for place in range(len(datasets)):
        yield from (model[place] for model in found)
    costs = [None, *(run.cost for run in runs)]
    for model, cost in zip(found, costs, strict=True):
        yield _mean_line(model, cost)


def points(runs: Sequence[Run]) -> list[tuple[str, float, float]]:
    """(label, mean clean accuracy, mean robust accuracy) of the base model and every run."""
    means = [line for line in lines(runs) if line.dataset == MEAN]
    worst = list(means[0].shares)[-1]
    return [
        (line.label, _value(line.shares["clean"]), _value(line.shares[worst])) for line in means
    ]


def _model_lines(label: str, model: str, run: Run, first: Run | None) -> list[Line]:
    result = []
    for place, entry in enumerate(run.sets):
        found = {key: verdicts(entry, key)[model] for key in columns(entry)}
        shares: dict[str, Share | float] = {
            key: wilson(int(right.sum()), len(right)) for key, right in found.items()
        }
        change = None
        if first is not None:
            other = verdicts(first.sets[place], "robust")["finetuned"]
            change = paired(other, verdicts(entry, "robust")[model])
        result.append(Line(entry.metrics.dataset, label, shares, change, None))
    return result


def _mean_line(model: list[Line], cost: dict[str, Any] | None) -> Line:
    shares: dict[str, Share | float] = {
        key: float(np.mean([_value(line.shares[key]) for line in model])) for key in model[0].shares
    }
    return Line(MEAN, model[0].label, shares, None, cost)


def _value(share: Share | float) -> float:
    return share.value if isinstance(share, Share) else share


def csv_rows(runs: Sequence[Run]) -> Iterator[list[Any]]:
    """Header and one row per image set, model and measure; empty where there is no value."""
    yield [
        "dataset", "model", "measure", "accuracy", "low", "high", "correct", "images",
        "seconds_per_epoch", "peak_memory_bytes",
    ]  # fmt: skip
    for line in lines(runs):
        cost = line.cost or {}
        tail = [cost.get("seconds_per_epoch", ""), cost.get("peak_memory_bytes", "")]
        for key, share in line.shares.items():
            counts: list[Any] = ["", "", "", ""]
            if isinstance(share, Share):
                counts = [round(share.low, 4), round(share.high, 4), share.correct, share.images]
            head = [line.dataset, line.label, key, round(_value(share), 4)]
            yield [*head, *counts, *tail]


def markdown(runs: Sequence[Run]) -> str:
    """The table for people; accuracies in percent with 95 % Wilson intervals."""
    titles = columns(runs[0].sets[0])
    versus = f"against {runs[0].label}"
    heads = ["image set", "model", *titles.values(), versus, "s/epoch", "peak MiB"]
    rows = [heads, ["---"] * len(heads)]
    last = ""
    for line in lines(runs):
        name = "" if line.dataset == last else f"`{line.dataset}`" if line.dataset != MEAN else MEAN
        last = line.dataset
        cells = [_cell(share) for share in line.shares.values()]
        rows.append([name, line.label, *cells, _change(line.change), *_cost(line.cost)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def caption(runs: Sequence[Run]) -> str:
    """What the numbers are, in one paragraph: threat model, attacks and texts, and what an
    attack did otherwise than its name says."""
    found = runs[0].sets[0].metrics
    attacks = [f"{a.metrics.title} ({options_text(a.metrics)})" for a in runs[0].sets[0].attacks]
    norm = NORMS.get(found.norm, found.norm)
    return (
        f"Accuracy in percent, 95 % Wilson intervals in brackets. Attack: {norm}, "
        f"ε = {found.epsilon_255:g}/255 in {found.space} pixels ({found.pixels}²), "
        f"{found.precision}, seed {found.seed}; {'; '.join(attacks)}. An attack's column counts "
        "images right on the clean image and at every iterate; the worst case those right under "
        f"all attacks. Classified and attacked with the texts '{found.texts.name}' / "
        f"'{found.attacker.name}'. Against {runs[0].label}: images gained and lost in the worst "
        "case, exact McNemar p, not corrected for the number of comparisons.\n"
        + "".join(f"\n{note}\n" for note in _notes(runs))
    )


def _notes(runs: Sequence[Run]) -> list[str]:
    """Notes of the attacks, each once."""
    found = [attacked.metrics for run in runs for e in run.sets for attacked in e.attacks]
    notes = [f"{m.title} on {m.dataset}: {m.note}." for m in found if m.note]
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
