"""Logits that are no numbers end an evaluation, wherever they come up."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.evaluation import clean_predictions as clean
from pipeline.evaluation.outcomes import PER_IMAGE
from pipeline.evaluation.parts import ARRAYS, _fault
from pipeline.evaluation.stateful import check_deterministic
from tests.support.classifiers import (
    CPU,
    FIRST,
    NAMES,
    Hand,
    Net,
    attack,
    fit,
    make_targets,
    settings,
)

N, C = 12, 4
CONFIG = {"embed_dim": 24}


def spoiled(broken: Callable[[Tensor], Tensor]) -> Hand:
    """The features of a sound encoder, NaN for the images (B, 3, S, S) that `broken` (B,) names."""
    net = Net()

    def features(images: Tensor) -> Tensor:
        bad = broken(images.detach())[:, None]
        return net(images).pooled.masked_fill(bad, torch.nan)

    return Hand(features)


def perturbed(images: Tensor) -> Tensor:
    """Images that are no 8-bit image."""
    steps = images * 255
    return ((steps - steps.round()).abs() > 1e-3).flatten(1).any(1)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_whose_logits_break_under_attack_is_named(name: str) -> None:
    targets = make_targets(N, C)
    classifier = fit(Net(), targets)
    classifier.encoder = spoiled(perturbed)
    classifier.where = "data/models/m/clip"
    check_deterministic(classifier, targets, "m", CPU)  # images as they are
    module, params = attack(name)
    with pytest.raises(UserError) as raised:
        module.run(classifier, targets, params, settings(N, epsilon=7.5 / 255))
    assert re.match(r"data/models/m/clip: the logits of image \d+ are not", str(raised.value))
    assert "\n" not in str(raised.value)


def test_clean_images_are_named_too_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    targets = make_targets(N, C)
    classifier = fit(Net(), targets)
    marked = targets.read(slice(7, 8), CPU)[0]
    classifier.encoder = spoiled(lambda images: (images == marked).flatten(1).all(1))
    with pytest.raises(UserError, match=rf"the logits of image {FIRST + 7} .* \(1 of {N} images\)"):
        clean.clean_predictions(classifier, targets, 5, CPU)


def test_kept_predictions_that_are_no_numbers_are_made_again(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    targets = make_targets(N, C, size=16)
    classifier = fit(clip.image_encoder(clip.load(clip_folder)).eval(), targets)
    arguments = (classifier, targets, 5, CPU, "abc", CONFIG)
    first = clean.cached_clean_predictions(*arguments)
    [file] = (tmp_path / ".scratch/clean").iterdir()
    with file.open("wb") as stream:
        np.savez(stream, **(first._asdict() | {"margin": first.margin * np.nan}))
    again = clean.cached_clean_predictions(*arguments)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_model_of_zeros_is_no_model() -> None:
    targets = make_targets(N, C)
    classifier = fit(Net(), targets)
    classifier.encoder = Hand(lambda images: torch.zeros(len(images), 24, dtype=torch.float64))
    with pytest.raises(UserError, match="'m': its feature of an image is zero; its weights"):
        check_deterministic(classifier, targets, "m", CPU)


def test_a_damaged_part_says_which_array() -> None:
    sound = {name: np.zeros(3, dtype=np.float32) for name in ARRAYS}
    sound["zero_gradient"][:] = np.nan  # the attack does not tell
    assert _fault(sound, 3) == ""
    for name in PER_IMAGE:
        assert _fault(sound | {name: np.zeros(4)}, 3) == f"{name} has the shape (4,), not (3,)"
    assert _fault(sound | {"margin": np.array([0, np.inf, 0])}, 3) == "margin is not finite"
