"""`saft attack IMAGE --label NAME`: what an attack does to an image, seen by several models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.common.errors import UserError
from saft.errors import one_line_errors
from saft.inference.options import (
    ClipAround,
    ImageSetName,
    LabelNames,
    ModelNames,
    Request,
    TemplateTexts,
    TextSetName,
)

SUMMARY, SHEET = "attack.json", "overview.png"
AT_START = "misclassified at the random start"
ImageFile = Annotated[Path, typer.Argument(metavar="IMAGE", help="an image file")]
Label = Annotated[str, typer.Option(help="what the image shows, one of the labels")]
Epsilon = Annotated[float, typer.Option(help="radius of the l∞ ball, in 1/255")]
Steps = Annotated[int, typer.Option(help="steps of PGD at most")]
Step = Annotated[float, typer.Option(help="length of a step, in 1/255")]
Seed = Annotated[int, typer.Option(help="of the random start")]
Out = Annotated[
    Path | None, typer.Option(help="folder to make [default: attack-<name of the image>]")
]


@one_line_errors("saft attack")
def main(
    image: ImageFile, label: Label, labels: LabelNames = None, dataset: ImageSetName = None,
    template: TemplateTexts = None, texts: TextSetName = None, model: ModelNames = None,
    clip: ClipAround = None, epsilon: Epsilon = 4.0, steps: Steps = 100, step: Step = 1.0,
    seed: Seed = 0, out: Out = None,
) -> None:  # fmt: skip
    """Attack an image with PGD, each model by itself, and draw what changes."""
    from saft.inference import attacking  # with torch: only here, so that --help is quick
    from saft.inference.models import load_all
    from saft.inference.request import chosen

    folder = out if out is not None else Path(f"attack-{image.stem}")
    _check_free(folder)
    allowed = attacking.budget(epsilon, steps, step, seed)
    known = chosen(Request(labels, dataset, template, texts))
    lines = attack_image(image, label, known, load_all(model, clip), allowed, folder)
    typer.echo("\n".join(lines))


def attack_image(
    file: Path, label: str, known: Any, models: list[Any], allowed: Any, folder: Path
) -> list[str]:
    """Attack, write the folder as a whole, and say what changed.

    Args:
        known: the classes and their texts, `label` among them.
        allowed: the attack's budget.

    Raises:
        UserError: the image cannot be read, or the label is not one of the classes.
    """
    from pipeline.clip.device import enable_determinism
    from pipeline.common.atomic import replacing_directory
    from pipeline.common.progress import silence
    from pipeline.common.tables import write_json
    from saft.inference.attacking import attacked
    from saft.inference.classifying import classifier
    from saft.inference.images import preprocessed, read
    from saft.inference.labels import position

    number, picture = position(label, known.classes), read(file)
    enable_determinism()
    silence()  # a bar of one image
    done = {
        model.name: attacked(
            classifier(model, known), preprocessed([picture], model)[0], number, allowed
        )
        for model in models
    }
    said = {name: summary(attack, number, known, allowed) for name, attack in done.items()}
    with replacing_directory(folder) as partial:
        _draw(partial, done, said, allowed, known.titles[number])
        about = {"image": str(file), "remarks": list(picture.remarks), "models": said}
        write_json(partial / SUMMARY, about | _about(known, number, allowed))
    lines = [sentence(name, values, allowed.steps) for name, values in said.items()]
    return [*lines, f"{folder}: {SHEET}, {SUMMARY}, and a folder of pictures for each model"]


def summary(attack: Any, number: int, known: Any, allowed: Any) -> dict[str, Any]:
    """What changed for one model, as attack.json has it."""
    from saft.inference.predict import prediction

    before, after, in_8_bits = (
        prediction(known, values) for values in (attack.before, attack.after, attack.in_8_bits)
    )
    return {
        "before": before,
        "after": after,
        "adversarial.png": in_8_bits,
        "fooled_at": attack.fooled_at if attack.fooled_at >= 0 else None,
        "label": known.classes[number].class_id,
        "largest_change_255": round(255 * float(abs(attack.change).max()), 4),
        "attention_moved": round(attack.attention_moved, 4),
    }


def sentence(name: str, values: Mapping[str, Any], steps: int) -> str:
    """What changed for one model, in one line."""
    before, after, file = (values[key] for key in ("before", "after", "adversarial.png"))
    fooled, label = values["fooled_at"], values["label"]
    verdict = f"misclassified after {fooled} of {steps} steps" if fooled else AT_START
    if before["id"] != label:
        verdict = "misclassified without an attack"
    elif fooled is None:
        verdict = f"withstands {steps} steps"
    line = f"{name}: {named(before)} -> {named(after)}: {verdict}"
    if file["id"] != after["id"]:
        line += f", but as a file of 8 bits it is {named(file)}"
    return f"{line}; attention moved by {values['attention_moved']:.2f} of 1"


def named(prediction: Mapping[str, Any]) -> str:
    """A prediction for people: "cat 93.1 %"."""
    best = max(entry["probability"] for entry in prediction["classes"])
    return f"{prediction['name']} {100 * best:.1f} %"


def _about(known: Any, number: int, allowed: Any) -> dict[str, Any]:
    from saft.inference.attacking import ATTACK

    entry = known.classes[number]
    return {
        "label": {"id": entry.class_id, "name": entry.name},
        "texts": {"name": known.table.name, "templates": known.table.templates},
        "attack": {"name": ATTACK, "norm": "linf", **allowed.model_dump()},
    }


def _draw(
    folder: Path, done: Mapping[str, Any], said: Mapping[str, Any], allowed: Any, label: str
) -> None:
    from saft.inference import pictures

    epsilon = allowed.epsilon_255
    rows = {}
    for name, attack in done.items():
        pictures.write_model(folder / name, attack, epsilon)
        verdicts = (named(said[name][key]) for key in ("before", "after"))
        rows[name] = pictures.panels(attack, epsilon, *verdicts)
    pictures.write_sheet(
        folder / SHEET, rows, f"PGD, l∞ ≤ {epsilon:g}/255; attention to the text of “{label}”"
    )


def _check_free(folder: Path) -> None:
    """Raise UserError unless the folder can be made without losing one that is there."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: exists and is not an empty folder; name another with --out")
