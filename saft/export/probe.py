"""The proof that an export is the model: equal features of fixed images and texts on reload."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.clip.model import Clip, to_float_pixels
from pipeline.common.errors import UserError

# of a feature's norm: other kernels for the same float32 sums differ by some 1e-7; another
# activation, epsilon or pooled token by 1e-3 and more
TOLERANCE = 1e-5
TEXTS = (
    "a photo of a cat.",
    "A Photo of the number: 1024!",
    "it's a close-up  photo of a Dalmatian's nose, isn't it?",
    "ein Foto einer Straße in Köln; 東京の写真 ☕",
    "",
    "a very long description of a bird with a red beak, black wings and a white belly, " * 9,
)
Features = dict[str, Tensor]
"""Not normalised, float32, on the CPU: "image" (N, D), "text" (M, D); or one of the two."""


@dataclass(frozen=True)
class Probe:
    """pixels: (N, S, S, 3) uint8, RGB, of the model's own size, so that nothing is resized."""

    pixels: np.ndarray
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Reloaded:
    """Features of the files that were written, and what has read them, for people."""

    features: Features
    reader: str


def make(side: int) -> Probe:
    """The probe for a model of side x side pixels: two of noise, a gradient and plain grey."""
    noise = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    gradient = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]), axis=-1)
    grey = np.full((side, side, 3), 128, dtype=np.uint8)
    return Probe(np.concatenate([noise, [gradient, grey]]), TEXTS)


@torch.no_grad()
def features(clip: Clip, probe: Probe) -> Features:
    """What a model in open_clip's layout makes of the probe."""
    return {
        "image": image_features(clip.model.visual, clip.config, probe),
        "text": clip.model.encode_text(clip.tokenize(list(probe.texts))).float(),
    }


@torch.no_grad()
def image_features(visual: Any, config: dict[str, Any], probe: Probe) -> Tensor:
    """(N, D) features of the probe's images by an image encoder of open_clip's."""
    preprocess = config["preprocess_cfg"]
    mean, std = (torch.tensor(preprocess[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    pixels = to_float_pixels(probe.pixels.transpose(0, 3, 1, 2), torch.device("cpu"))
    output = visual((pixels - mean) / std)
    return (output[0] if isinstance(output, tuple) else output).float()  # tokens come second


def largest_difference(features: Features, reference: Features) -> float:
    """The largest difference of two numbers, in units of the norm of the reference's feature;
    NaN where a feature is."""
    largest = [
        ((value - reference[kind]).abs() / reference[kind].norm(dim=-1, keepdim=True)).max()
        for kind, value in features.items()
    ]
    return float(torch.stack(largest).max())


def check_equal(reloaded: Reloaded, reference: Features) -> str:
    """One line of what was compared.

    Raises:
        UserError: the features differ by more than float32 rounding.
    """
    difference = largest_difference(reloaded.features, reference)
    counts = " and ".join(f"{len(v)} {kind}s" for kind, v in reloaded.features.items())
    if not difference <= TOLERANCE:  # NaN too
        raise UserError(
            f"read again by {reloaded.reader}, features of {counts} differ from the model's by "
            f"{difference:.1e} of their norm, over {TOLERANCE:g}; nothing is written"
        )
    return (
        f"read again by {reloaded.reader}: features of {counts} differ from the model's by at "
        f"most {difference:.1e} of their norm"
    )
