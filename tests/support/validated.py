"""Sets to validate a training of set "tiny" (conftest) on, and section `finetune.validation`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.datasets import imagefolder
from pipeline.prepare.pack import pack
from tests.conftest import folder_params

VALIDATION = {"images": None, "every": 1, "steps": 2, "patience": None, "keep_best": False}


def validation(name: str = "held", **changes: Any) -> dict[str, Any]:
    """Section `finetune.validation` on the set `name`, with changes."""
    return {"dataset": name, **VALIDATION, **changes}


def write_images(root: Path, classes: Sequence[str], per_class: int = 4, seed: int = 7) -> Path:
    """Random images below `root`, a folder for each class."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def prepare(root: Path, name: str = "held", **changes: Any) -> None:
    """Pack the class folders below `root`, or stream them, as set `name` of the current folder."""
    source = imagefolder.open_source(folder_params(root, **changes))
    pack(source, name, Path("data/images") / name, Path(f"data/classes/{name}.parquet"))
