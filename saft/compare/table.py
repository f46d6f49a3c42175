"""Several fine-tuning runs side by side: every method on the same images under the same attacks.

A run is what one `dvc exp run -S finetune.method=<method>` wrote; `saft.compare.experiments` makes
the runs and reads them. The other models of evaluate.models, the same in all of them, are the first
lines.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.clip.folders import FINETUNED
from pipeline.results.accuracy import verdicts
from pipeline.results.evaluated import EvaluatedSet
from pipeline.results.metrics import NORMS, options_text
from pipeline.results.statistics import Paired, Share, paired, wilson

MEAN = "mean"


class ComparedRun(NamedTuple):
    """One method: its label in the table, its evaluated image sets in the order of
    evaluate.datasets, what its training cost (None where it was not measured), and its section
    `finetune` but for the method and its options."""

    label: str
    sets: list[EvaluatedSet]
    cost: dict[str, Any] | None
    training: dict[str, Any]


class TableRow(NamedTuple):
    """One model on one image set, or their unweighted mean (then without intervals).

    shares: measure (see `columns`) -> Share, or a plain share for the mean; change: against the
    first run, on the worst case; None for that run itself, for models that no run made and for
    means; cost: of its training, with the mean only.
    """

    dataset: str
    label: str
    shares: dict[str, Share | float]
    change: Paired | None
    cost: dict[str, Any] | None


def other_models(evaluated: EvaluatedSet) -> list[str]:
    """Those that no run made, the same in every run."""
    return [model for model in evaluated.models if model != FINETUNED]


def columns(evaluated: EvaluatedSet) -> dict[str, str]:
    """Measures of the table and their titles: clean, each attack, worst case if there are two."""
    attacks = {attack.about.attack: attack.about.title for attack in evaluated.attacks}
    return {"clean": "clean"} | attacks | ({"robust": "worst case"} if len(attacks) > 1 else {})


def table_rows(runs: Sequence[ComparedRun]) -> Iterator[TableRow]:
    """Image set by image set, the models that no run made first, then the means; `runs` must share
    their sets."""
    others = other_models(runs[0].sets[0])
    models = [_model_rows(model, model, runs[0], None) for model in others]
    models += [
        _model_rows(run.label, FINETUNED, run, runs[0] if number else None)
        for number, run in enumerate(runs)
    ]
    for index in range(len(runs[0].sets)):
        yield from (rows[index] for rows in models)
    costs = [*(None for _ in others), *(run.cost for run in runs)]
    for rows, cost in zip(models, costs, strict=True):
        yield _mean_row(rows, cost)


def scatter_points(runs: Sequence[ComparedRun]) -> list[tuple[str, float, float, bool]]:
    """(label, mean clean accuracy, mean robust accuracy, whether no run made it) of every model,
    shares in 0..1."""
    means = [row for row in table_rows(runs) if row.dataset == MEAN]
    worst, others = list(means[0].shares)[-1], len(means) - len(runs)
    return [
        (row.label, _value(row.shares["clean"]), _value(row.shares[worst]), number < others)
        for number, row in enumerate(means)
    ]


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
            reference = verdicts(first.sets[index], "robust")[FINETUNED]
            change = paired(reference, verdicts(evaluated, "robust")[model])
        result.append(TableRow(evaluated.about.dataset, label, shares, change, None))
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
        cells = [share_text(share) for share in row.shares.values()]
        first = "" if row.dataset == previous else name
        lines.append([first, row.label, *cells, change_text(row.change), *_cost(row.cost)])
        previous = row.dataset
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def caption(runs: Sequence[ComparedRun]) -> str:
    """What the numbers are, in one paragraph: threat model, attacks and texts, and what an
    attack did otherwise than its name says."""
    about = runs[0].sets[0].about
    attacks = [f"{a.about.title} ({options_text(a.about)})" for a in runs[0].sets[0].attacks]
    norm = NORMS.get(about.norm, about.norm)
    return (
        f"Accuracy in percent, 95 % Wilson intervals in brackets. Attack: {norm}, "
        f"ε = {about.epsilon_255:g}/255 in {about.space} pixels ({about.pixels}²), "
        f"{about.precision}, seed {about.seed}; {'; '.join(attacks)}. An attack's column "
        "counts images right on the clean image and at every iterate; the worst case those right "
        f"under all attacks. Classified and attacked with the texts '{about.texts.name}' / "
        f"'{about.attacker.name}'. Against {runs[0].label}: images gained and lost in the worst "
        "case, exact McNemar p, not corrected for the number of comparisons.\n"
        + "".join(f"\n{note}\n" for note in _notes(runs))
    )


def _notes(runs: Sequence[ComparedRun]) -> list[str]:
    """Notes of the attacks, each once."""
    attacks = [attack for run in runs for evaluated in run.sets for attack in evaluated.attacks]
    notes = [f"{a.about.title} on {a.about.dataset}: {a.notes}." for a in attacks if a.notes]
    return list(dict.fromkeys(notes))


def share_text(share: Share | float) -> str:
    """In percent, with its interval; a mean, which has none, in bold."""
    if isinstance(share, Share):
        return f"{100 * share.value:.1f} ({100 * share.low:.1f}–{100 * share.high:.1f})"
    return f"**{100 * share:.1f}**"


def change_text(change: Paired | None) -> str:
    """Images gained and lost, and the p-value; "" for the reference."""
    if change is None:
        return ""
    return f"+{change.gained}/−{change.lost}, p = {change.p_value:.2g}"


def _cost(cost: dict[str, Any] | None) -> list[str]:
    if cost is None:
        return ["", ""]
    return [f"{cost['seconds_per_epoch']:.1f}", f"{cost['peak_memory_bytes'] / 2**20:.0f}"]
