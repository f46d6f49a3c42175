"""The attack's mathematics, on losses whose gradients are known."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.zeroshot import pgd_step

EPSILON, STEP = 4 / 255, 1 / 255
RADIUS = 0.3  # l2


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def linear() -> torch.Tensor:
    return torch.randn(3 * 8 * 8, 4, generator=torch.Generator().manual_seed(1))


def start(images: torch.Tensor, epsilon: float = EPSILON) -> torch.Tensor:
    return pgd_step.uniform_start(images, epsilon, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_perturbation_stays_in_the_ball_and_images_in_range(images, linear, steps):
    perturbation = pgd_step.perturb(
        lambda x: (x.flatten(1) @ linear).square().sum(),
        images,
        start(images),
        epsilon=EPSILON,
        step_size=3 * STEP,
        steps=steps,
    )
    assert perturbation.abs().max() <= EPSILON + 1e-7
    assert (images + perturbation).min() >= 0
    assert (images + perturbation).max() <= 1


def test_a_linear_loss_is_driven_to_the_corner(images):
    weight = torch.randn_like(images)
    perturbation = pgd_step.perturb(
        lambda x: (x * weight).sum(),
        images,
        start(images),
        epsilon=EPSILON,
        step_size=STEP,
        steps=20,
    )
    corner = (images + EPSILON * weight.sign()).clamp(0, 1) - images
    torch.testing.assert_close(perturbation, corner)


def test_the_loss_rises_with_every_step_on_a_linear_classifier(images, linear):
    labels = torch.arange(5) % 4

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(x.flatten(1) @ linear, labels, reduction="sum")

    values = []
    for steps in range(6):
        perturbation = pgd_step.perturb(
            loss, images, start(images), epsilon=EPSILON, step_size=STEP, steps=steps
        )
        values.append(loss(images + perturbation).item())
    assert values == sorted(values)
    assert values[-1] > values[0] + 1


def test_it_equals_a_slow_loop_over_single_images(images, linear):
    labels = torch.arange(5) % 4
    begin = start(images)
    perturbation = pgd_step.perturb(
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
        torch.testing.assert_close(perturbation[i], p)


def test_l2_steps_are_scaled_gradients_in_a_ball_of_lengths(images, linear):
    weight = torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    middle = images * 0 + 0.5  # far from the borders of [0, 1]
    for steps, length in ((1, 0.1), (2, 0.2), (7, RADIUS)):
        perturbation = pgd_step.perturb(
            lambda x: (x * weight).sum(),
            middle,
            torch.zeros_like(middle),
            epsilon=RADIUS,
            step_size=0.1,
            steps=steps,
            norm="l2",
        )
        expected = weight / weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * length
        torch.testing.assert_close(perturbation, expected, rtol=1e-4, atol=1e-6)


def test_l2_projection_stays_in_ball_and_box(images):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(4))
    for size in (1e-3, 1.0, 100.0):
        perturbation = pgd_step.project(images, size * noise, RADIUS, "l2")
        assert pgd_step.l2_norms(perturbation).max() <= RADIUS * (1 + 1e-6)
        assert (images + perturbation).min() >= 0
        assert (images + perturbation).max() <= 1
    inside = 1e-3 * noise
    assert pgd_step.l2_norms(inside).max() < RADIUS
    middle = images * 0 + 0.5
    torch.testing.assert_close(pgd_step.project(middle, inside, RADIUS, "l2"), inside)
    torch.testing.assert_close(pgd_step.project(images, noise * 0, RADIUS, "l2"), noise * 0)


@pytest.mark.parametrize("scale", [1.0, 1e-13, 1e-25, 1e-37])
def test_a_step_is_full_however_small_the_gradient(images, scale):
    """A model that is sure of itself leaves gradients whose squares are zero in float32; an
    attack that stands still there reports robustness that is none."""
    gradient = torch.randn(images.shape, generator=torch.Generator().manual_seed(5)) * scale
    unit = pgd_step.steepest_direction(gradient, "l2")
    torch.testing.assert_close(unit.flatten(1).norm(dim=1), torch.ones(len(images)))
    assert (pgd_step.steepest_direction(gradient).abs() == 1).all()
    cosine = F.cosine_similarity(unit.double().flatten(1), gradient.double().flatten(1) / scale)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_gradient_is_no_step_and_no_nan(images, norm):
    for momentum in (0.0, 0.9):
        perturbation = pgd_step.perturb(
            lambda x: (x * 0).sum(),
            images,
            start(images),
            epsilon=EPSILON,
            step_size=STEP,
            steps=3,
            norm=norm,
            momentum=momentum,
        )
        expected = pgd_step.project(images, start(images), EPSILON, norm)
        torch.testing.assert_close(perturbation, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_momentum_goes_on_where_the_gradient_turned(norm):
    """As FARE: velocity = unit(momentum * velocity + unit(gradient))."""
    first = torch.tensor([3.0, -1.0]).view(1, 1, 1, 2)
    second = torch.tensor([-1.0, -2.0]).view(1, 1, 1, 2)
    velocity = torch.zeros_like(first)
    expected = torch.zeros(2, dtype=torch.float64)

    def unit(value: torch.Tensor) -> torch.Tensor:
        return value.sign() if norm == "linf" else value / value.norm()

    for gradient in (first, second, second):
        velocity = pgd_step.update_momentum(velocity, gradient, 0.9, norm)
        expected = unit(0.9 * expected + unit(gradient.double().flatten()))
        torch.testing.assert_close(velocity.flatten().double(), expected, rtol=1e-6, atol=1e-6)
    plain = pgd_step.update_momentum(velocity, first, 0.0, norm)
    torch.testing.assert_close(plain, pgd_step.steepest_direction(first, norm))


def test_zero_epsilon_leaves_the_image_alone(images, linear):
    perturbation = pgd_step.perturb(
        lambda x: (x.flatten(1) @ linear).sum(),
        images,
        start(images, 0.0),
        epsilon=0.0,
        step_size=STEP,
        steps=3,
    )
    assert torch.equal(perturbation, torch.zeros_like(images))


def test_weights_get_no_gradient(images):
    layer = torch.nn.Linear(3 * 8 * 8, 4)
    pgd_step.perturb(
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
    round_ = pgd_step.uniform_start(
        images * 0 + 0.5, RADIUS, torch.Generator().manual_seed(2), norm="l2"
    )
    lengths = pgd_step.l2_norms(round_).flatten()
    assert lengths.max() <= RADIUS
    assert lengths.unique().numel() == len(images), "a length of each image's own"
