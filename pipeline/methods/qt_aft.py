"""Quality text-guided adversarial fine-tuning, QT-AFT (Waseda et al., ACM MM 2025,
arXiv 2507.16257).

FARE, and each adversarial image told its own caption from those of the other images of its batch:
    loss = mean over images of |F(x_adv) - F0(x)|^2 + w * CE(s * cos(F(x_adv), T), i = i)
F: projected class token before normalisation, F0: that of the base model; T: the base model's
features of the batch's captions, one of each image; s = 1 / temperature. The attack ascends the
same. Two images of the batch with the same caption still count as each other's negatives, as in
the release: an image's own index is its only target.

Followed: the release (futakw/QTAFT 2476f18, train_qtaft.py, scripts/train_qtaft.sh): w = 10, AdamW,
rate 1e-5, weight decay 1e-4, 2 epochs of ImageNet in batches of 128, 1000 steps of warm-up, 10
steps of 1/255 within 4/255: not the other methods' 1/255. Its captions are InternVL2.5-8B's answers
to "Describe the image in detail within 50 words." The text of the paper could not be read.

Different from the release: its logit scale is learned, from 1 / 0.07 on and by the encoder's
schedule, whose rates sum to 0.1 and so move it by an eighth at most; here it stays there. Its last
batch of an epoch, where it is smaller, is left out; here it is trained on, with as many captions
as images. Its second beta of AdamW is 0.95, here 0.999. An image without a caption has an empty
one there and is refused here. Its float16 autocast is left out. The attack's momentum has no
effect under l-infinity (`pipeline.methods.fare`).
"""

from dataclasses import replace

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.clip.model import Features, ImageEncoder
from pipeline.common.bounds import Weight
from pipeline.training.embedding_distance import (
    FARE_PROTOCOL,
    EmbeddingAttack,
    base_embeddings,
    squared_distances,
)
from pipeline.training.objective import BaseOutputs, Batch, MethodInputs, MethodParams, PerImage
from pipeline.training.published import TrainingAttack
from pipeline.training.template import accuracy

TITLE = "QT-AFT"
PUBLISHED = replace(
    FARE_PROTOCOL,
    warmup_steps=1000,
    attack=TrainingAttack(
        norm="linf", epsilon_255=4, step_255=1, steps=10, momentum=0.9, random_start=True
    ),
    captions=True,
)


class Params(MethodParams):
    """`finetune.options.qt_aft`; published: 10 and 0.07."""

    caption: Weight
    temperature: float = Field(ge=0.01, le=100)


def build(params: Params, inputs: MethodInputs) -> "QtAft":
    """The objective on the base model's embeddings of the clean images, and the captions."""
    captions = inputs.image_captions()
    return QtAft(params, base_embeddings(inputs), captions)


class QtAft(EmbeddingAttack):
    """The objective. base: (B, D) embeddings, not normalised; captions: (N, D) unit norm."""

    def __init__(self, params: Params, base: BaseOutputs, captions: Tensor) -> None:
        super().__init__(base)
        self.params, self.captions = params, captions

    @property
    def kept_per_image(self) -> tuple[PerImage, ...]:
        """The base model's outputs, and a caption."""
        return (*super().kept_per_image, "width")

    def attack_loss(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> Tensor:
        """What is descended, summed over the images; the captions are those of the whole batch."""
        features = encoder(images)
        cross_entropy = F.cross_entropy(*self._pairs(features, batch), reduction="sum")
        return self._distances(features, batch).sum() + self.params.caption * cross_entropy

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`caption_accuracy`: the share of adversarial images nearest to their own caption."""
        features = encoder(images)
        logits, positives = self._pairs(features, batch)
        distance = self._distances(features, batch).mean()
        cross_entropy = F.cross_entropy(logits, positives)
        return {
            "loss": distance + self.params.caption * cross_entropy,
            "distance": distance,
            "caption_cross_entropy": cross_entropy,
            "caption_accuracy": accuracy(logits, positives),
        }

    def _distances(self, features: Features, batch: Batch) -> Tensor:
        return squared_distances(features.embedding.float(), self.base.of(batch))

    def _pairs(self, features: Features, batch: Batch) -> tuple[Tensor, Tensor]:
        """(b, B) logits of b images over the captions of the whole batch, and (b,) which of these
        is an image's own; a batch holds no image twice."""
        whole = batch.numbers if batch.whole is None else batch.whole
        logits = features.pooled @ self.captions[whole].T / self.params.temperature
        return logits, (batch.numbers[:, None] == whole).int().argmax(1)
