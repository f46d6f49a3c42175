"""The attack's mathematics, on losses whose gradients are known."""

import pytest
import torch
from torch.nn import functional as F

from pipeline import attack

EPSILON, STEP = 4 / 255, 1 / 255


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def linear() -> torch.Tensor:
    return torch.randn(3 * 8 * 8, 4, generator=torch.Generator().manual_seed(1))


def start(images: torch.Tensor, epsilon: float = EPSILON) -> torch.Tensor:
    return attack.uniform_start(images, epsilon, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_perturbation_stays_in_the_ball_and_images_in_range(images, linear, steps):
    found = attack.perturb(
        lambda x: (x.flatten(1) @ linear).square().sum(),
        images,
        start(images),
        epsilon=EPSILON,
        step_size=3 * STEP,
        steps=steps,
    )
    assert found.abs().max() <= EPSILON + 1e-7
    assert (images + found).min() >= 0
    assert (images + found).max() <= 1


def test_a_linear_loss_is_driven_to_the_corner(images):
    weight = torch.randn_like(images)
    found = attack.perturb(
        lambda x: (x * weight).sum(),
        images,
        start(images),
        epsilon=EPSILON,
        step_size=STEP,
        steps=20,
    )
    corner = (images + EPSILON * weight.sign()).clamp(0, 1) - images
    torch.testing.assert_close(found, corner)


def test_the_loss_rises_with_every_step_on_a_linear_classifier(images, linear):
    labels = torch.arange(5) % 4

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(x.flatten(1) @ linear, labels, reduction="sum")

    values = []
    for steps in range(6):
        found = attack.perturb(
            loss, images, start(images), epsilon=EPSILON, step_size=STEP, steps=steps
        )
        values.append(loss(images + found).item())
    assert values == sorted(values)
    assert values[-1] > values[0] + 1


def test_it_equals_a_slow_loop_over_single_images(images, linear):
    labels = torch.arange(5) % 4
    begin = start(images)
    found = attack.perturb(
        lambda x: F.cross_entropy(x.flatten(1) @ linear, labels, reduction="sum"),
        images,
        begin,
        epsilon=EPSILON,
        step_size=STEP,
        steps=5,
    )
    for i in range(len(images)):
        x, p = images[i], begin[i]
        for _ in range(5):
            logits = (x + p).flatten() @ linear
            probability = logits.softmax(0)
            probability[labels[i]] -= 1
            gradient = (linear @ probability).view_as(x)
            p = p + STEP * torch.sign(gradient)
            p = torch.minimum(torch.maximum(p, torch.tensor(-EPSILON)), torch.tensor(EPSILON))
            p = torch.minimum(torch.maximum(x + p, torch.tensor(0.0)), torch.tensor(1.0)) - x
        torch.testing.assert_close(found[i], p)


def test_zero_epsilon_leaves_the_image_alone(images, linear):
    found = attack.perturb(
        lambda x: (x.flatten(1) @ linear).sum(),
        images,
        start(images, 0.0),
        epsilon=0.0,
        step_size=STEP,
        steps=3,
    )
    assert torch.equal(found, torch.zeros_like(images))


def test_weights_get_no_gradient(images):
    layer = torch.nn.Linear(3 * 8 * 8, 4)
    attack.perturb(
        lambda x: layer(x.flatten(1)).sum(),
        images,
        start(images),
        epsilon=EPSILON,
        step_size=STEP,
        steps=2,
    )
    assert all(weight.grad is None for weight in layer.parameters())


def test_the_start_fills_the_ball_and_follows_the_seed(images):
    first = start(images * 0 + 0.5)
    assert first.abs().max() > 0.95 * EPSILON
    assert abs(first.mean()) < 0.05 * EPSILON
    assert torch.equal(first, start(images * 0 + 0.5))
