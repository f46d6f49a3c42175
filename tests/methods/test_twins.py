"""Every method against a twin: the same loss and attack in float64, written out from the
formula."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.common import registry
from pipeline.training.published import TrainingAttack
from pipeline.zeroshot import pgd_step
from tests.methods.scene import options_of, other_images, shifted, tolerance
from tests.methods.twins import CASES, IDS, NAMES, TWINS, simclip
from tests.support.training_runs import objective_of


def test_every_registered_method_has_a_twin_and_only_those():
    assert sorted(TWINS) == NAMES
    assert {method for method, _ in CASES} == set(NAMES)


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_the_training_loss_equals_its_twin(device_scene, method, options):
    scene = device_scene
    objective = objective_of(method, scene.inputs, **options)
    images = other_images(scene.batch.images)
    loss = objective.losses(shifted(scene.inputs.encoder), images, scene.batch)["loss"]
    expected = TWINS[method].loss(scene.world, images.cpu().double(), options_of(method, options))
    assert loss.ndim == 0
    assert abs(loss.item() / expected.item() - 1) < tolerance(scene)


def test_simclip_moves_each_half_towards_the_other_as_if_it_were_fixed(scene):
    """The stopped gradients leave half of that of the cosine."""
    images, objective = other_images(scene.batch.images), objective_of("simclip", scene.inputs)
    encoder = shifted(scene.inputs.encoder)
    objective.losses(encoder, images, scene.batch)["loss"].backward()
    (simclip(scene.world, images.double()) / 2).backward()
    pairs = zip(encoder.parameters(), scene.world.tuned.parameters(), strict=True)
    for weight, expected in pairs:
        size = expected.grad.norm()
        assert (weight.grad.double() - expected.grad).norm() <= 1e-3 * size + 1e-12


def test_twins_tell_the_methods_apart(scene):
    """The comparison above can fail: no two losses are near each other."""
    images = other_images(scene.world.images)
    losses = sorted(
        TWINS[method].loss(scene.world, images, options_of(method, options)).item()
        for method, options in CASES
        if method != "ft_clean"
    )
    assert (np.diff(losses) / losses[1:]).min() > 1e-3
    clean = TWINS["ft_clean"].loss(scene.world, scene.world.images, {})
    assert abs(clean / TWINS["ft_adv"].loss(scene.world, images, {}) - 1) > 1e-3


def twin_attack(
    loss: Callable[[Tensor], Tensor], images: Tensor, start: Tensor, a: TrainingAttack
) -> Tensor:
    delta, velocity = start, torch.zeros_like(start)
    for _ in range(a.steps):
        delta = delta.detach().requires_grad_()
        loss(images + delta).sum().backward()
        velocity = (a.momentum * velocity + delta.grad.sign()).sign()
        delta = (delta.detach() + a.step_255 / 255 * velocity).clamp(
            -a.epsilon_255 / 255, a.epsilon_255 / 255
        )
        delta = (images + delta).clamp(0, 1) - images
    return delta


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_the_attack_equals_its_twin(device_scene, method, options):
    scene = device_scene
    published = registry.load("pipeline.methods", method, "test").PUBLISHED
    objective = objective_of(method, scene.inputs, **options)
    twin = TWINS[method].attack
    assert (published.attack is None) == (objective.attack_loss is None) == (twin is None)
    if twin is None:
        return
    encoder, images, a = shifted(scene.inputs.encoder), scene.batch.images, published.attack
    start = (other_images(images, seed=3) - images) / 4
    perturbation = pgd_step.perturb(
        lambda x: objective.attack_loss(encoder, x, scene.batch),
        images, start, epsilon=a.epsilon_255 / 255, step_size=a.step_255 / 255,
        steps=a.steps, norm=a.norm, momentum=a.momentum,
    )  # fmt: skip
    chosen_options = options_of(method, options)
    expected = twin_attack(
        lambda x: twin(scene.world, x, chosen_options),
        images.cpu().double(),
        start.cpu().double(),
        a,
    )
    apart = (perturbation.cpu().double() - expected).abs() > 0.5 * a.step_255 / 255
    assert apart.double().mean() <= 1e-3
    value = objective.attack_loss(encoder, images, scene.batch).item()
    summed = twin(scene.world, images.cpu().double(), chosen_options).sum().item()
    assert abs(value / summed - 1) < tolerance(scene)


@pytest.mark.parametrize(("method", "options"), CASES, ids=IDS)
def test_with_augmentation_the_base_model_sees_the_augmented_images(device_scene, method, options):
    """Loss and attack of images that are not those of the training set."""
    scene, twin, told = device_scene, TWINS[method], options_of(method, options)
    objective = objective_of(method, scene.inputs._replace(augmentation="flip"), **options)
    batch = scene.batch._replace(images=scene.batch.images.flip(3))
    world = scene.world._replace(images=scene.world.images.flip(3))
    if objective.base is not None:
        batch = objective.base.fill(batch)
    encoder, images = shifted(scene.inputs.encoder), other_images(batch.images)
    loss = objective.losses(encoder, images, batch)["loss"]
    expected = twin.loss(world, images.cpu().double(), told)
    assert abs(loss.item() / expected.item() - 1) < tolerance(scene)
    if twin.attack is not None:
        value = objective.attack_loss(encoder, images, batch)
        summed = twin.attack(world, images.cpu().double(), told).sum().item()
        assert abs(value.item() / summed - 1) < tolerance(scene)
    assert objective.kept_per_image == (("width",) if method == "qt_aft" else ())  # captions
    if objective.base is not None:  # the comparison can fail
        stale = objective_of(method, scene.inputs, **options)
        values = [
            (one.losses(encoder, images, batch)["loss"], one.attack_loss(encoder, images, batch))
            for one in (objective, stale)
        ]
        apart = [abs(a.item() / b.item() - 1) for a, b in zip(*values, strict=True)]
        assert max(apart) > 100 * tolerance(scene)


def test_attacks_on_different_losses_differ(scene):
    """The comparison above can fail."""
    published = registry.load("pipeline.methods", "tecoa", "test").PUBLISHED
    start = torch.zeros_like(scene.world.images)
    perturbations = [
        twin_attack(
            lambda x, m=method: TWINS[m].attack(scene.world, x, options_of(m, {})),
            scene.world.images, start, published.attack,
        )
        for method in ("saft", "tecoa", "fare", "agft")
    ]  # fmt: skip
    for i, first in enumerate(perturbations):
        for second in perturbations[:i]:
            assert ((first - second).abs() > 0.5 / 255).double().mean() > 0.01
