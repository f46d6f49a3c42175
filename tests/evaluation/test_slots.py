"""The parts that all of our attacks share: verified verdicts, slots, and starts of their own."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.clip.model import to_float_pixels
from pipeline.common.errors import UserError
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.slots import Slots, Waiting
from pipeline.evaluation.verdicts import Recorder, verified_logits
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from tests.support.classifiers import (
    CPU,
    Hand,
    Net,
    attack,
    fit,
    make_targets,
    on,
    only_right,
    settings,
)

N, C = 30, 5


@pytest.fixture(scope="module")
def targets() -> Targets:
    return make_targets(N, C)


@pytest.fixture(scope="module")
def classifier(targets: Targets) -> ZeroShotClassifier:
    return fit(Net(), targets)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_breaks_the_threat_model_is_a_bug_and_not_a_result(norm, classifier, device):
    classifier = on(classifier, device)
    images = torch.full((2, 3, 6, 6), 0.5, device=device)
    s = settings(2, norm=norm, epsilon=0.1, device=device)
    length = 0.1 if norm == "linf" else 0.1 / 108**0.5
    inside = torch.full_like(images, length)
    assert verified_logits(classifier, images, inside, s).shape == (2, C)
    bad = inside.clone()
    bad[1] *= 1.001
    broken = inside.clone()
    broken[1, 0, 0, 0] = torch.nan
    for images_, perturbation in (
        (images, bad),
        (images, broken),
        (images * 2, inside),
        (images * 0, -inside),
    ):
        with pytest.raises(RuntimeError, match="breaks the threat model"):
            verified_logits(classifier, images_, perturbation, s)


def test_the_verdict_is_confirmed_on_the_pixels(classifier, targets):
    """An attack's own forward may claim anything: only the classifier's word counts."""
    right = only_right(classifier, targets)
    count = len(right.labels)
    s = settings(count)

    def begin(images, labels, numbers, rounds):
        return {"perturbation": torch.zeros_like(images)}

    slots, recorder = Slots(right, s, begin), Recorder(classifier, right, s)
    slots.refill()
    everyone, nobody = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    nothing = torch.zeros_like(slots.images)
    truth = torch.nn.functional.one_hot(slots.labels, C).float()
    assert not recorder.record_iterate(slots, nothing, -truth, nobody).any()
    assert (recorder.outcome.fooled_at == -1).all()
    # and at the end one that the attack did not notice counts as well
    slots.labels = torch.from_numpy((right.labels + 1) % C)
    claimed = torch.nn.functional.one_hot(slots.labels, C).float()
    assert recorder.record_iterate(slots, nothing, claimed, everyone).all()
    assert (recorder.outcome.fooled_at == 0).all()


def test_dead_pixels_are_counted_at_the_start_and_not_later(device):
    """Of a product, one factor has no gradient as long as the other is zero: until one step."""

    def features(images: Tensor) -> Tensor:
        value = images.flatten(1)
        lever, led = value[:, :54] - level, value[:, 54:]
        both = (lever * led).sum(1)
        return torch.stack([10 - both, both], dim=1)  # never misclassified: the last is kept

    encoder: Any = Hand(features)
    classifier = ZeroShotClassifier(
        encoder, torch.eye(2), torch.eye(2), torch.eye(2)[:, None], 1.0
    ).to(device)
    grey = Targets(np.full((1, 3, 6, 6), 102, dtype=np.uint8), np.array([0]), np.array([0]))
    level = to_float_pixels(grey.pixels, device)[0, 0, 0, 0]
    module, options = attack("pgd", random_start=False, steps=3)
    s = settings(1, follow=np.ones(1, dtype=bool), examples=np.array([0]), device=device)
    outcome = module.run(classifier, grey, options, s)
    assert outcome.zero_gradient.tolist() == [0.5]
    assert (outcome.perturbations != 0).all(), "later no pixel was dead"


def opened(
    classifier: ZeroShotClassifier, targets: Targets, **changes: Any
) -> tuple[Slots, Recorder]:
    s = settings(len(targets.labels), **changes)

    def begin(images, labels, numbers, rounds):
        return {"perturbation": torch.zeros_like(images), "number": torch.from_numpy(numbers)}

    slots = Slots(targets, s, begin)
    slots.refill()
    return slots, Recorder(classifier, targets, s)


def test_a_margin_inside_the_guard_band_is_judged_in_float32(targets):
    classifier = fit(Net(), targets, scale=0.2)  # margins of a few tenths
    right = only_right(classifier, targets)
    for claimed_margin, judged in ((1.4, True), (4.1, False)):
        slots, recorder = opened(classifier, right, guard_band=4.0)
        slots.labels = (slots.labels + 1) % C  # wrong in truth, and claimed to be right
        exact = classifier(slots.images).float()
        others = exact.scatter(1, slots.labels[:, None], -torch.inf).amax(1, keepdim=True)
        claimed = exact.scatter(1, slots.labels[:, None], others + claimed_margin)
        nobody = np.zeros(len(right.labels), dtype=bool)
        leaving = recorder.record_iterate(slots, torch.zeros_like(slots.images), claimed, nobody)
        assert leaving.tolist() == [judged] * len(right.labels)
        assert recorder.outcome.judged == judged * len(right.labels)


def test_a_forward_that_is_off_by_more_than_half_the_band_is_an_error(classifier, targets):
    right = only_right(classifier, targets)
    slots, recorder = opened(classifier, right, guard_band=0.1)
    everyone = np.ones(len(right.labels), dtype=bool)
    exact = classifier(slots.images).float()
    moved = torch.nn.functional.one_hot(slots.labels, C).float()
    nothing = torch.zeros_like(slots.images)
    recorder.record_iterate(slots, nothing, exact + 0.04 * moved, everyone)
    assert recorder.outcome.largest_difference == pytest.approx(0.04, abs=1e-3)
    assert recorder.outcome.judged == len(right.labels)
    with pytest.raises(UserError, match=r"evaluate.precision: logits are off by 0\.06\d"):
        recorder.record_iterate(slots, nothing, exact + 0.06 * moved, everyone)


def test_waiting_images_come_in_order_whatever_is_taken(targets):
    waiting = Waiting(targets, settings(N, batch_size=7))
    taken = [waiting.take(count) for count in (7, 1, 9, 2, 100)]
    assert [len(rows) for rows, _, _ in taken] == [7, 1, 9, 2, N - 19]
    assert np.concatenate([rows for rows, _, _ in taken]).tolist() == list(range(N))
    images, labels = targets.read(slice(None), CPU)
    assert torch.equal(torch.cat([images for _, images, _ in taken]), images)
    assert torch.equal(torch.cat([labels for _, _, labels in taken]), labels)


def test_a_slot_that_is_left_goes_to_the_next_image_and_rows_stay_together(classifier, targets):
    slots, _ = opened(classifier, targets, batch_size=4)
    images, labels = targets.read(slice(None), CPU)
    rng = np.random.default_rng(0)
    seen: list[int] = []
    while slots.refill():
        assert torch.equal(slots.images, images[torch.from_numpy(slots.rows)])
        assert torch.equal(slots.labels, labels[torch.from_numpy(slots.rows)])
        assert slots.state["number"].tolist() == targets.numbers[slots.rows].tolist()
        leaving = rng.random(len(slots.rows)) < 0.4
        seen += slots.rows[leaving].tolist()
        assert (slots.iterate >= 0).all()
        slots.advance(leaving)
    assert sorted(seen) == list(range(N))
