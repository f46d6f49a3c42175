"""A whole CLIP from its config and its weights, in a folder or in a repository of the hub."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from open_clip.model import CLIP

from pipeline.common.errors import UserError, listed, one_line
from pipeline.models import checkpoints, state_dicts, towers
from pipeline.models.checkpoints import POSITIONS, Weights
from pipeline.models.interface import BaseModel
from pipeline.models.state_dicts import Fetch

OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TRANSFORMERS = (
    "model.safetensors", "model.safetensors.index.json",
    "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".index")


def in_folder(folder: Path) -> Fetch:
    """The files of a folder on disk."""
    return lambda name: folder / name if (folder / name).is_file() else None


def weights_file(path: Path) -> Path:
    """`path`, or, of a folder, the file with its weights, or the index of such files.

    Raises:
        UserError: a folder without weights.
    """
    return weights_of(path, (*OPEN_CLIP, *TRANSFORMERS)) if path.is_dir() else path


def weights_of(folder: Path, names: Sequence[str]) -> Path:
    """The first of the files `names` that a folder has.

    Raises:
        UserError: it has none; what else it has that looks like weights is named.
    """
    file = next(filter(None, map(in_folder(folder), names)), None)
    if file is not None:
        return file
    others = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in WEIGHT_ENDINGS)
    has = f"; it has {listed(others, 3)}: rename what is meant" if others else ""
    raise UserError(f"{folder}: holds no weights: none of {', '.join(names)}{has}")


def build(config: dict[str, Any], path: Path, fetch: Fetch, what: str) -> BaseModel:
    """The model in float32, in eval mode, on the CPU.

    Args:
        config: {"model_cfg", "preprocess_cfg"}, checked.
        path: its weights, or their index, whose files `fetch` has.
        what: the model's name.

    Raises:
        UserError: config and weights contradict each other.
    """
    model = empty(config["model_cfg"], what)
    index = path.name.endswith(state_dicts.INDEX)
    content = state_dicts.read_shards(path, fetch) if index else state_dicts.read(path)
    weights = checkpoints.find(content, None, model, path, f"{what}, as its config has it")
    _check(weights, model, path)
    towers.put(model, weights.state, path)
    return BaseModel(model.eval(), config)


def empty(model_cfg: dict[str, Any], what: str) -> CLIP:
    """open_clip's CLIP of this config, with random weights.

    Raises:
        UserError: open_clip cannot build it.
    """
    values = {key: value for key, value in deepcopy(model_cfg).items() if key != "custom_text"}
    try:
        return CLIP(**values)
    except (TypeError, ValueError, LookupError, AssertionError, ArithmeticError, RuntimeError) as e:
        raise UserError(f"{what}: open_clip cannot build its config: {one_line(e)}") from None


def _check(weights: Weights, model: CLIP, path: Path) -> None:
    """Raise UserError unless there are both towers, and as many positions as the config says."""
    if not weights.layout.whole:
        raise UserError(
            f"{path}: holds an image encoder alone; use source: checkpoint with it as file: and "
            "the CLIP that it was trained from as model:"
        )
    count, expected = len(weights.state[POSITIONS]), len(model.visual.positional_embedding)
    if count != expected:
        raise UserError(
            f"{path}: has {count} positional embeddings, its config {expected}: image_size or "
            "patch_size of the config are not those of the weights"
        )
