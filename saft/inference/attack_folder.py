"""The folder of `saft attack`: pictures for each model, a sheet of all, and attack.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.clip.device import enable_determinism
from pipeline.common.atomic import replacing_directory
from pipeline.common.tables import write_json
from saft.inference import pictures
from saft.inference.attacking import ATTACK, Attacked, Budget, attacked
from saft.inference.classifying import classifier
from saft.inference.images import Picture, preprocessed
from saft.inference.labels import Labels
from saft.inference.models import Model
from saft.inference.predictions import Prediction, best, prediction

SUMMARY, SHEET = "attack.json", "overview.png"


def write(
    folder: Path, picture: Picture, number: int, known: Labels, models: Sequence[Model],
    allowed: Budget,
) -> list[str]:  # fmt: skip
    """Attack each model by itself, write the folder as a whole, and say what changed.

    Args:
        number: of `known`, the class that the picture shows.

    Raises:
        UserError: the picture cannot be brought to a square, or a model is broken.
    """
    enable_determinism()
    done = {
        model.name: attacked(
            classifier(model, known), preprocessed([picture], model)[0], number, allowed
        )
        for model in models
    }
    said = {name: summary(attack, number, known) for name, attack in done.items()}
    about = {"image": picture.name, "remarks": list(picture.remarks), "models": said}
    with replacing_directory(folder) as partial:
        _draw(partial, done, said, allowed.epsilon_255, known.titles[number])
        write_json(partial / SUMMARY, about | _about(known, number, allowed))
    lines = [sentence(name, values, allowed.steps) for name, values in said.items()]
    return [*lines, f"{folder}: {SHEET}, {SUMMARY}, and a folder of pictures for each model"]


def summary(attack: Attacked, number: int, known: Labels) -> dict[str, Any]:
    """What changed for one model, as attack.json has it."""
    return {
        "before": prediction(known, attack.before),
        "after": prediction(known, attack.after),
        "adversarial.png": prediction(known, attack.in_8_bits),
        "fooled_at": attack.fooled_at if attack.fooled_at >= 0 else None,
        "label": known.classes[number].class_id,
        "largest_change_255": round(255 * float(abs(attack.change).max()), 4),
        "attention_moved": round(attack.attention_moved, 4),
    }


def sentence(name: str, values: Mapping[str, Any], steps: int) -> str:
    """What changed for one model, in one line."""
    before, after, file = (values[key] for key in ("before", "after", "adversarial.png"))
    line = f"{name}: {best(before)} -> {best(after)}: {_verdict(before, values, steps)}"
    if file["id"] != after["id"]:
        line += f", but as a file of 8 bits it is {best(file)}"
    return f"{line}; attention moved by {values['attention_moved']:.2f} of 1"


def _verdict(before: Prediction, values: Mapping[str, Any], steps: int) -> str:
    if before["id"] != values["label"]:
        return "misclassified without an attack"
    if values["fooled_at"] is None:
        return f"withstands {steps} steps"
    if values["fooled_at"] == 0:
        return "misclassified at the random start"
    return f"misclassified after {values['fooled_at']} of {steps} steps"


def _about(known: Labels, number: int, allowed: Budget) -> dict[str, Any]:
    entry = known.classes[number]
    return {
        "label": {"id": entry.class_id, "name": entry.name},
        "texts": {"name": known.table.name, "templates": known.table.templates},
        "attack": {"name": ATTACK, "norm": "linf", **allowed.model_dump()},
    }


def _draw(
    folder: Path, done: Mapping[str, Attacked], said: Mapping[str, Any], epsilon_255: float,
    label: str,
) -> None:  # fmt: skip
    rows = {}
    for name, attack in done.items():
        pictures.write_model(folder / name, attack, epsilon_255)
        verdicts = (best(said[name][key]) for key in ("before", "after"))
        rows[name] = pictures.panels(attack, epsilon_255, *verdicts)
    title = f"PGD, l∞ ≤ {epsilon_255:g}/255; attention to the text of “{label}”"
    pictures.write_sheet(folder / SHEET, rows, title)
