"""What `saft evaluate` is asked for: words, and the folders that they name."""

import json
from pathlib import Path
from typing import Any

from saft.evaluation.request import Request
from tests.support.clip_layouts import transformers_config

B32, B16 = "ViT-B-32-quickgelu/openai", "ViT-B-16-quickgelu/openai"
DIGITS = "-[0-9a-f]{8}"  # a fingerprint in a name, as a pattern


def asked(*words: str, **arguments: Any) -> Request:
    """A request for models by `words`; what is not named is left to params.yaml."""
    return Request(words, **dict.fromkeys(Request._fields[1:]) | arguments)


def clip_in(folder: Path, size: int = 16) -> str:
    """A folder with the config of transformers, and a file where weights are."""
    folder.mkdir(parents=True)
    config = transformers_config("gelu")
    config["vision_config"]["image_size"] = size
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return str(folder)


def images_in(folder: Path, *classes: str) -> str:
    """A folder of class folders, one file each; nothing decodes them."""
    for name in classes or ("rose", "tulip"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(b"pixels")
    return str(folder)
