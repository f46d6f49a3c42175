"""PGD on single images, and where the model looks before and after."""

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.clip.model import to_float_pixels
from pipeline.common import registry
from pipeline.common.bounds import Count, Radius, Seed
from pipeline.common.errors import UserError
from pipeline.common.params import Section, validate
from pipeline.evaluation.attention import has_patches, label_attention
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.report.attention import moved, upsampled
from saft.inference.classifying import BATCH, probabilities, probabilities_of

ATTACK = "pgd"


class Budget(Section):
    """What PGD may do; radius and step in 1/255 of the pixel range, in l-infinity."""

    epsilon_255: Radius = 4.0
    steps: Count = 100
    step_255: Radius = 1.0
    seed: Seed = 0


@dataclass(frozen=True)
class Attacked:
    """An image under attack by one model, C classes, S pixels a side.

    image: uint8 (3, S, S), as the model takes it; adversarial: float32 (3, S, S) in [0, 1], the
    first iterate that is misclassified, or the last; before, after: float32 (C,) probabilities;
    in_8_bits: the same of the adversarial image rounded to the 256 values of a file; fooled_at: the
    first iterate that is misclassified, 0 is the random start, -1: none; attention_before,
    attention_after: float32 (S, S) in [0, 1], where the image agrees with the text of its label.
    """

    image: np.ndarray
    adversarial: np.ndarray
    before: np.ndarray
    after: np.ndarray
    in_8_bits: np.ndarray
    fooled_at: int
    attention_before: np.ndarray
    attention_after: np.ndarray

    @property
    def change(self) -> np.ndarray:
        """float32 (3, S, S): what the attack added."""
        return self.adversarial - self.image.astype(np.float32) / 255

    @property
    def rounded(self) -> np.ndarray:
        """uint8 (3, S, S): the adversarial image as a file holds it."""
        return rounded(self.adversarial)

    @property
    def attention_moved(self) -> float:
        """Root mean square of the difference of the two attention maps, in [0, 1]."""
        return moved(self.attention_before, self.attention_after)


def budget(epsilon_255: float, steps: int, step_255: float, seed: int) -> Budget:
    """The checked budget; numpy's scalars are numbers too.

    Raises:
        UserError: a number is out of its bounds.
    """
    values = {"epsilon_255": epsilon_255, "steps": steps, "step_255": step_255, "seed": seed}
    plain = {key: v.item() if isinstance(v, np.generic) else v for key, v in values.items()}
    return validate(plain, Budget, "the attack")


def run(
    whole: ZeroShotClassifier, targets: Targets, allowed: Budget, kept: bool = False
) -> Outcome:
    """PGD on every target from one random start, until it is misclassified. kept: the perturbations
    are returned."""
    attack = registry.load("pipeline.attacks", ATTACK, "the attack")
    count = len(targets.labels)
    options = attack.Params(
        steps=allowed.steps, step_255=allowed.step_255, restarts=1, random_start=True, momentum=0.0
    )
    settings = Settings(
        norm="linf",
        epsilon=allowed.epsilon_255 / 255,
        batch_size=BATCH,
        seed=allowed.seed,
        follow=np.zeros(count, dtype=bool),
        examples=np.arange(count if kept else 0),
        device=whole.class_features.device,
    )
    outcome: Outcome = attack.run(whole, targets, options, settings)
    return outcome


def attacked(
    whole: ZeroShotClassifier, pixels: np.ndarray, label: int, allowed: Budget
) -> Attacked:
    """Attack one uint8 (3, S, S) image of class number `label`.

    Raises:
        UserError: the model has no attention maps.
    """
    if not has_patches(whole):
        raise UserError(
            f"{whole.where}: has no attention maps, for behind its attentional pooler tokens are "
            "no patches; choose a model with a class token"
        )
    targets = Targets(pixels[None], np.arange(1), np.array([label]))
    outcome = run(whole, targets, allowed, kept=True)
    device = whole.class_features.device
    clean = to_float_pixels(pixels[None], device)
    shifted = (clean + torch.from_numpy(outcome.perturbations).to(device)).clamp(0, 1)
    adversarial = shifted[0].cpu().numpy()
    labels = torch.full((2,), label, device=device)
    maps = label_attention(whole, torch.cat([clean, shifted]), labels).cpu().numpy()
    before, after = (upsampled(of, pixels.shape[-1]) for of in maps)
    return Attacked(
        image=pixels,
        adversarial=adversarial,
        before=probabilities(whole, clean)[0],
        after=probabilities(whole, shifted)[0],
        in_8_bits=probabilities_of(whole, rounded(adversarial)[None])[0],
        fooled_at=int(outcome.fooled_at[0]),
        attention_before=before,
        attention_after=after,
    )


def rounded(pixels: np.ndarray) -> np.ndarray:
    """float pixels in [0, 1] as uint8."""
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
