"""What is known of every model that is evaluated: data/about/<name>/about.json, and the table of
the models."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.clip.about import FILE, About
from pipeline.clip.about import read_about as about_of
from pipeline.clip.folders import ABOUT
from pipeline.common.errors import UserError
from pipeline.results.evaluated import model_title

DEFENDED = {"true": "yes", "false": "no", "unknown": "unknown"}
MISSING = "–"


def read_about(models: Sequence[str]) -> dict[str, About]:
    """The about.json of every model, by name.

    Raises:
        UserError: one is missing, malformed or another model's.
    """
    result = {}
    for model in models:
        result[model] = about_of(ABOUT / model)
        if result[model].name != model:
            raise UserError(
                f"{ABOUT / model / FILE}: is about '{result[model].name}'; run `dvc repro`"
            )
    return result


def models_view(about: Mapping[str, About]) -> list[dict[str, Any]]:
    """The rows of the table of the models, in the order of evaluate.models."""
    letters = text_towers(about)
    return [
        {
            "title": model_title(model),
            "origin": plain_text(of_model.origin),
            "hub_id": of_model.hub_id,
            "defended": DEFENDED[of_model.defended],
            "licence": of_model.licence or MISSING,
            "citation": of_model.citation,
            "parameters": millions(of_model.parameters),
            "image_size": of_model.image_size,
            "text_tower": letters[model],
            "notes": [*of_model.notes, *_equal_models(model, about)],
        }
        for model, of_model in about.items()
    ]


def _equal_models(model: str, about: Mapping[str, About]) -> list[str]:
    """A note that names the models before this one with equal towers, if there are any."""
    names = list(about)
    equal = [
        model_title(name)
        for name in names[: names.index(model)]
        if (about[name].image_tower, about[name].text_tower)
        == (about[model].image_tower, about[model].text_tower)
    ]
    return [f"the weights of {' and of '.join(equal)}"] if equal else []


def text_towers(about: Mapping[str, About]) -> dict[str, str]:
    """A letter for each model, the same where the text tower is: A, B, ..., Z, AA, AB."""
    towers = list(dict.fromkeys(of_model.text_tower for of_model in about.values()))
    return {model: _letter(towers.index(of_model.text_tower)) for model, of_model in about.items()}


def plain_text(markdown: str) -> str:
    """Markdown without its marks: "[open_clip](https://x) `ViT-B-32`" -> "open_clip (https://x)
    ViT-B-32"."""
    return re.sub(r"\[([^\]]*)\]\(([^)]*)\)", r"\1 (\2)", markdown).replace("`", "")


def millions(parameters: int) -> str:
    """151277313 -> "151.3 M", 63000 -> "0.063 M"."""
    value = parameters / 1e6
    return f"{value:.1f}\u00a0M" if value >= 1 else f"{value:.2g}\u00a0M"


def _letter(index: int) -> str:
    higher, last = divmod(index, 26)
    return (_letter(higher - 1) if higher else "") + chr(ord("A") + last)
