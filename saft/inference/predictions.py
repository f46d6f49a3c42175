"""What models make of images, as JSON has it and as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from saft.inference.classifying import classifier, probabilities_of
from saft.inference.images import Picture, preprocessed
from saft.inference.labels import Labels
from saft.inference.models import Model

Prediction = dict[str, Any]
"""id and name of the likeliest class; classes: id, name and probability of all, in their order."""
CELL = 9  # characters of "100.0 %*", and one


def predicted(
    known: Labels, pictures: Sequence[Picture], models: Sequence[Model]
) -> dict[str, Any]:
    """The texts, and for each image the `Prediction` of each model by its name.

    Raises:
        UserError: an image cannot be brought to a square, or a model is broken.
    """
    by_model: dict[str, list[Prediction]] = {}
    for model in models:
        values = probabilities_of(classifier(model, known), preprocessed(pictures, model))
        by_model[model.name] = [prediction(known, row) for row in values]
    images = [
        {
            "image": picture.name,
            "remarks": list(picture.remarks),
            "models": {name: rows[number] for name, rows in by_model.items()},
        }
        for number, picture in enumerate(pictures)
    ]
    texts = {"name": known.table.name, "templates": known.table.templates}
    return {"texts": texts, "images": images}


def prediction(known: Labels, probabilities: np.ndarray) -> Prediction:
    """Of (C,) probabilities."""
    classes = [
        {"id": entry.class_id, "name": title, "probability": round(float(value), 6)}
        for entry, title, value in zip(known.classes, known.titles, probabilities, strict=True)
    ]
    likeliest = classes[int(probabilities.argmax())]
    return {"id": likeliest["id"], "name": likeliest["name"], "classes": classes}


def best(answer: Prediction) -> str:
    """For people: "cat 93.1 %"."""
    highest = max(entry["probability"] for entry in answer["classes"])
    return f"{answer['name']} {100 * highest:.1f} %"


def table(image: Mapping[str, Any], top: int) -> list[str]:
    """The lines of one image of `predicted`: the `top` labels that some model finds likeliest."""
    models: Mapping[str, Prediction] = image["models"]
    columns = {name: [c["probability"] for c in p["classes"]] for name, p in models.items()}
    names = [c["name"] for c in next(iter(models.values()))["classes"]]
    order = sorted(range(len(names)), key=lambda n: -max(of[n] for of in columns.values()))[:top]
    width = max(len(names[n]) for n in order)
    remarks = f" ({'; '.join(image['remarks'])})" if image["remarks"] else ""
    head = "  ".join(f"{name:>{_width(name)}}" for name in columns)
    rows = [
        "  ".join(f"{_cell(of[n], max(of)):>{_width(name)}}" for name, of in columns.items())
        for n in order
    ]
    lines = [f"  {names[n]:{width}}  {row}" for n, row in zip(order, rows, strict=True)]
    return [f"{image['image']}{remarks}", f"  {'':{width}}  {head}", *lines]


def _width(name: str) -> int:
    return max(len(name), CELL)


def _cell(probability: float, highest: float) -> str:
    """ "93.1 %*", with the mark at a model's answer."""
    return f"{100 * probability:.1f} %{'*' if probability == highest else ' '}"
