"""CLIP models as open_clip folders, split into what training needs and what it must not touch.

Pixel contract, everywhere in this package: images are float32 in [0, 1], *before*
normalisation; mean and standard deviation are applied inside `ImageEncoder`.
"""

import json
import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.clip.config import CONFIG_FILE, check_config, read_config
from pipeline.clip.fused import fuse
from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError, one_line
from pipeline.common.finite import AGAIN
from pipeline.common.storage import numbers_from_words

WEIGHTS_FILE = "open_clip_model.safetensors"
MAX_LOG_SCALE = math.log(100)
# what to do with a model whose weights are finite and whose features are not
BROKEN = "its weights are damaged or need another config; make the model again, or take another"

# The fused no-grad path of attention differs from the grad path in the last bits; with it
# off, an image gets the same logits inside an attack and in its final verdict.
torch.backends.mha.set_fastpath_enabled(False)


class Clip(NamedTuple):
    """An open_clip model with the config it was built from and its tokenizer; where: its folder,
    for messages."""

    model: Any
    config: dict[str, Any]
    tokenize: Any
    where: str = "the model"


def to_float_pixels(pixels: np.ndarray, device: torch.device) -> Tensor:
    """uint8 pixels as float32 in [0, 1] on `device`: the only way images enter a model."""
    writable = np.require(pixels, requirements=["C", "W"])  # copies a memory map's part
    return scaled(torch.from_numpy(writable).to(device))


def scaled(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [0, 1]: the same bits on every device. (A divisor that is a
    number would be a factor 1/255 on CUDA, and 126 of the 256 values one bit off.)"""
    return pixels.float().div_(torch.full((), 255.0, device=pixels.device))


class Features(NamedTuple):
    """One forward of the image encoder.

    embedding: (B, D) projected class token, not normalised; tokens: (B, T, W) patch tokens
    after `ln_post`, row-major over the patch grid, not yet projected.
    """

    embedding: Tensor
    tokens: Tensor

    @property
    def pooled(self) -> Tensor:
        """(B, D) float32 image features of unit norm."""
        return F.normalize(self.embedding.float(), dim=-1)


class ImageEncoder(nn.Module):
    """open_clip's vision transformer behind the [0, 1] pixel contract, with the parts of
    `pipeline.clip.fused` in place of its own."""

    mean: Tensor
    std: Tensor
    visual: Any

    def __init__(self, visual: Any, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        if not hasattr(visual, "output_tokens") or getattr(visual, "proj", None) is None:
            raise UserError(
                "the image encoder has no patch tokens with a projection; "
                "choose an open_clip ViT (e.g. ViT-B-32-quickgelu)"
            )
        visual.output_tokens = True
        fuse(visual)
        self.visual = visual
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Features:
        """Encode (B, 3, S, S) pixels in [0, 1]: embedding and tokens of one forward."""
        return Features(*self.visual((images - self.mean) / self.std))

    def project(self, features: Features) -> Tensor:
        """All tokens in the joint space, (B, 1 + T, D), the class token first; equals the
        reference's `ln_post(x) @ proj` (SAFT release, clip model)."""
        return torch.cat([features.embedding[:, None], features.tokens @ self.visual.proj], dim=1)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid."""
        rows, columns = self.visual.grid_size
        return int(rows), int(columns)

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return int(self.visual.image_size[0])


def load(folder: Path) -> Clip:
    """Load an open_clip folder in float32, in eval mode, on the CPU.

    Raises:
        UserError: a file is missing, the JSON is broken, keys or shapes do not fit, or a number of
            them cannot be computed with: see `check_finite` and `read_config`.
    """
    config = read_config(folder)
    if not (folder / WEIGHTS_FILE).is_file():
        raise UserError(f"{folder / WEIGHTS_FILE}: not found; an open_clip folder has one")
    try:
        with _quiet():
            model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
            tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    except (SafetensorError, RuntimeError, ValueError, LookupError, TypeError, OSError) as error:
        reason = one_line(error, 300)
        raise UserError(f"{folder / WEIGHTS_FILE}: does not fit {CONFIG_FILE}: {reason}") from None
    check_finite(model, AGAIN, f"{folder / WEIGHTS_FILE}: ")
    return Clip(model.eval(), config, tokenize, str(folder))


def save(model: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write the folder that `open_clip.create_model_and_transforms("local-dir:...")` loads.

    `open_clip.push_to_hf_hub.save_for_hf` fails with the standard tokenizer, so the two
    files are written directly. Same weights, same bytes.
    """
    with replacing_directory(folder) as partial:
        write_files(model, config, partial)


def write_files(model: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write config and weights into an existing folder.

    Raises:
        UserError: the disk is full, or the config is not what `load` takes.
    """
    check_config(config, CONFIG_FILE)
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with numbers_from_words(folder / WEIGHTS_FILE):
        save_file(weights, folder / WEIGHTS_FILE)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    # safetensors writes for the owner's eyes only
    (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode)


def image_encoder(clip: Clip) -> ImageEncoder:
    """The image half of a model, with its own normalisation."""
    preprocess = clip.config["preprocess_cfg"]
    return ImageEncoder(clip.model.visual, tuple(preprocess["mean"]), tuple(preprocess["std"]))


def logit_scale(clip: Clip) -> float:
    """exp of the learned log scale, clamped to [1, 100] as CLIP does in training."""
    return math.exp(min(max(clip.model.logit_scale.item(), 0.0), MAX_LOG_SCALE))


def check_fit(encoder: ImageEncoder, size: int, width: int, where: str) -> None:
    """Raise UserError unless the encoder takes `size` pixels and gives `width` features."""
    if encoder.image_size != size:
        raise UserError(
            f"{where}: the model takes {encoder.image_size} x {encoder.image_size} pixels, "
            f"the images are {size} x {size}; set prepare.*.size to the model's"
        )
    if encoder.visual.output_dim != width:
        raise UserError(
            f"{where}: image features have {encoder.visual.output_dim} numbers, "
            f"the text embeddings {width}; run `dvc repro`"
        )


def check_finite(model: nn.Module, advice: str, where: str = "") -> None:
    """Raise UserError, `where` first and `advice` last, if a weight is NaN or infinite.

    One pass: a sum is finite only if all its terms are. Only where one is not (which may be an
    overflow) its terms are looked at, and a device is waited for once.
    """
    state = model.state_dict()
    sums = [value.sum().float() for value in state.values()]
    if torch.stack(sums).isfinite().all():
        return
    bad = [name for name, value in state.items() if not value.isfinite().all()]
    if bad:
        raise UserError(f"{where}{len(bad)} weights are not finite, e.g. {bad[0]}; {advice}")


def train_only_image_encoder(clip: Clip, encoder: ImageEncoder) -> None:
    """Gradients for the image encoder's weights, none for text tower and logit scale."""
    clip.model.requires_grad_(False)
    encoder.visual.requires_grad_(True)


def preprocess_config(mean: Any = None, std: Any = None, size: int | None = None) -> dict[str, Any]:
    """open_clip's preprocess_cfg; CLIP's own mean and std unless given."""
    return {
        "mean": list(mean or open_clip.OPENAI_DATASET_MEAN),
        "std": list(std or open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        **({"size": [size, size]} if size else {}),
    }


class _quiet:
    """Hold back open_clip's INFO lines while a model loads."""

    def __enter__(self) -> None:
        logging.disable(logging.INFO)

    def __exit__(self, *_: object) -> None:
        logging.disable(logging.NOTSET)
