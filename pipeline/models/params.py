"""An entry of section `models`: where a model comes from, and what is known of it."""

from collections.abc import Mapping
from typing import Any, Literal

from pipeline.clip.folders import FINETUNED
from pipeline.common import names
from pipeline.common.bounds import Name
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, Section, validate

WHERE = f"{PARAMS_FILE}: models"


class ModelParams(Section):
    """An entry of section `models` of params.yaml, where every key is explained."""

    source: Name
    options: dict[str, Any]
    defended: Literal[True, False, "unknown"]
    licence: str | None
    citation: str | None


def read_model(name: str, models: Mapping[str, Any]) -> ModelParams:
    """Entry `name` of section `models`.

    Raises:
        UserError: there is none, its name is no name, or a key is wrong.
    """
    names.check([name], WHERE)
    if name == FINETUNED and name in models:
        raise UserError(f"{WHERE}: '{FINETUNED}' is what fine-tuning makes; name it otherwise")
    if name not in models:
        raise UserError(f"{WHERE} has no '{name}', only {', '.join(sorted(models)) or 'none'}")
    return validate(models[name], ModelParams, f"{WHERE}.{name}")
