"""Randomised and stateful models are refused; what only rounds is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.transformer import PatchDropout
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.stateful import IMAGES, TOLERANCE, check_deterministic
from tests.support.classifiers import CPU, Counting, Net, Pooled, fit, make_targets, on

N, C, SIZE = 20, 4, 16
RANDOMISED = r"evaluate.models: 'mine': two forwards of the same images differ, by .* take it out"
BATCHED = r"evaluate.models: 'mine': the logits of an image depend on what else is in its batch"


class Around(nn.Module):
    """`Net` with a layer before its features are normalised."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.net, self.layer, self.image_size = Net(SIZE), layer, SIZE

    def forward(self, images: Tensor) -> Pooled:
        return Pooled(F.normalize(self.layer(self.net(images).pooled), dim=-1))


class Counter(nn.Module):
    """Adds what it has been called so far to the features."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        self.calls += 1
        return features + 0.01 * self.calls


class ByPosition(nn.Module):
    """Does something else to every second image of a batch."""

    def forward(self, features: Tensor) -> Tensor:
        signs = 1 - 2 * (torch.arange(len(features), device=features.device) // IMAGES % 2)
        return features * signs[:, None]


class Shifted(nn.Module):
    """Moves the features by a little that is drawn anew each time."""

    def __init__(self, size: float):
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        return features + self.size * torch.rand_like(features)


def targets(count: int = N) -> Targets:
    return make_targets(count, min(C, count), size=SIZE)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: nn.Dropout(0.1).train(), RANDOMISED),
        (Counter, RANDOMISED),
        (lambda: Shifted(0.01), RANDOMISED),
        (lambda: nn.BatchNorm1d(24, dtype=torch.float64).train(), BATCHED),
        (ByPosition, BATCHED),
    ],
)
def test_what_one_forward_cannot_judge_is_refused(
    layer: Callable[[], nn.Module], message: str, device: torch.device
) -> None:
    torch.manual_seed(0)
    classifier = fit(Around(nn.Identity()), targets())
    classifier.encoder.layer = layer()
    moved = on(classifier, device)
    with pytest.raises(UserError, match=message) as raised:
        check_deterministic(moved, targets(), "mine", device)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Identity(),
        nn.Dropout(0.1).eval(),
        nn.BatchNorm1d(24, dtype=torch.float64).eval(),
        Shifted(1e-7),  # of the size of float32's rounding
    ],
)
def test_what_is_frozen_is_not(layer: nn.Module, device: torch.device) -> None:
    classifier = on(fit(Around(layer), targets()), device)
    check_deterministic(classifier, targets(), "mine", device)


def test_a_clip_passes_and_with_its_patch_dropout_left_on_does_not(clip_folder: Path) -> None:
    encoder = clip.image_encoder(clip.load(clip_folder)).eval()
    classifier = fit(encoder, targets(), scale=100.0)
    check_deterministic(classifier, targets(), "mine", CPU)
    encoder.visual.patch_dropout = PatchDropout(0.5).train()
    with pytest.raises(UserError, match=RANDOMISED):
        check_deterministic(classifier, targets(), "mine", CPU)


def test_the_tolerance_is_far_above_rounding_and_in_units_of_the_scale(clip_folder: Path) -> None:
    encoder = clip.image_encoder(clip.load(clip_folder)).eval()
    images = targets().read(slice(None), CPU)[0]
    with torch.no_grad():
        alone = torch.cat([encoder(image[None]).pooled for image in images])
        together = encoder(images).pooled
    assert (alone - together).abs().max() < TOLERANCE / 20
    for scale in (1.0, 100.0):
        shifted = fit(Around(Shifted(TOLERANCE / 5)), targets(), scale=scale)
        check_deterministic(shifted, targets(), "mine", CPU)


def test_it_costs_two_small_forwards_and_changes_nothing() -> None:
    counted = Counting(Net(SIZE))
    classifier = fit(counted, targets())
    counted.batches.clear()
    before = torch.get_rng_state()
    check_deterministic(classifier, targets(), "mine", CPU)
    assert [len(batch) for batch in counted.batches] == [IMAGES, 2 * IMAGES]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_single_image_has_company_too() -> None:
    classifier = fit(Around(nn.Identity()), targets())
    classifier.encoder.layer = nn.Softmax(dim=0)
    with pytest.raises(UserError, match=BATCHED):
        check_deterministic(classifier, targets(1), "mine", CPU)
    none = Targets(targets().pixels, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    check_deterministic(classifier, none, "mine", CPU)


def test_logits_that_are_no_numbers_are_named_as_that() -> None:
    classifier = fit(Net(SIZE), targets())
    classifier.class_features[0] = torch.nan
    with pytest.raises(UserError, match="'mine': its logits are not finite"):
        check_deterministic(classifier, targets(), "mine", CPU)
