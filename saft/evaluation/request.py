"""What `saft evaluate` was asked for, as a whole params.yaml."""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.common.errors import UserError
from saft.evaluation import models, paths, sets
from saft.evaluation.sizes import check_sizes, model_size

USUAL_SIZE = 224
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


def requested(values: Values, request: Request) -> Values:
    """params.yaml for the request; `values` stay as they are.

    Raises:
        UserError: a model, a set or the reference is not to be had, or sizes of images differ.
    """
    result = copy.deepcopy(values)
    if request.clip is not None:
        models.published(request.clip, "--clip")
    named = [models.parse(text, values["models"], request.clip) for text in request.models]
    evaluate = result["evaluate"]
    evaluate["models"] = _add(named, result["models"], "models", "write NAME=... for one")
    if request.images is not None:
        evaluate["images"] = request.images
    if request.sets is not None:
        size = request.size or _first_size(result) or USUAL_SIZE
        known = values["prepare"]["sets"]
        chosen = [sets.parse(text, known, size) for text in request.sets]
        names = _add(chosen, result["prepare"]["sets"], "image sets", "rename one of the folders")
        evaluate["datasets"], evaluate["checks"]["datasets"] = names, names[:1]
    result["report"]["reference"] = _reference(request, evaluate["models"])
    check_sizes(result)
    return result


def _add(
    named: Sequence[models.NamedModel | sets.NamedSet], entries: Values, kind: str, advice: str
) -> list[str]:
    """Add to a section of params.yaml what has no entry there; all names, each once."""
    for name, section in named:
        if section is not None and entries.setdefault(name, section) != section:
            raise UserError(f"two {kind} are named '{name}'; {advice}")
    return list(dict.fromkeys(name for name, _ in named))


def _first_size(values: Values) -> int | None:
    """The side in pixels that the first model takes whose size is known without loading it."""
    sizes = (model_size(name, values) for name in values["evaluate"]["models"])
    return next((size for size in sizes if size is not None), None)


def _reference(request: Request, names: Sequence[str]) -> str:
    """The model of the paired tests: by its name, or by that without the fingerprint."""
    if request.reference is None:
        return names[0]
    if request.reference in names:
        return request.reference
    alike = [name for name in names if paths.without_fingerprint(name) == request.reference]
    return alike[0] if len(alike) == 1 else request.reference
