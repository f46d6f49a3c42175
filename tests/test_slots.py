"""The parts that all of our attacks share: verified verdicts, slots, and starts of their own."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.attacks import Targets, _slots
from pipeline.attacks._slots import Recorder, Slots, verified_logits
from pipeline.victim import Victim
from tests.victims import Hand, Net, attack, fit, make_targets, on, only_right, settings

N, C = 30, 5


@pytest.fixture(scope="module")
def targets() -> Targets:
    return make_targets(N, C)


@pytest.fixture(scope="module")
def victim(targets: Targets) -> Victim:
    return fit(Net(), targets)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_breaks_the_threat_model_is_a_bug_and_not_a_result(norm, victim, device):
    victim = on(victim, device)
    images = torch.full((2, 3, 6, 6), 0.5, device=device)
    s = settings(2, norm=norm, epsilon=0.1, device=device)
    length = 0.1 if norm == "linf" else 0.1 / 108**0.5
    inside = torch.full_like(images, length)
    assert verified_logits(victim, images, inside, s).shape == (2, C)
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
            verified_logits(victim, images_, perturbation, s)


def test_the_verdict_is_confirmed_on_the_pixels(victim, targets):
    """An attack's own forward may claim anything: only the classifier's word counts."""
    right = only_right(victim, targets)
    count = len(right.labels)
    s = settings(count)

    def begin(images, labels, numbers, rounds):
        return {"perturbation": torch.zeros_like(images)}

    slots, recorder = Slots(right, s, begin), Recorder(victim, right, s)
    slots.refill()
    everyone, nobody = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    nothing = torch.zeros_like(slots.images)
    assert not recorder.settle(slots, nothing, everyone, nobody).any()
    assert (recorder.outcome.fooled_at == -1).all()
    # and at the end one that the attack did not notice counts as well
    wrong = torch.from_numpy((right.labels + 1) % C)
    slots.labels = wrong
    assert recorder.settle(slots, nothing, nobody, everyone).all()
    assert (recorder.outcome.fooled_at == 0).all()


def test_dead_pixels_are_counted_at_the_start_and_not_later(device):
    """Of a product, one factor has no gradient as long as the other is zero: until one step."""

    def features(images: Tensor) -> Tensor:
        value = images.flatten(1)
        lever, led = value[:, :54] - images.new_tensor(102).div(255), value[:, 54:]
        both = (lever * led).sum(1)
        return torch.stack([10 - both, both], dim=1)  # never fooled: the last is kept

    encoder: Any = Hand(features)
    victim = Victim(encoder, torch.eye(2), torch.eye(2), torch.eye(2)[:, None], 1.0).to(device)
    grey = Targets(np.full((1, 3, 6, 6), 102, dtype=np.uint8), np.array([0]), np.array([0]))
    module, options = attack("pgd", random_start=False, steps=3)
    s = settings(1, follow=np.ones(1, dtype=bool), examples=np.array([0]), device=device)
    found = module.run(victim, grey, options, s)
    assert found.zero_gradient.tolist() == [0.5]
    assert (found.perturbations != 0).all(), "later no pixel was dead"


def test_starts_depend_on_number_seed_and_round_only():
    shape = (3, 6, 6)
    for norm, epsilon in (("linf", 4 / 255), ("l2", 0.5)):
        s = settings(1, norm=norm, epsilon=epsilon)
        first = _slots.start_noise(5, shape, s)
        assert first.dtype == np.float32
        length = np.abs(first).max() if norm == "linf" else np.linalg.norm(first)
        assert 0 < length <= epsilon
        assert (first == _slots.start_noise(5, shape, s)).all()
        assert (first != _slots.start_noise(6, shape, s)).any()
        assert (first != _slots.start_noise(5, shape, s._replace(seed=1))).any()
        assert (first != _slots.start_noise(5, shape, s, 1)).any()
        given = {5: first * 0.5}
        assert (_slots.start_noise(5, shape, s._replace(starts=given)) == first * 0.5).all()
        fresh = _slots.start_noise(5, shape, s._replace(starts=given), 1)
        assert (fresh == _slots.start_noise(5, shape, s, 1)).all()
