"""The zero-shot classifier under attack, and what the attacker knows of it.

One forward of the image encoder gives the logits of the texts that classify and of the texts
that the attacker sees: usually the same (white box), but they may differ.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import Precision, frozen_copy
from pipeline.zeroshot.ensemble import ensemble_logits
from pipeline.zeroshot.text_sets import TextSet


class ZeroShotClassifier(nn.Module):
    """Image encoder and text features; attacks ascend through `features`, `forward` judges.

    Args:
        encoder: float32; decides.
        class_features: (C, D) text features that decide the verdict.
        attacker_features: (C, D) text features that the attacker's loss sees.
        attacker_captions: (C, K, D) unit-norm single texts of the attacker's set, for attacks on
            the whole ensemble.
        scale: exp(logit scale).
        resize: the images come at another ("native") size: they are brought to the model's by
            bicubic interpolation *inside* the model, so that the perturbation lives at theirs.
        ascended: a frozen copy of the encoder in a lower precision, or compiled, that attacks go
            through in its place.
        where: the folder of the model, for messages.
    """

    class_features: Tensor
    attacker_features: Tensor
    attacker_captions: Tensor

    def __init__(
        self,
        encoder: ImageEncoder,
        class_features: Tensor,
        attacker_features: Tensor,
        attacker_captions: Tensor,
        scale: float,
        resize: bool = False,
        ascended: ImageEncoder | None = None,
        where: str = "the model",
    ):
        super().__init__()
        self.encoder, self.scale, self.resize = encoder, scale, resize
        self.ascended, self.where = ascended, where
        self._resizing: dict[int, Tensor] = {}
        self.register_buffer("class_features", class_features)
        self.register_buffer("attacker_features", attacker_features)
        self.register_buffer("attacker_captions", attacker_captions)

    def features(self, images: Tensor) -> Tensor:
        """(B, D) unit-norm features of (B, 3, S, S) pixels in [0, 1], for attacks."""
        return self._encoded(self.ascended or self.encoder, images)

    def judged_features(self, images: Tensor) -> Tensor:
        """The same for verdicts: in float32, whatever attacks go through."""
        return self._encoded(self.encoder, images)

    def judged_tokens(self, images: Tensor) -> Tensor:
        """(B, 1 + T, D) of `ImageEncoder.project`: of the encoder that decides, in float32."""
        return self.encoder.project(self.encoder(self._sized(images)))

    def _encoded(self, encoder: ImageEncoder, images: Tensor) -> Tensor:
        return encoder(self._sized(images)).pooled

    def _sized(self, images: Tensor) -> Tensor:
        return resized(images, self._factor(images)) if self.resize else images

    def _factor(self, images: Tensor) -> Tensor:
        side = images.shape[-1]
        if side not in self._resizing:
            self._resizing[side] = resizing_factor(side, self.encoder.image_size)
        self._resizing[side] = self._resizing[side].to(images)
        return self._resizing[side]

    def in_float32(self) -> "ZeroShotClassifier":
        """The same classifier, sharing its weights, that attacks go through in float32."""
        texts = self.class_features, self.attacker_features, self.attacker_captions
        exact = ZeroShotClassifier(self.encoder, *texts, self.scale, self.resize, where=self.where)
        return exact.eval()

    def logits(self, features: Tensor) -> Tensor:
        """(B, C) logits that decide."""
        return self.scale * (features @ self.class_features.T)

    def attacker_logits(self, features: Tensor) -> Tensor:
        """(B, C) logits that the attacker sees."""
        return self.scale * (features @ self.attacker_features.T)

    def attacker_caption_logits(self, features: Tensor) -> Tensor:
        """(B, C, K) logits of every single text that the attacker sees."""
        return ensemble_logits(features, self.attacker_captions, self.scale)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C) logits that decide, of (B, 3, S, S) pixels in [0, 1], in float32."""
        return self.logits(self.judged_features(images))


def resizing_factor(side: int, size: int) -> Tensor:
    """U, float32 (size, side), with U x U^T the bicubic, antialiased interpolation of a
    side x side image to size x size.

    Interpolation is linear and acts on rows and columns alike. Two products give what
    `F.interpolate` gives to 1e-5, and a backward that is deterministic on CUDA, where that of
    `F.interpolate` is not.
    """
    identity = torch.eye(side, dtype=torch.float64)[None, None]
    columns = F.interpolate(identity, size=(size, side), mode="bicubic", antialias=True)
    return columns[0, 0].float()


def resized(images: Tensor, factor: Tensor) -> Tensor:
    """(B, 3, S, S) images brought to the factor's size, (B, 3, size, size), in float32."""
    return factor @ images @ factor.T


def load_classifier(
    folder: Path,
    texts: TextSet,
    seen: TextSet,
    size: int,
    native: bool,
    device: torch.device,
    precision: Precision = "float32",
    compiled: bool = False,
) -> ZeroShotClassifier:
    """The model of a folder as a frozen classifier in eval mode, its verdicts in float32.

    Args:
        texts, seen: the texts that classify, and those the attacker sees.
        size: side of the images in pixels; must be the model's unless `native`.
        precision, compiled: of the forward and backward passes of attacks.

    Raises:
        UserError: the folder is not a model, or images or texts do not fit it.
    """
    loaded = clip.load(folder)
    encoder = clip.image_encoder(loaded)
    for read in (texts, seen):
        width = read.captions.shape[-1]
        clip.check_fit(encoder, encoder.image_size if native else size, width, str(folder))
    class_features, attacker_features = (torch.from_numpy(t.class_features) for t in (texts, seen))
    captions = torch.from_numpy(seen.captions)
    resize = size != encoder.image_size
    lower = precision != "float32" or compiled
    ascended = frozen_copy(encoder, precision, compiled) if lower else None
    scale = clip.logit_scale(loaded)
    classifier = ZeroShotClassifier(
        encoder, class_features, attacker_features, captions, scale, resize, ascended, str(folder)
    )
    return classifier.requires_grad_(False).to(device).eval()
