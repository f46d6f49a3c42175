"""Two small models where `dvc repro` puts base and finetuned, and images to show them."""

from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from pipeline.clip.folders import BASE, FINETUNED, clip_folder
from tests.support import tiny_clips

LABELS = ["red star", "blue ring", "green heart", "digit seven"]
SIZE = 32


def write_models() -> None:
    """Both in data/models of the current folder; another image tower in each."""
    tiny = tiny_clips.make(vision={"patch_size": 4})
    tiny_clips.save(tiny, clip_folder(BASE))
    with torch.no_grad():
        for weight in tiny.model.visual.parameters():
            weight.mul_(0.9)
    tiny_clips.save(tiny, clip_folder(FINETUNED))


def write_image(path: Path | str, size: tuple[int, int] = (60, 44), seed: int = 0) -> Path:
    """A smooth colourful picture as a file."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return Path(path)


class PlainOpenClip:
    """A folder as open_clip itself loads it; the texts of LABELS by one template."""

    def __init__(self, folder: Path, template: str = "This is a photo of a {}") -> None:
        where = f"local-dir:{folder}"
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(where)
        self.model.eval()
        self.normalise = self.preprocess.transforms[-1]
        self.texts = open_clip.get_tokenizer(where)([template.format(name) for name in LABELS])

    @torch.no_grad()
    def of_file(self, path: Path) -> np.ndarray:
        """(C,) probabilities."""
        pixels = self.preprocess(Image.open(path).convert("RGB"))[None]
        return self.model.get_logits(pixels, self.texts)[0].softmax(1)[0].numpy()

    @torch.no_grad()
    def of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """(C,) probabilities of float32 (3, S, S) in [0, 1]."""
        normal = self.normalise(torch.from_numpy(pixels))[None]
        return self.model.get_logits(normal, self.texts)[0].softmax(1)[0].numpy()
