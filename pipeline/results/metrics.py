"""metrics.json: what an evaluation was, and the counts behind its accuracies."""

import json
from typing import Any

from pydantic import Field

from pipeline.common.params import Section

NORMS = {"linf": "l∞", "l2": "l2"}


class Accuracy(Section, extra="ignore"):
    """`correct` of `images`."""

    correct: int = Field(ge=0)
    images: int = Field(ge=1)
    accuracy: float


class Texts(Section, extra="ignore"):
    """A text set by name, and the templates it was filled from (none for descriptions)."""

    name: str
    templates: list[str]


class Metrics(Section, extra="ignore"):
    """metrics.json of one model: data/evaluation/<set>/<texts>/<attack>/<epsilon>/<model>/.

    robust_last is None where it was not measured; note: what the attack did otherwise than its
    name says, "" if nothing; set_notes: what `prepare` left out or had to say of the set.
    """

    dataset: str
    images: int
    dropped: int
    classes: int
    set_notes: list[str] = []
    attack: str
    title: str
    options: dict[str, Any]
    budget: int
    norm: str
    epsilon_255: float
    space: str
    pixels: int
    precision: str
    guard_band: float | None
    texts: Texts
    attacker: Texts
    robust: str
    seed: int
    model: str
    note: str
    clean: Accuracy
    robust_any: Accuracy
    robust_last: Accuracy | None


OF_ONE_MODEL = {"model", "note", "clean", "robust_any", "robust_last"}
SHARED = [key for key in Metrics.model_fields if key not in OF_ONE_MODEL]


def options_text(metrics: Metrics) -> str:
    """The options of an attack as people read them."""
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in metrics.options.items())
