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
    """The model in float32, on the CPU.

    Raises:
        UserError: files are missing, or config and weights contradict each other.
    """
    folder = folder_of(path)
    config, names = config_of(folder)
    weights = whole.weights_of(folder, names)
    return whole.build(config, weights, whole.in_folder(folder), str(folder))


def folder_of(path: Path) -> Path:
    """`path`, or the folder that it stands for if it is the config or the weights in it.

    Raises:
        UserError: it is any other file.
    """
    if not path.is_file():
        return path
    configs = (CONFIG_FILE, transformers_config.CONFIG)
    if path.name.lower() in (*configs, *whole.OPEN_CLIP, *whole.TRANSFORMERS):
        return path.parent
    raise UserError(
        f"{path}: is a file; name the folder of a whole CLIP ({' or '.join(configs)} and its "
        "weights), or, for a file of weights alone, take source: checkpoint"
    )


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
