"""Files that an evaluation writes: verdicts per image, accuracies, and a few perturbations."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from pipeline.clip.precision import describe_precision
from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError
from pipeline.common.tables import write_json, write_table
from pipeline.cost.meter import Spent
from pipeline.evaluation.evaluate import Verdicts, accuracies, prediction_columns, summary
from pipeline.evaluation.examples import kept_examples
from pipeline.evaluation.interface import Outcome
from pipeline.evaluation.session import Attack, Inputs, record_attack
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.images.image_set import IMAGES
from pipeline.images.set_summary import told_of
from pipeline.results.files import PREDICTIONS, prediction_faults, verdict_faults


class AttackedModel(NamedTuple):
    """outcome: of the attack; columns: of PREDICTIONS; accuracies: the counts behind each;
    examples: see `kept_examples`."""

    outcome: Outcome
    columns: dict[str, Any]
    accuracies: dict[str, Any]
    examples: dict[str, np.ndarray]


def attacked_model(
    attack: Attack, inputs: Inputs, classifier: ZeroShotClassifier, verdicts: Verdicts
) -> AttackedModel:
    """What is stored of complete verdicts on the classifier, and a printed line on them."""
    params, outcome = inputs.params, verdicts.outcome
    columns = prediction_columns(inputs.model, inputs.targets, verdicts)
    examples = kept_examples(classifier, inputs.targets, outcome, params)
    attacked = AttackedModel(outcome, columns, accuracies(columns), examples)
    where = f"{inputs.images.name}, {attack.module.TITLE}, epsilon {inputs.epsilon_255:g}/255"
    print(summary(inputs.model, attacked.accuracies, where), flush=True)
    return attacked


def write_verdicts(
    output: Path, attack: Attack, attacked: AttackedModel, inputs: Inputs, spent: Spent
) -> None:
    """Write predictions.parquet, metrics.json and examples.safetensors as a whole, once what they
    cost is kept, too.

    Raises:
        UserError: the verdicts contradict each other.
    """
    table = pa.Table.from_pydict(attacked.columns, schema=PREDICTIONS)
    for fault in verdict_faults(table, len(inputs.images.classes)):
        raise UserError(f"{attack.name} on {inputs.model}: {fault}; nothing was written")
    outcome, band = attacked.outcome, inputs.params.band
    about = threat_model(inputs) | attack_metadata(attack, inputs, outcome.note)
    results = attacked.accuracies | recheck_statistics(outcome, band)
    with replacing_directory(output) as out:
        write_table(out / "predictions.parquet", attacked.columns, PREDICTIONS, prediction_faults)
        write_json(out / "metrics.json", about | results)
        # as bytes: safetensors' own writer hides a full disk behind an error of its own
        (out / "examples.safetensors").write_bytes(save(attacked.examples))
        record_attack(attack, inputs, spent, out)


def attack_metadata(attack: Attack, inputs: Inputs, note: str) -> dict[str, Any]:
    """What metrics.json says of the attack and of the texts."""
    return {
        "attack": attack.name,
        "title": attack.module.TITLE,
        "options": attack.options.model_dump(),
        "budget": attack.module.max_iterates(attack.options) or 1,  # a library returns one image
        "note": note,
        "texts": {"name": inputs.texts.name, "templates": inputs.texts.templates},
        "attacker": {"name": inputs.seen.name, "templates": inputs.seen.templates},
    }


def threat_model(inputs: Inputs) -> dict[str, Any]:
    """What the attacker may do, to which model and images."""
    params, images = inputs.params, inputs.images
    return {
        **{key: getattr(params, key) for key in ("norm", "space", "robust", "seed")},
        "model": inputs.model,
        "epsilon_255": inputs.epsilon_255,
        "pixels": images.pixels.shape[-1],
        "precision": describe_precision(params.precision, params.compile),
        "guard_band": params.band or None,
        "dataset": images.name,
        "images": len(inputs.targets.labels),
        "classes": len(images.classes),
        **told_of(IMAGES / images.name),
    }


def recheck_statistics(outcome: Outcome, band: float) -> dict[str, Any]:
    """How many iterates were classified once more, in float32, and how far the margins of the
    attack's own forward were off; None where that is float32 too, and off by rounding alone."""
    difference = float(f"{outcome.largest_difference:.3g}") if band else None
    return {"judged": outcome.judged, "largest_margin_difference": difference}
