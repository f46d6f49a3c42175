"""Whether results belong together: those of several models, attacks, text sets, radii and image
sets with each other, and all of them with params.yaml.

Each was written by a run of its own, and a report puts them side by side. A difference is an error
that names both files.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section
from pipeline.results.files import Evaluation
from pipeline.results.metrics import Metrics
from pipeline.zeroshot.text_tables import SAME

AGAIN = "run `dvc repro`"
OF_A_SET = ("images", "dropped", "classes", "set_notes", "pixels")
DIRECT = ("norm", "space", "robust", "seed")
# of two devices: float32 sums in another order move a cosine by 1e-6, a logit by 100 times that
MARGIN_TOLERANCE = 0.05
MOST_OF_A_TIE = 0.501  # probability of a class that another may pass by such a move


class Verdicts(NamedTuple):
    """One folder of stages.evaluate. key: what params.yaml calls it; table: the columns of
    PREDICTIONS but `model`, sorted by image number."""

    folder: Path
    key: Evaluation
    metrics: Metrics
    table: pa.Table


class Agreed(Section, extra="ignore"):
    """What section `evaluate` of params.yaml and every metrics.json have to say alike."""

    images: int | None
    attacker: str
    norm: str
    space: str
    robust: str
    seed: int
    options: dict[str, dict[str, Any]]


class Rule(NamedTuple):
    """Evaluations that agree in the parts `of` of their key agree in these keys of metrics.json
    and columns of predictions.parquet."""

    of: Callable[[Evaluation], Any]
    keys: tuple[str, ...]
    columns: tuple[str, ...] = ()
    what: str = ""


# a key is (image set, text set, attack, epsilon, model)
RULES = (
    Rule(lambda key: (), ("norm", "space", "robust", "seed", "precision", "guard_band")),
    Rule(lambda key: key[0], OF_A_SET, ("number",), "images"),
    Rule(lambda key: key[0], (), ("label",), "labels"),
    Rule(lambda key: key[2], ("title", "options", "budget")),
    Rule(lambda key: key[:2], ("texts", "attacker")),
    Rule(lambda key: (*key[:2], key[4]), (), ("clean_prediction",), "clean predictions"),
)


def check_together(evaluations: Iterable[Verdicts]) -> None:
    """Raise UserError, naming both files, unless all evaluations agree in what they share.

    For example two attacks on one model, image set and text set have the same clean predictions;
    two models attacked by one attack have had the same options of it.
    """
    first_of: dict[Any, Verdicts] = {}
    for evaluation in evaluations:
        for rule in RULES:
            first = first_of.setdefault((rule, rule.of(evaluation.key)), evaluation)
            if first is not evaluation:
                _check_rule(rule, first, evaluation)


def _check_rule(rule: Rule, first: Verdicts, other: Verdicts) -> None:
    for key in rule.keys:
        values = [getattr(one.metrics, key) for one in (other, first)]
        if values[0] != values[1]:
            what = f"{key} is {_text(values[0])}, but {_text(values[1])} in"
            _differ(other, first, what, "metrics.json")
    for column in rule.columns:
        differing = other.table[column].to_numpy() != first.table[column].to_numpy()
        if column == "clean_prediction":
            differing &= ~(_may_be_tied(other) & _may_be_tied(first))
        if differing.any():
            _differ(other, first, f"not the {rule.what} of")
    if "clean_prediction" in rule.columns:
        margins = [one.table["clean_margin"].to_numpy() for one in (other, first)]
        if np.abs(margins[0] - margins[1]).max() > MARGIN_TOLERANCE:
            _differ(other, first, "not the clean margins of")


def _may_be_tied(evaluation: Verdicts) -> np.ndarray:
    """bool (N,): clean images whose class may be another on another device; of two nearly equal
    logits, as of two classes of one name, a rounding decides."""
    return evaluation.table["clean_confidence"].to_numpy() <= MOST_OF_A_TIE


def _differ(other: Verdicts, first: Verdicts, what: str, file: str = "predictions.parquet") -> None:
    raise UserError(f"{other.folder / file}: {what} {first.folder / file}; {AGAIN}")


def check_params(evaluations: Iterable[Verdicts], params: Agreed) -> None:
    """Raise UserError, naming the file and the key of params.yaml, unless all evaluations are what
    section `evaluate` asks for."""
    for evaluation in evaluations:
        metrics, (_, texts, attack, _, _) = evaluation.metrics, evaluation.key
        attacker = texts if params.attacker == SAME else params.attacker
        pairs = {
            **{key: (getattr(metrics, key), getattr(params, key)) for key in DIRECT},
            "attacker": (metrics.attacker.name, attacker),
            f"options.{attack}": (metrics.options, params.options.get(attack)),
        }
        if params.images is not None:
            pairs["images"] = (metrics.images, min(metrics.images, params.images))
        for key, (measured, expected) in pairs.items():
            if measured != expected:
                raise UserError(
                    f"{evaluation.folder / 'metrics.json'}: {key} is {_text(measured)}, but "
                    f"{_text(expected)} in {PARAMS_FILE}: evaluate.{key}; {AGAIN}"
                )


def check_own(evaluation: Verdicts) -> None:
    """Raise UserError unless an evaluation is what its folder's name says, and the counts of its
    metrics.json are those of its table."""
    path, metrics, table = evaluation.folder / "metrics.json", *evaluation[2:]
    named = dict(zip(("dataset", "texts", "attack", "epsilon_255"), evaluation.key, strict=False))
    written: dict[str, Any] = {"dataset": metrics.dataset, "texts": metrics.texts.name}
    written |= {"attack": metrics.attack, "epsilon_255": metrics.epsilon_255}
    for key, value in written.items():
        if value != named[key]:
            raise UserError(f"{path}: {key} is {value}, but {named[key]} in its path; {AGAIN}")
    right = pc.equal(table["clean_prediction"], table["label"])
    flags = {"clean": right, "robust_any": table["robust_any"]}
    flags["robust_last"] = table["robust_last"].drop_null()
    for key, column in flags.items():
        share, counted = getattr(metrics, key), (pc.sum(column).as_py() or 0, len(column))
        stated = (share.correct, share.images) if share else (0, 0)
        if stated != counted or (share and abs(share.accuracy - stated[0] / stated[1]) > 1e-5):
            raise UserError(
                f"{path}: {key} is {stated[0]} of {stated[1]}, but {counted[0]} of {counted[1]} in "
                f"{evaluation.folder / 'predictions.parquet'}; {AGAIN}"
            )
    if (latest := pc.max(table["fooled_at"]).as_py()) >= metrics.budget:
        raise UserError(
            f"{evaluation.folder / 'predictions.parquet'}: fooled_at is {latest}, but the attack "
            f"has {metrics.budget} iterates in {path}; {AGAIN}"
        )


def _text(value: Any) -> str:
    """A value in a message."""
    return str(value.model_dump() if isinstance(value, Section) else value)
