"""Options that `saft predict`, `saft attack` and `saft export` share; without torch."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

LabelNames = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="class names, separated by commas [default: the classes that fine-tuning saw]",
    ),
]
ImageSetName = Annotated[
    str | None,
    typer.Option("--set", help="in place of labels: the classes of an image set of params.yaml"),
]
TemplateTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        help="sentence with {} for the name; several times: their mean "
        "[default: This is a photo of a {}]",
    ),
]
TextSetName = Annotated[
    str | None,
    typer.Option(
        "--texts", help="in place of a template: a text set of params.yaml, or descriptions"
    ),
]
ModelNames = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="[NAME=]MODEL",
        help="as `saft evaluate` takes it; several times for several [default: base, finetuned]",
    ),
]
ClipAround = Annotated[
    str | None, typer.Option("--clip", help="name/tag of the CLIP that a checkpoint starts from")
]


class Request(NamedTuple):
    """Classes and texts as they were typed; None: not given. labels: names, separated by commas;
    dataset: an image set of params.yaml; templates: sentences with {}; texts: a text set."""

    labels: str | None = None
    dataset: str | None = None
    templates: Sequence[str] | None = None
    texts: str | None = None
