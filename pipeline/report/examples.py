"""Images under attack: pictures, attention maps and predicted classes of a few examples of each
data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.clip.folders import FINETUNED
from pipeline.common.errors import UserError
from pipeline.report import attention
from pipeline.report.drawing import picture
from pipeline.report.lead import best_other
from pipeline.results.accuracy import Accuracies
from pipeline.results.evaluated import EvaluatedSet, model_title
from pipeline.results.examples import EXAMPLES, AttackedExamples, Examples


def shown_models(mean: Accuracies, reference: str) -> list[str]:
    """The models that examples show: the reference, the fine-tuned and the best under attack, at
    most three."""
    chosen = [reference, FINETUNED, best_other(mean, reference)]
    return [model for model in dict.fromkeys(chosen) if model in mean]


def examples_view(evaluated: EvaluatedSet, models: Sequence[str], count: int) -> dict[str, Any]:
    """At most `count` examples of the data set, whose examples were read, for `models`."""
    examples = evaluated.examples
    assert examples is not None, "read for every set of the headline"
    kept = min(count, len(examples.numbers))
    return {
        "dataset": evaluated.about.dataset,
        "epsilon": f"{evaluated.about.epsilon_255:g}/255",
        "amplified": amplification(evaluated.about.epsilon_255),
        "without_attention": [
            model_title(model)
            for model in models
            if kept and not examples.models[model].clean_attention.size
        ],
        "examples": [_example(evaluated, examples, models, index) for index in range(kept)],
    }


def _example(
    evaluated: EvaluatedSet, examples: Examples, models: Sequence[str], index: int
) -> dict[str, Any]:
    number = int(examples.numbers[index])
    rows = [_verdict(evaluated, model, number) for model in models]
    clean = examples.clean[index]
    return {
        "number": number,
        "label": evaluated.classes[rows[0]["label"]].name,
        "clean": picture(clean),
        "models": [
            _of_model(evaluated, model, row)
            | _pictures(examples.models[model], clean, index, evaluated.about.epsilon_255)
            for model, row in zip(models, rows, strict=True)
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


def _of_model(evaluated: EvaluatedSet, model: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": model_title(model),
        "clean": evaluated.classes[row["clean_prediction"]].name,
        "clean_right": row["clean_prediction"] == row["label"],
        "prediction": evaluated.classes[row["adversarial_prediction"]].name,
        "right": row["adversarial_prediction"] == row["label"],
    }


def _pictures(
    attacked: AttackedExamples, clean: np.ndarray, index: int, epsilon_255: float
) -> dict[str, Any]:
    """What the attack on one model changed; attention: None where the model has no maps."""
    added = attacked.perturbation[index]
    maps = attacked.clean_attention[index], attacked.adversarial_attention[index]
    return {
        "change": picture(0.5 + amplification(epsilon_255) * added),
        "attacked": picture(clean + added),
        "attention": _attention(clean, clean + added, maps) if maps[0].size else None,
    }


def _attention(
    clean: np.ndarray, adversarial: np.ndarray, maps: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    before, after = (attention.upsampled(of, clean.shape[-1]) for of in maps)
    return {
        "clean": picture(attention.overlay(clean, before)),
        "change": picture(attention.change(before, after)),
        "attacked": picture(attention.overlay(adversarial, after)),
        "moved": f"{attention.moved(before, after):.2f}",
    }


def amplification(epsilon_255: float) -> int:
    """The largest whole factor that keeps a perturbation of epsilon around mid-grey."""
    return max(1, int(127 // max(1, epsilon_255)))
