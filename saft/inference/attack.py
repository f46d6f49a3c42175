"""`saft attack IMAGE --label NAME`: what an attack does to an image, seen by several models."""

from pathlib import Path
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
from saft.output_folder import check_free

ImageFile = Annotated[str, typer.Argument(metavar="IMAGE", help="an image file")]
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
    # with torch: only here, so that --help is quick
    from saft.inference.attack_folder import write
    from saft.inference.attacking import budget
    from saft.inference.images import read
    from saft.inference.labels import position
    from saft.inference.models import load_all
    from saft.inference.request import chosen

    folder = out if out is not None else Path(f"attack-{Path(image).stem}")
    check_free(folder)
    allowed = budget(epsilon, steps, step, seed)
    known, picture = chosen(Request(labels, dataset, template, texts)), read(image)
    number = position(label, known.classes)
    lines = write(folder, picture, number, known, load_all(model, clip), allowed)
    typer.echo("\n".join(map(printable, lines)))
