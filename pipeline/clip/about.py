"""about.json of a model: where it comes from, what is known of it, and which towers it has; without
torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.common.bounds import Count
from pipeline.common.params import Section, validate
from pipeline.common.tables import read_json

FILE = "about.json"
Defended = Literal["true", "false", "unknown"]
# what `models.<name>.defended` is in about.json
DEFENDED: dict[Any, Defended] = {True: "true", False: "false", "unknown": "unknown"}


class About(Section):
    """about.json. origin: Markdown; hub_id: the repository of the Hugging Face hub that the weights
    come from; image_tower, text_tower: sha256, see `pipeline.clip.towers`."""

    name: str
    source: str
    origin: str
    hub_id: str | None
    defended: Defended
    licence: str | None
    citation: str | None
    notes: list[str]
    parameters: int = Field(ge=1, le=2**63 - 1)
    image_size: Count
    image_tower: str
    text_tower: str


class TrainedUnder(Section, extra="ignore"):
    """The attack of a training, in recipe.json."""

    norm: str
    steps: int


class TrainedBy(Section, extra="ignore"):
    """What of recipe.json the record tells; attack: None for a method that trains on clean
    images."""

    title: str
    dataset: str
    attack: TrainedUnder | None


def read_recipe(path: Path) -> dict[str, Any]:
    """recipe.json of the fine-tuned model.

    Raises:
        UserError: it is missing, damaged, or without what the record tells.
    """
    values: dict[str, Any] = read_json(path)
    validate(values, TrainedBy, str(path))
    return values


def finetuned_origin(recipe: Mapping[str, Any]) -> str:
    """`origin` of the fine-tuned model, by its recipe.json."""
    return f"`base`, fine-tuned by {recipe['title']} on image set `{recipe['dataset']}`"


def finetuned_defended(recipe: Mapping[str, Any]) -> Defended:
    """`defended` of it: whether its training attacked."""
    return "true" if recipe["attack"] else "unknown"


def read_about(folder: Path) -> About:
    """about.json in a folder."""
    path = folder / FILE
    return validate(read_json(path), About, str(path))
