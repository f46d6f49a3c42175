"""Images under attack: pictures and predicted classes of a few examples of each data set."""

from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import UserError
from pipeline.report.drawing import picture
from pipeline.report.lead import best_other
from pipeline.results.accuracy import Accuracies
from pipeline.results.evaluated import EvaluatedSet, model_title
from pipeline.results.examples import EXAMPLES


def shown_models(mean: Accuracies, reference: str) -> list[str]:
    """The models that examples show: the reference, the fine-tuned and the best under attack, at
    most three."""
    chosen = [reference, FINETUNED, best_other(mean, reference)]
    return [model for model in dict.fromkeys(chosen) if model in mean]


def examples_view(evaluated: EvaluatedSet, models: Sequence[str], count: int) -> dict[str, Any]:
    """At most `count` examples of the data set, for `models`."""
    kept = min(count, len(evaluated.examples["numbers"]))
    return {
        "dataset": evaluated.about.dataset,
        "epsilon": f"{evaluated.about.epsilon_255:g}/255",
        "amplified": amplification(evaluated.about.epsilon_255),
        "examples": [_example(evaluated, models, index) for index in range(kept)],
    }


def _example(evaluated: EvaluatedSet, models: Sequence[str], index: int) -> dict[str, Any]:
    number = int(evaluated.examples["numbers"][index])
    rows = [_verdict(evaluated, model, number) for model in models]
    return {
        "number": number,
        "label": evaluated.classes[rows[0]["label"]].name,
        "clean": picture(evaluated.examples["clean"][index]),
        "models": [
            _of_model(evaluated, model, row, index) for model, row in zip(models, rows, strict=True)
        ],
    }


def _verdict(evaluated: EvaluatedSet, model: str, number: int) -> dict[str, Any]:
    """The row of PREDICTIONS of image `number` under the first attack."""
    table = evaluated.attacks[0].predictions[model]
    row_index = pc.index(table["number"], number).as_py()
    if row_index < 0:
        raise UserError(
            f"{EXAMPLES} of {evaluated.about.dataset}, {evaluated.about.attack}, {model}: image "
            f"{number} has no prediction; run `dvc repro`"
        )
    return table.slice(row_index, 1).to_pylist()[0]


def _of_model(
    evaluated: EvaluatedSet, model: str, row: dict[str, Any], index: int
) -> dict[str, Any]:
    clean, change = evaluated.examples["clean"][index], evaluated.examples[model][index]
    return {
        "title": model_title(model),
        "clean": evaluated.classes[row["clean_prediction"]].name,
        "clean_right": row["clean_prediction"] == row["label"],
        "change": picture(0.5 + amplification(evaluated.about.epsilon_255) * change),
        "attacked": picture(clean + change),
        "prediction": evaluated.classes[row["adversarial_prediction"]].name,
        "right": row["adversarial_prediction"] == row["label"],
    }


def amplification(epsilon_255: float) -> int:
    """The largest whole factor that keeps a perturbation of epsilon around mid-grey."""
    return max(1, int(127 // max(1, epsilon_255)))
