"""How the images of the evaluated sets came to the size that a model or an attack sees."""

from collections.abc import Mapping
from typing import Any

from pipeline.report.inputs import Inputs

# by `resize` of an entry of prepare.sets, which pipeline.images.decoding.fit follows
RULES = {
    "crop": "shorter side resized to {shorter}, then the middle {size} x {size} cut out, of images "
    "that had the size already too",
    "stretch": "both sides resized to {size}",
    "native": "as in their files, {size} x {size}, not resized",
}


def size_view(inputs: Inputs) -> dict[str, list[str]]:
    """Rule -> the evaluated sets that it holds for, in the order of evaluate.datasets."""
    specs = inputs.settings.get("prepare", {}).get("sets", {})
    sets: dict[str, list[str]] = {}
    for name in inputs.evaluate.datasets:
        if name in specs:
            sets.setdefault(size_rule(specs[name]), []).append(name)
    return sets


def size_rule(spec: Mapping[str, Any]) -> str:
    """The rule of an entry of prepare.sets; where it leaves `resize` out, it is its source's.

    Example: {"size": 224, "resize": "crop"} -> "shorter side resized to 256, then ..."
    """
    if spec.get("resize") is None:
        return f"by the rule of source {spec['source']} (docs/data-sets.md)"
    size = spec["size"]
    return RULES[spec["resize"]].format(size=size, shorter=round(size * 8 / 7))
