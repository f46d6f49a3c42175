"""The zero-shot classifier under attack, and what the attacker knows of it.

One forward of the image encoder gives the logits of the texts that classify and of the texts
that the attacker sees: usually the same (white box), but they may differ.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import clip
from pipeline.clip import ImageEncoder
from pipeline.embed import TextSet
from pipeline.ensemble import ensemble_logits


class Victim(nn.Module):
    """Image encoder and text features, float32; attacks ascend through `features`.

    Args:
        classifier: (C, D) class features that decide the verdict.
        attacker: (C, D) class features that the attacker's loss sees.
        captions: (C, K, D) unit-norm single texts of the attacker's set, for attacks on the
            whole ensemble.
        scale: exp(logit scale).
        resize: the images come at another ("native") size: they are brought to the model's by
            bicubic interpolation *inside* the model, so that the perturbation lives at theirs.
    """

    classifier: Tensor
    attacker: Tensor
    ensemble: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        classifier: Tensor,
        attacker: Tensor,
        captions: Tensor,
        scale: float,
        resize: bool = False,
    ):
        super().__init__()
        self.encoder, self.scale, self.resize = encoder, scale, resize
        self._resizing: dict[int, Tensor] = {}
        self.register_buffer("classifier", classifier)
        self.register_buffer("attacker", attacker)
        self.register_buffer("ensemble", captions)

    def features(self, images: Tensor) -> Tensor:
        """(B, D) unit-norm features of (B, 3, S, S) pixels in [0, 1]."""
        if self.resize:
            images = resized(images, self._factor(images))
        return self.encoder(images).pooled

    def _factor(self, images: Tensor) -> Tensor:
        side = images.shape[-1]
        if side not in self._resizing:
            self._resizing[side] = resizing_factor(side, self.encoder.image_size)
        self._resizing[side] = self._resizing[side].to(images)
        return self._resizing[side]

    def classify(self, features: Tensor) -> Tensor:
        """(B, C) logits that decide."""
        return self.scale * (features @ self.classifier.T)

    def attacked(self, features: Tensor) -> Tensor:
        """(B, C) logits that the attacker sees."""
        return self.scale * (features @ self.attacker.T)

    def attacked_captions(self, features: Tensor) -> Tensor:
        """(B, C, K) logits of every single text that the attacker sees."""
        return ensemble_logits(features, self.ensemble, self.scale)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C) logits that decide, of (B, 3, S, S) pixels in [0, 1]."""
        return self.classify(self.features(images))


def resizing_factor(side: int, size: int) -> Tensor:
    """U, float32 (size, side), with U x U^T the bicubic, antialiased interpolation of a
    side x side image to size x size.

    Interpolation is linear and acts on rows and columns alike. Two products give what
    `F.interpolate` gives to 1e-5, and a backward that is deterministic on CUDA, where that of
    `F.interpolate` is none.
    """
    identity = torch.eye(side, dtype=torch.float64)[None, None]
    columns = F.interpolate(identity, size=(size, side), mode="bicubic", antialias=True)
    return columns[0, 0].float()


def resized(images: Tensor, factor: Tensor) -> Tensor:
    """(B, 3, S, S) images brought to the factor's size, (B, 3, size, size), in float32."""
    return factor @ images @ factor.T


def load_victim(
    folder: Path, texts: TextSet, seen: TextSet, size: int, native: bool, device: torch.device
) -> Victim:
    """The model of a folder as a frozen classifier, float32, in eval mode.

    Args:
        texts, seen: the texts that classify, and those the attacker sees.
        size: side of the images in pixels; must be the model's unless `native`.

    Raises:
        UserError: the folder is no model, or images or texts do not fit it.
    """
    loaded = clip.load(folder)
    encoder = clip.image_encoder(loaded)
    width = texts.captions.shape[-1]
    clip.check_fit(encoder, encoder.image_size if native else size, width, str(folder))
    classifier, attacker = (torch.from_numpy(t.classifier) for t in (texts, seen))
    captions = torch.from_numpy(seen.captions)
    resize = size != encoder.image_size
    victim = Victim(encoder, classifier, attacker, captions, clip.logit_scale(loaded), resize)
    return victim.requires_grad_(False).to(device).eval()
