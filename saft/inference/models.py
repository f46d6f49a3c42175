"""A CLIP by the name that people give it, ready to classify images and to be attacked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch

from pipeline.clip import model as clip_model
from pipeline.clip.config import CONFIG_FILE, check_config
from pipeline.clip.device import named_device, pick_device
from pipeline.clip.folders import BASE, FINETUNED, MODELS, clip_folder
from pipeline.clip.model import Clip, ImageEncoder
from pipeline.common import names, registry
from pipeline.common.errors import UserError
from pipeline.common.params import PARAMS_FILE, read_params, validate
from saft.evaluation import paths
from saft.evaluation.models import NamedModel, parse
from saft.export.lineage import FINETUNE

CHECKPOINT = "checkpoint"
ON_DISK = ("local", CHECKPOINT)  # sources whose names end in a fingerprint


@dataclass(frozen=True)
class Model:
    """A CLIP on its device, in float32 and eval mode.

    name: for people and folders, of letters, digits, - and _; clip: both towers, config and
    tokenizer; encoder: the image tower behind pixels in [0, 1]; notes: what is remarkable about its
    weights.
    """

    name: str
    clip: Clip
    encoder: ImageEncoder
    device: torch.device
    notes: tuple[str, ...] = ()


def load(
    name: str | Path, *, clip: str | None = None, device: str | torch.device | None = None
) -> Model:
    """Load a model as `saft evaluate` names it.

    Args:
        name: base, finetuned or another model of params.yaml; open_clip's name and tag
            (ViT-B-32-quickgelu/openai); hf-hub:organisation/repository; a folder of open_clip or
            transformers; a checkpoint file; any but the first as NAME=...
        clip: the CLIP that a checkpoint was trained from, as name and tag.
        device: cpu, cuda or cuda:1; None: what SAFT_DEVICE says, else CUDA where there is one.

    Raises:
        UserError: it names nothing, has not been made or downloaded, or is no CLIP that this
            project takes; no such device; or clip is given, but no checkpoint.
    """
    target = pick_device() if device is None else named_device(str(device), "device")
    if not isinstance(name, str | Path):
        raise UserError(f"model: {name!r} is no name; give a name in quotes, or a path")
    [(text, named)] = _parsed([str(name)], clip)
    return _loaded(text, named, target)


def load_all(chosen: Sequence[str] | None, clip: str | None) -> list[Model]:
    """`load` of several models; None: the base model and the fine-tuned one.

    Raises:
        UserError: one cannot be loaded, two have one name, or clip is given, but no checkpoint.
    """
    target, named = pick_device(), _parsed(chosen or (BASE, FINETUNED), clip)
    models = [_loaded(text, one, target) for text, one in named]
    titles = [model.name for model in models]
    for title in titles:
        if titles.count(title) > 1:
            raise UserError(f"two models are named '{title}'; name each once, or write NAME=...")
    return models


def _parsed(texts: Sequence[str], clip: str | None) -> list[tuple[str, NamedModel]]:
    """What people name, each with what it was called."""
    known = _known()
    named = [(text, parse(text, known, clip)) for text in texts]
    sources = [one.section["source"] for _, one in named if one.section is not None]
    if clip is not None and CHECKPOINT not in sources:
        raise UserError(f"--clip {clip}: is of checkpoint files, and no model is one; leave it out")
    return named


def _loaded(text: str, named: NamedModel, target: torch.device) -> Model:
    loaded, notes = _made(named.name) if named.section is None else _built(text, named.section)
    loaded.model.to(target)
    encoder = clip_model.image_encoder(loaded).to(target).eval()
    return Model(_title(named), loaded, encoder, target, notes)


def _known() -> dict[str, Any]:
    """Section `models` of params.yaml, and what lies in data/models."""
    made: dict[str, Any] = {folder.parent.name: {} for folder in sorted(MODELS.glob("*/clip"))}
    made.pop(FINETUNED, None)  # which is known anyway
    models = read_params().get("models") if PARAMS_FILE.is_file() else None
    return {**made, **(models if isinstance(models, Mapping) else {})}


def _made(name: str) -> tuple[Clip, tuple[str, ...]]:
    names.check([name], "models")
    folder = clip_folder(name)
    if not folder.is_dir():
        stage = FINETUNE if name == FINETUNED else f"stages/dvc.yaml:model@{name}"
        raise UserError(f"{folder}: not found; `dvc repro {stage}` makes it")
    return clip_model.load(folder), ()


def _built(text: str, section: Mapping[str, Any]) -> tuple[Clip, tuple[str, ...]]:
    """A model that params.yaml does not have, in memory; its tokenizer is CLIP's, since sources
    refuse others."""
    module = registry.load("pipeline.model_sources", section["source"], text)
    built = module.build(validate(section["options"], module.Params, text))
    clip_model.check_finite(built.model, "these weights are broken; choose others", f"{text}: ")
    check_config(built.config, f"{text}: {CONFIG_FILE}")
    tokenizer = open_clip.SimpleTokenizer(context_length=built.model.context_length)
    return Clip(built.model.eval(), built.config, tokenizer, text), tuple(built.notes)


def _title(named: NamedModel) -> str:
    on_disk = named.section is not None and named.section["source"] in ON_DISK
    return paths.without_fingerprint(named.name) if on_disk else named.name
