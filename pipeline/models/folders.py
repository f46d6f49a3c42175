"""A whole CLIP in a folder on disk, in the layout of open_clip or of transformers."""

from pathlib import Path
from typing import Any

from pipeline.clip.config import CONFIG_FILE, read_config
from pipeline.common.errors import UserError
from pipeline.models import transformers_config, whole
from pipeline.models.configs import check_layout
from pipeline.models.interface import BaseModel

# by the file that tells it
OTHERS = {
    "adapter_config.json": "an adapter of peft (LoRA): merge it into its model first",
    "model_index.json": "a pipeline of diffusers, whose image encoder is no CLIP",
}


def load(path: Path) -> BaseModel:
    """The model in float32, on the CPU; a file with its weights stands for its folder.

    Raises:
        UserError: files are missing, or config and weights contradict each other.
    """
    folder = path.parent if path.name in (*whole.OPEN_CLIP, *whole.TRANSFORMERS) else path
    config, names = config_of(folder)
    fetch = whole.in_folder(folder)
    weights = next(filter(None, map(fetch, names)), None)
    if weights is None:
        raise UserError(f"{folder}: holds no weights: none of {', '.join(names)}")
    return whole.build(config, weights, fetch, str(folder))


def config_of(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """({"model_cfg", "preprocess_cfg"}, names that its weights may have); loads no weights.

    Raises:
        UserError: there is no config, or the model is not one that this pipeline takes.
    """
    path = folder / transformers_config.CONFIG
    if path.is_file() and not (folder / CONFIG_FILE).is_file():
        preprocessor = whole.in_folder(folder)(transformers_config.PREPROCESSOR)
        return transformers_config.read(path, preprocessor, str(folder)), whole.TRANSFORMERS
    for name, kind in OTHERS.items():
        if (folder / name).is_file() and not (folder / CONFIG_FILE).is_file():
            raise UserError(f"{folder}: is {kind}; this is not supported")
    config = read_config(folder)
    check_layout(config["model_cfg"], str(folder))
    return config, whole.OPEN_CLIP
