"""What `saft evaluate` was asked for, as a whole params.yaml."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.common.errors import UserError
from saft.evaluate import models, sets

PROTOCOL = ("embed", "evaluate", "report")  # the sections that say how to evaluate
Values = dict[str, Any]


class Request(NamedTuple):
    """The arguments of the command. sets, images, reference: None for what params or protocol
    say."""

    models: Sequence[str]
    sets: Sequence[str] | None
    images: int | None
    clip: str | None
    size: int | None
    reference: str | None


def with_protocol(values: Values, protocol: Mapping[str, Any]) -> Values:
    """params.yaml with the evaluation of a profile, and its image sets beside those there are."""
    prepare = copy.deepcopy(values["prepare"])
    prepare["sets"] |= protocol["prepare"]["sets"]
    changed = {section: copy.deepcopy(protocol[section]) for section in PROTOCOL}
    return {**values, "prepare": prepare, **changed}


def requested(values: Values, request: Request) -> Values:
    """params.yaml for the request; `values` stay as they are.

    Raises:
        UserError: a model, a set or the reference is not to be had.
    """
    result = copy.deepcopy(values)
    known = dict(result["models"])
    named = [models.parse(text, known, request.clip) for text in request.models]
    for model in named:
        if model.section is not None:
            if model.name in result["models"]:
                raise UserError(f"two models are named '{model.name}'; write NAME=... for one")
            result["models"][model.name] = model.section
    evaluate = result["evaluate"]
    evaluate["models"] = list(dict.fromkeys(model.name for model in named))
    if request.images is not None:
        evaluate["images"] = request.images
    if request.sets is not None:
        size = request.size or image_size(named) or models.USUAL_SIZE
        chosen = [sets.parse(text, result["prepare"]["sets"], size) for text in request.sets]
        for image_set in chosen:
            if image_set.section is not None:
                result["prepare"]["sets"][image_set.name] = image_set.section
        evaluate["datasets"] = [image_set.name for image_set in chosen]
        evaluate["checks"]["datasets"] = [evaluate["datasets"][0]]
    result["report"]["reference"] = request.reference or evaluate["models"][0]
    return result


def image_size(named: Sequence[models.NamedModel]) -> int | None:
    """The side in pixels that the first model takes whose size is known without loading it."""
    return next((size for size in map(models.image_size, named) if size is not None), None)
