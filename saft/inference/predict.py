"""`saft predict IMAGE...`: what models make of images, side by side."""

import json
from typing import Annotated

import typer

from pipeline.common.errors import printable
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

Images = Annotated[list[str], typer.Argument(metavar="IMAGE...", help="image files")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on stdout, with all labels")]
Top = Annotated[int, typer.Option(min=1, help="labels to show of each image")]


@one_line_errors("saft predict")
def main(
    images: Images, labels: LabelNames = None, dataset: ImageSetName = None,
    template: TemplateTexts = None, texts: TextSetName = None, model: ModelNames = None,
    clip: ClipAround = None, top: Top = 5, as_json: Json = False,
) -> None:  # fmt: skip
    """Classify images without training: probabilities by the base and the robust model."""
    # with torch: only here, so that --help is quick
    from saft.inference.images import read_all
    from saft.inference.models import load_all
    from saft.inference.predictions import predicted, table
    from saft.inference.request import chosen

    known, pictures = chosen(Request(labels, dataset, template, texts)), read_all(images)
    result = predicted(known, pictures, load_all(model, clip))
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    lines = [line for image in result["images"] for line in table(image, top)]
    typer.echo("\n".join(map(printable, lines)))
