"""about.json of a model: where it comes from, what is known of it, and which towers it has; without
torch."""

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


def read_about(folder: Path) -> About:
    """about.json in a folder."""
    path = folder / FILE
    return validate(read_json(path), About, str(path))
