"""Where text becomes numbers: CLIP's text encoder over a list of sentences."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.device import arithmetic
from pipeline.clip.model import BROKEN, Clip
from pipeline.clip.towers import text_tower_hash
from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError
from pipeline.common.finite import check_unit_norm
from pipeline.common.scratch import loaded_code


@torch.no_grad()
def encode_texts(clip: Clip, texts: list[str], device: torch.device, batch: int = 256) -> Tensor:
    """Unit-norm text features (N, D), float32 on the CPU, in the order of `texts`.

    Raises:
        UserError: a feature is not finite or zero, which has no direction.
    """
    model = clip.model.to(device)
    chunks = []
    for start in range(0, len(texts), batch):
        tokens = clip.tokenize(texts[start : start + batch]).to(device)
        chunks.append(F.normalize(model.encode_text(tokens), dim=-1).float().cpu())
    features = torch.cat(chunks)
    check_unit_norm(features.numpy(), clip.where, lambda row: f"text '{texts[row]}'", BROKEN)
    return features


class OnceEncoder:
    """texts -> `encode_texts` as an array; texts that an equal text tower has encoded on such a
    device are taken from

        $DVC_ROOT/.scratch/texts/<hash of tower, texts, code, libraries and device>.npy

    encoded: how many texts this one has encoded itself."""

    def __init__(self, clip: Clip, device: torch.device) -> None:
        self.clip, self.device, self.encoded = clip, device, 0
        versions = f"{torch.__version__} {open_clip.__version__} {_code()}"
        self._origin = f"{text_tower_hash(clip)} {versions} {arithmetic(device)}"
        self._folder = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch" / "texts"

    def __call__(self, texts: list[str]) -> np.ndarray:
        """float32 (N, D), unit norm."""
        digest = hashlib.sha256(f"{self._origin} {json.dumps(texts)}".encode()).hexdigest()[:32]
        file = self._folder / f"{digest}.npy"
        features = _read(file, len(texts))
        if features is None:
            features = encode_texts(self.clip, texts, self.device).numpy()
            self.encoded += len(texts)
            with replacing_file(file) as partial, partial.open("wb") as stream:
                np.save(stream, features)
        return features


def _code() -> str:
    """sha256 of the loaded code of this package, the same whatever stage encodes."""
    files = sorted(file for file in loaded_code() if file.parent.name == "clip")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _read(file: Path, count: int) -> np.ndarray | None:
    """None where there is no file, it cannot be read or is not of such features: the texts are then
    encoded."""
    try:
        features = np.load(file)
        if features.ndim != 2 or len(features) != count:
            return None
        check_unit_norm(features, str(file), str)
    except (OSError, ValueError, EOFError, TypeError, OverflowError, MemoryError, RecursionError,
            UserError):  # fmt: skip
        return None
    return features
