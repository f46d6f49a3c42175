"""The table as Markdown, and what stands above it; cells are shared with `saft evaluate`."""

from collections.abc import Sequence
from typing import Any

from pipeline.report.page import points
from pipeline.results.calibration import BINS
from pipeline.results.metrics import NORMS, options_text
from pipeline.results.statistics import Paired, PairedRuns, Share, Spread, detectable
from saft.compare.arms import Arm, all_done, all_failed, columns
from saft.compare.calibration import ece_titles
from saft.compare.table import MEAN, TableRow, Value, table_rows
from saft.export.card import cell

FAILED = "failed"


def markdown(arms: Sequence[Arm]) -> str:
    """The table for people; accuracies in percent with 95 % Wilson intervals, or with standard
    deviations over seeds; the best arm of every column in bold."""
    heads = ["image set", "model", *titles(arms), "s/epoch", "peak MiB"]
    lines = [[cell(head) for head in heads], ["---"] * len(heads)]
    previous = ""
    for row in table_rows(arms):
        name = f"`{row.dataset}`" if row.dataset != MEAN else MEAN
        cells = [_cell(row, key) for key in columns(all_done(arms)[0].sets[0])]
        cells += ece_texts(row, arms)
        first = "" if row.dataset == previous else name
        lines.append(
            [first, cell(row_label(row)), *cells, change_text(row.change), *cost_text(row.cost)]
        )
        previous = row.dataset
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def titles(arms: Sequence[Arm]) -> list[str]:
    """Of the columns that hold measures, and of the tests."""
    evaluated = all_done(arms)[0].sets[0]
    measures = [*columns(evaluated).values(), *ece_titles(evaluated).values()]
    return [*measures, f"against {arms[0].label}"]


def ece_texts(row: TableRow, arms: Sequence[Arm]) -> list[str]:
    """Calibration errors in percent; "" where all runs failed."""
    keys = ece_titles(all_done(arms)[0].sets[0])
    return [share_text(row.ece[key]) if row.ece else "" for key in keys]


def row_label(row: TableRow) -> str:
    """The model, with its seed or how many there are."""
    if row.seed is not None:
        return f"{row.label}, seed {row.seed}"
    if row.runs is None or row.runs[1] == 1:
        return row.label
    done, asked = row.runs
    return f"{row.label}, {asked if done == asked else f'{done} of {asked}'} seeds"


def _cell(row: TableRow, key: str) -> str:
    if not row.shares:
        return FAILED
    text = share_text(row.shares[key])
    return f"**{text}**" if key in row.best else text


def caption(arms: Sequence[Arm]) -> list[str]:
    """What the numbers are, in paragraphs: threat model, attacks and texts; how runs are tested;
    what an attack did otherwise than its name says; which runs failed."""
    first = all_done(arms)[0].sets[0]
    about = first.about
    attacks = [f"{a.about.title} ({options_text(a.about)})" for a in first.attacks]
    norm = NORMS.get(about.norm, about.norm)
    setting = (
        f"Accuracy in percent, 95 % Wilson intervals in brackets. Attack: {norm}, "
        f"ε = {about.epsilon_255:g}/255 in {about.space} pixels ({about.pixels}²), "
        f"{about.precision}, seed {about.seed}; {'; '.join(attacks)}. An attack's column "
        "counts images right on the clean image and at every iterate; the worst case those right "
        f"under all attacks. Classified and attacked with the texts '{about.texts.name}' / "
        f"'{about.attacker.name}'. Bold: the best of what was fine-tuned. ECE: expected "
        f"calibration error in percent ({BINS} bins of confidence), clean and of what "
        f"{about.title} leaves; 0 is calibrated, and a model that is mostly wrong and seldom sure "
        "has a low one, too."
    )
    failures = [f"{one.experiment} {FAILED}: {one.reason}." for one in all_failed(arms)]
    return [setting, _tests(arms), *_notes(arms), *failures]


def _tests(arms: Sequence[Arm]) -> str:
    seeds = len(arms[0].runs)
    against = f"Against {arms[0].label}: "
    if not arms[0].done:
        return f"{against}nothing, for it {FAILED}."
    if seeds == 1:
        return (
            f"{against}images gained and lost in the worst case, exact McNemar p, not corrected "
            "for the number of comparisons."
        )
    return (
        f"Over {seeds} seeds: mean ± standard deviation, then each seed by itself. {against}"
        "difference of the means over shared seeds in the worst case, in points, with two p-values "
        "that are not corrected for the number of comparisons. 'images': sign-flip test on every "
        "image's difference of its mean over seeds; it holds for these networks on other images. "
        "'seeds': paired t-test over seeds, whose 95 % interval stands in brackets; it holds for "
        "other trainings on these images. The images are the same under every seed, so that images "
        "times seeds are not independent and are not pooled: a difference is established where "
        f"both tests show it.{_power(arms)}"
    )


def _power(arms: Sequence[Arm]) -> str:
    """What the t-test of the row with the fewest shared seeds can see; "" where no row has two."""
    shared = [len(arms[0].done.keys() & arm.done.keys()) for arm in arms[1:]]
    tested = [seeds for seeds in shared if seeds > 1]
    if not tested:
        return ""
    fewest = min(tested)
    which = "" if len(set(tested)) == 1 else ", the fewest of a row,"
    return (
        f" With {fewest} seeds{which} the t-test has {fewest - 1} degrees of freedom and sees only "
        f"differences of {detectable(fewest):.1f} of their standard deviations or more"
        f"{'' if fewest > FEW else '; that is few: take p over seeds as a hint'}."
    )


FEW = 4  # seeds whose standard deviation is hardly known


def _notes(arms: Sequence[Arm]) -> list[str]:
    """Notes of the attacks, each once."""
    runs = all_done(arms)
    attacks = [attack for run in runs for evaluated in run.sets for attack in evaluated.attacks]
    notes = [f"{a.about.title} on {a.about.dataset}: {a.notes}." for a in attacks if a.notes]
    return list(dict.fromkeys(notes))


def share_text(share: Value) -> str:
    """In percent, with its interval or its deviation over seeds."""
    if isinstance(share, Share):
        return f"{100 * share.value:.1f} ({100 * share.low:.1f}–{100 * share.high:.1f})"
    if isinstance(share, Spread):
        deviation = "" if share.sd is None else f" ± {100 * share.sd:.1f}"
        return f"{100 * share.value:.1f}{deviation}"
    return f"{100 * share:.1f}"


def change_text(change: Paired | PairedRuns | None) -> str:
    """Images gained and lost, or the difference over seeds, and p-values; "" for the reference."""
    if change is None:
        return ""
    if isinstance(change, Paired):
        return f"+{change.gained}/−{change.lost}, p = {change.p_value:.2g}"
    text = points(change.difference)
    if change.low is not None and change.high is not None:
        text += f" ({points(change.low)} to {points(change.high)})"
    tests = {"images": change.image_p, "seeds": change.seed_p}
    return ", ".join([text, *(f"{name} p = {p:.2g}" for name, p in tests.items() if p is not None)])


def cost_text(cost: dict[str, Any] | None) -> list[str]:
    """Seconds per epoch and MiB; empty where nobody measured them."""
    if cost is None:
        return ["", ""]
    return [f"{cost['seconds_per_epoch']:.1f}", f"{cost['peak_memory_bytes'] / 2**20:.0f}"]
