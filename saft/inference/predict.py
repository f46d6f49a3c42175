"""`saft predict IMAGE...`: what models make of images, side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

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

Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="image files")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on stdout, with all labels")]
Top = Annotated[int, typer.Option(min=1, help="labels to show of each image")]
Prediction = dict[str, Any]


@one_line_errors("saft predict")
def main(
    images: Images, labels: LabelNames = None, dataset: ImageSetName = None,
    template: TemplateTexts = None, texts: TextSetName = None, model: ModelNames = None,
    clip: ClipAround = None, top: Top = 5, as_json: Json = False,
) -> None:  # fmt: skip
    """Classify images without training: probabilities by the base and the robust model."""
    result = predict(images, Request(labels, dataset, template, texts), model, clip)
    if as_json:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    typer.echo("\n".join(line for image in result["images"] for line in table(image, top)))


def predict(
    images: Sequence[Path], request: Request, names: Sequence[str] | None, clip: str | None
) -> dict[str, Any]:
    """All that is to be said, as JSON has it: texts, and for each image the prediction of each
    model, probabilities in the order of the labels.

    Raises:
        UserError: an image, a model, or what `request` names cannot be had.
    """
    # with torch: only here, so that --help is quick
    from saft.inference.classifying import classifier, probabilities_of
    from saft.inference.images import preprocessed, read_all
    from saft.inference.models import load_all
    from saft.inference.request import chosen

    known, pictures = chosen(request), read_all(list(images))
    found: dict[str, Any] = {}
    for model in load_all(names, clip):
        values = probabilities_of(classifier(model, known), preprocessed(pictures, model))
        found[model.name] = [prediction(known, row) for row in values]
    return {
        "texts": {"name": known.table.name, "templates": known.table.templates},
        "images": [
            {
                "image": picture.name,
                "remarks": list(picture.remarks),
                "models": {name: rows[number] for name, rows in found.items()},
            }
            for number, picture in enumerate(pictures)
        ],
    }


def prediction(known: Any, probabilities: Any) -> Prediction:
    """The most likely class of (C,) probabilities, and all of them."""
    classes = [
        {"id": entry.class_id, "name": title, "probability": round(float(value), 6)}
        for entry, title, value in zip(known.classes, known.titles, probabilities, strict=True)
    ]
    best = classes[int(probabilities.argmax())]
    return {"id": best["id"], "name": best["name"], "classes": classes}


def table(image: Mapping[str, Any], top: int) -> list[str]:
    """The lines of one image: the labels that a model finds likely, most likely first."""
    models = image["models"]
    columns = {name: [c["probability"] for c in p["classes"]] for name, p in models.items()}
    names = [c["name"] for c in next(iter(models.values()))["classes"]]
    order = sorted(range(len(names)), key=lambda n: -max(of[n] for of in columns.values()))[:top]
    width = max(len(names[n]) for n in order)
    widths = {name: max(len(name), 9) for name in columns}
    remarks = f" ({'; '.join(image['remarks'])})" if image["remarks"] else ""
    head = "  ".join(f"{name:>{widths[name]}}" for name in columns)
    lines = [f"{image['image']}{remarks}", f"  {'':{width}}  {head}"]
    for n in order:
        cells = []
        for name, of in columns.items():
            mark = "*" if of[n] == max(of) else " "
            cells.append(f"{f'{100 * of[n]:.1f} %{mark}':>{widths[name]}}")
        lines.append(f"  {names[n]:{width}}  {'  '.join(cells)}")
    return lines
