"""Verdicts on images under attack, each confirmed in float32 on the pixels themselves.

`fooled_at` is set here; `robust_any` follows from it in `evaluate.prediction_columns`, the worst
case over all attacks in `results/accuracy.py`.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.common.errors import UserError
from pipeline.evaluation.finite_margins import check_finite_margins
from pipeline.evaluation.interface import (
    Outcome,
    Settings,
    Targets,
    confidences,
    empty_outcome,
    margins,
)
from pipeline.evaluation.slots import Slots
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.zeroshot.pgd_step import l2_norms

SLACK = 1e-6  # float32 rounding of images + perturbation - images, for pixels in [0, 1]


class Verdict(NamedTuple):
    """Of b images, on the host: prediction int64, misclassified bool, margin and confidence
    float32."""

    prediction: np.ndarray
    misclassified: np.ndarray
    margin: np.ndarray
    confidence: np.ndarray


class Recorder:
    """Records the verdict on every iterate of an attack.

    An iterate that the attack's own forward calls misclassified, or, where that forward is of a
    lower precision, whose margin there is below the guard band, is classified once more in
    float32, from its clipped pixel values and after its ball and range were checked; it counts as
    misclassified only if it is misclassified there too. The last iterate of an image that is never
    misclassified is classified once more in the same way.
    """

    def __init__(
        self, classifier: ZeroShotClassifier, targets: Targets, settings: Settings
    ) -> None:
        self.classifier, self.settings = classifier, settings
        self._outcome: Outcome = empty_outcome(targets, settings)
        self._shares: list[tuple[np.ndarray, Tensor]] = []
        self._judged, self._difference = 0, 0.0

    def record_iterate(
        self, slots: Slots, perturbation: Tensor, logits: Tensor, final: np.ndarray
    ) -> np.ndarray:
        """Record the verdicts on the current iterates; bool (B,): images that are done.

        Args:
            perturbation: (B, 3, S, S) of the slots, the current iterate.
            logits: (B, C) that the attack's own forward gave for it.
            final: bool (B,) the image's last iterate.

        Raises:
            UserError: a margin of that forward is off by more than half of the guard band, or not
                finite.
        """
        claimed = verdict(logits, slots.labels)
        numbers = slots.targets.numbers[slots.rows]
        check_finite_margins(claimed.margin, numbers, self.classifier.where)
        doubtful = claimed.misclassified | (claimed.margin < self.settings.guard_band)
        is_open = self._outcome.fooled_at[slots.rows] < 0
        slot_indices = np.flatnonzero((doubtful & is_open) | final)
        leaving = final.copy()
        if not len(slot_indices):
            return leaving
        judged = self._confirm(slots, perturbation, slot_indices)
        check_finite_margins(judged.margin, numbers[slot_indices], self.classifier.where)
        self._compare(claimed.margin[slot_indices], judged.margin)
        decided = is_open[slot_indices] & (judged.misclassified | final[slot_indices])
        self._write(slots, perturbation, slot_indices, judged, decided)
        follow = self.settings.follow[slots.rows[slot_indices]]
        last = final[slot_indices] & follow
        self._outcome.last_prediction[slots.rows[slot_indices[last]]] = judged.prediction[last]
        leaving[slot_indices] |= judged.misclassified & ~follow
        return leaving

    def _confirm(self, slots: Slots, perturbation: Tensor, slot_indices: np.ndarray) -> Verdict:
        index = slots.index(slot_indices)
        images, moved = slots.images[index], perturbation[index]
        return verdict(
            verified_logits(self.classifier, images, moved, self.settings), slots.labels[index]
        )

    def _compare(self, claimed: np.ndarray, exact: np.ndarray) -> None:
        """Note how far the margins of the attack's own forward are from float32's."""
        self._judged += len(exact)
        self._difference = max(self._difference, float(np.abs(claimed - exact).max()))
        band = self.settings.guard_band
        if band and self._difference > band / 2:
            raise UserError(
                f"params.yaml: evaluate.precision: logits are off by {self._difference:.3f} from "
                f"float32's, more than half of evaluate.guard_band ({band:g}); widen it, or use "
                "tf32 or float32"
            )

    def _write(
        self,
        slots: Slots,
        perturbation: Tensor,
        slot_indices: np.ndarray,
        judged: Verdict,
        decided: np.ndarray,
    ) -> None:
        slot_indices, judged = (
            slot_indices[decided],
            Verdict(*(values[decided] for values in judged)),
        )
        rows = slots.rows[slot_indices]
        self._outcome.fooled_at[rows] = np.where(
            judged.misclassified, slots.iterate[slot_indices], -1
        )
        self._outcome.prediction[rows] = judged.prediction
        self._outcome.margin[rows] = judged.margin
        self._outcome.confidence[rows] = judged.confidence
        for slot, row in zip(slot_indices, rows, strict=True):
            example = np.flatnonzero(self.settings.examples == row)
            if len(example):
                self._outcome.perturbations[example] = perturbation[slot].detach().cpu().numpy()

    def zero_gradients(self, slots: Slots, gradient: Tensor) -> None:
        """Note the share of zero-gradient pixels of the images that are at their very start."""
        first = np.flatnonzero(slots.iterate == 0)
        if len(first):
            share = (gradient[slots.index(first)] == 0).flatten(1).float().mean(1)
            self._shares.append((slots.rows[first], share))

    @property
    def outcome(self) -> Outcome:
        """All verdicts so far."""
        for rows, share in self._shares:
            self._outcome.zero_gradient[rows] = share.cpu().numpy()
        return self._outcome._replace(judged=self._judged, largest_difference=self._difference)


def verdict(logits: Tensor, labels: Tensor) -> Verdict:
    """Prediction, error, margin and confidence of (B, C) logits, in one transfer to the host."""
    prediction = logits.argmax(1)
    columns = [prediction, prediction != labels, margins(logits, labels), confidences(logits)]
    packed = torch.stack([column.double() for column in columns]).cpu().numpy()
    margin, confidence = packed[2:].astype(np.float32)
    return Verdict(packed[0].astype(np.int64), packed[1] > 0, margin, confidence)


@torch.no_grad()
def verified_logits(
    classifier: ZeroShotClassifier, images: Tensor, perturbation: Tensor, settings: Settings
) -> Tensor:
    """(B, C) float32 logits of the adversarial images from their clipped pixel values.

    Raises:
        RuntimeError: a perturbation is outside the ball or an image outside [0, 1]: an attack
            that breaks its threat model is a bug, whatever accuracy it would report.
    """
    adversarial = images + perturbation
    size = adversarial - images
    size = size.abs().amax((1, 2, 3)) if settings.norm == "linf" else l2_norms(size).flatten()
    slack = SLACK if settings.norm == "linf" else SLACK * images[0].numel() ** 0.5
    logits = classifier(adversarial.clamp(0, 1))
    extremes = torch.stack([size.max(), adversarial.min(), adversarial.max()])
    largest, low, high = extremes.tolist()
    if not (largest <= settings.epsilon + slack and low >= -SLACK and high <= 1 + SLACK):
        raise RuntimeError(
            f"an adversarial image breaks the threat model: {settings.norm} size "
            f"{largest:.8f} > {settings.epsilon:.8f}, or pixels {low}..{high}"
        )
    return logits
