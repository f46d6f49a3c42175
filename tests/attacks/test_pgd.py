"""Fixed-step attacks against plain loops and closed forms written out here, in float64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.attacks import cw_linf, fgsm, pgd
from pipeline.attacks import semantic_ensemble as ensemble
from pipeline.evaluation.fixed_step import FixedStepParams
from pipeline.evaluation.interface import Settings, Targets, margins
from pipeline.evaluation.starts import start_noise
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from tests.support.classifiers import (
    CPU,
    Net,
    attack,
    fit,
    make_targets,
    on,
    only_right,
    settings,
    with_other_texts,
)

N, C, K = 24, 5, 3
RADII = {"linf": 9 / 255, "l2": 0.2}
STEPS_255 = {"linf": 1.5, "l2": 9.0}
Loss = Callable[
    [ZeroShotClassifier, Tensor, Tensor], Tensor
]  # (classifier, one image, its label) -> scalar


@pytest.fixture(scope="module")
def classifier() -> ZeroShotClassifier:
    return fit(Net(), make_targets(N, C), captions=K)


@pytest.fixture(scope="module")
def targets() -> Targets:
    return make_targets(N, C)


def cross_entropy(classifier: ZeroShotClassifier, image: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(classifier(image), label)


def options(norm: str, **changes) -> FixedStepParams:
    values = {"steps": 8, "step_255": STEPS_255[norm], "restarts": 1, "random_start": True}
    return FixedStepParams.model_validate(values | {"momentum": 0.0} | changes)


def slow_loop(
    classifier: ZeroShotClassifier,
    targets: Targets,
    s: Settings,
    o: FixedStepParams,
    loss: Loss = cross_entropy,
) -> tuple[list[int], list[int], Tensor]:
    """One image at a time in float64, nothing dropped: first misclassified iterate, last
    prediction, perturbations (N, steps + 1, 3, S, S)."""
    fooled, last, paths = [], [], []
    step, epsilon = o.step_255 / 255, s.epsilon

    def unit(gradient: Tensor) -> Tensor:
        return gradient.sign() if s.norm == "linf" else gradient / gradient.norm()

    def inside(image: Tensor, p: Tensor) -> Tensor:
        if s.norm == "linf":
            p = p.clamp(-epsilon, epsilon)
        elif p.norm() > epsilon:
            p = p * epsilon / p.norm()
        return (image + p).clamp(0, 1) - image

    for label, number in zip(targets.labels, targets.numbers, strict=True):
        pixels = targets.pixels[number]
        image = torch.from_numpy(pixels)[None].double() / 255
        first = np.zeros(1, dtype=np.int64)
        noise = start_noise(np.array([number]), pixels.shape, s, first, CPU).double()
        p = inside(image, noise * o.random_start)
        velocity = torch.zeros_like(p)
        predictions, path, truth = [], [], torch.tensor([label])
        for _ in range(o.steps + 1):
            p = p.detach().requires_grad_()
            predictions.append(int(classifier(image + p).argmax()))
            path.append(p.detach())
            (gradient,) = torch.autograd.grad(loss(classifier, image + p, truth), p)
            velocity = o.momentum * velocity + unit(gradient)
            velocity = unit(velocity)
            p = inside(image, p.detach() + step * velocity)
        wrong = [t for t, prediction in enumerate(predictions) if prediction != label]
        fooled.append(wrong[0] if wrong else -1)
        last.append(predictions[-1])
        paths.append(torch.cat(path))
    return fooled, last, torch.stack(paths)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_equals_a_slow_loop_over_single_images(norm, momentum, classifier, targets, device):
    s = settings(
        N, norm=norm, epsilon=RADII[norm], batch_size=7, examples=np.arange(N), device=device
    )
    o = options(norm, momentum=momentum)
    fooled, last, paths = slow_loop(classifier, targets, s, o)
    assert len(set(fooled)) > 4, "the case must have robust and fooled images"
    classifier = on(classifier, device)  # the slow loop stays on the CPU
    dropped = pgd.run(classifier, targets, o, s)
    followed = pgd.run(classifier, targets, o, s._replace(follow=np.ones(N, dtype=bool)))
    assert dropped.fooled_at.tolist() == fooled
    assert followed.fooled_at.tolist() == fooled
    assert followed.last_prediction.tolist() == last
    decided = [t if t >= 0 else o.steps for t in fooled]
    expected = paths[torch.arange(N), decided]
    perturbations = torch.from_numpy(dropped.perturbations).double()
    torch.testing.assert_close(
        perturbations, expected, rtol=0, atol=2e-6 if norm == "linf" else 2e-5
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_iterate_is_the_slow_loops(norm, classifier, targets, device):
    """Where nothing is misclassified, the last iterate is kept: every length is compared."""
    right = only_right(classifier, targets)
    count = len(right.labels)
    examples = np.arange(count)
    s = settings(count, norm=norm, epsilon=RADII[norm] / 8, examples=examples, device=device)
    path = slow_loop(classifier, right, s, options(norm))[2]
    classifier = on(classifier, device)
    for steps in range(1, 9):
        outcome = pgd.run(classifier, right, options(norm, steps=steps), s)
        stayed = np.flatnonzero(outcome.fooled_at < 0)
        assert len(stayed) > count / 2
        ours = torch.from_numpy(outcome.perturbations[stayed]).double()
        torch.testing.assert_close(ours, path[stayed, steps], rtol=0, atol=2e-6)


def test_the_first_start_can_be_given(classifier, targets):
    s = settings(N, examples=np.arange(N))
    shape = targets.pixels.shape[1:]
    starts = {int(n): np.full(shape, 0.01, dtype=np.float32) for n in targets.numbers[::2]}
    tiny = {"step_255": 1e-5, "steps": 1}
    for random_start in (True, False):
        o = options("linf", random_start=random_start, **tiny)
        outcome = pgd.run(classifier, targets, o, s._replace(starts=starts))
        usual = pgd.run(classifier, targets, o, s)
        images = targets.read(slice(None), CPU)[0].numpy()
        expected_start = (images + np.float32(0.01)).clip(0, 1) - images
        np.testing.assert_allclose(outcome.perturbations[::2], expected_start[::2], atol=1e-6)
        np.testing.assert_array_equal(outcome.perturbations[1::2], usual.perturbations[1::2])
        assert np.abs(usual.perturbations).max() < 1e-6 or random_start


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_is_its_closed_form(norm, classifier, targets, device):
    classifier = on(classifier, device)
    right = only_right(classifier, targets)
    count = len(right.labels)
    epsilon = RADII[norm] / 3
    s = settings(count, norm=norm, epsilon=epsilon, examples=np.arange(count), device=device)
    module, o = attack("fgsm")
    outcome = module.run(classifier, right, o, s)
    images, labels = right.read(slice(None), device)
    images.requires_grad_()
    loss = F.cross_entropy(classifier(images), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    images = images.detach()
    if norm == "linf":
        moved = images + epsilon * gradient.sign()
    else:
        moved = images + epsilon * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    expected = moved.clamp(0, 1) - images
    perturbations = torch.from_numpy(outcome.perturbations).to(device)
    torch.testing.assert_close(perturbations, expected, rtol=0, atol=1e-6)
    assert set(outcome.fooled_at.tolist()) == {1, -1}
    prediction = classifier(moved.clamp(0, 1)).argmax(1)
    assert outcome.prediction.tolist() == prediction.tolist()


def test_fgsm_from_a_random_start_uses_it(classifier, targets):
    s = settings(N, examples=np.arange(N))
    plain, random = (
        fgsm.run(classifier, targets, fgsm.Params(random_start=r, restarts=1), s)
        for r in (False, True)
    )
    assert (plain.perturbations != random.perturbations).any()


def test_the_margin_loss_is_its_formula_and_confidence_bounds_it(classifier, targets):
    images, labels = targets.read(slice(None), CPU)
    features = classifier.features(images)
    logits = classifier.attacker_logits(features).numpy()
    for confidence in (0.0, 3.0, 50.0):
        total = 0.0
        for row, label in zip(logits, targets.labels, strict=True):
            margin = row[label] - max(z for c, z in enumerate(row) if c != label)
            total -= max(0.0, margin + confidence)
        loss = cw_linf.loss(confidence)(classifier, features, labels)
        assert loss.item() == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("confidence", [0.0, 50.0])
def test_without_confidence_a_fooled_image_is_pushed_no_further(confidence, classifier, targets):
    follow = np.ones(N, dtype=bool)
    kept = settings(N, follow=follow, examples=np.arange(N))
    o = cw_linf.Params(**options("linf", steps=20).model_dump(), confidence=confidence)
    fooled = cw_linf.run(classifier, targets, o, kept).fooled_at
    assert (fooled > 0).any()
    loss = cw_linf.loss(confidence)
    images, labels = targets.read(slice(None), CPU)
    wrong = targets.labels != classifier(images).argmax(1).numpy()
    assert wrong.any()
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(classifier, classifier.features(images), labels), images)
    still = (gradient == 0).flatten(1).all(1).numpy()
    assert (still == (wrong & (confidence == 0))).all()


def test_the_margin_attack_equals_a_slow_loop(classifier, targets):
    def loss(classifier: ZeroShotClassifier, image: Tensor, label: Tensor) -> Tensor:
        return -(margins(classifier(image), label) + 1.0).relu().sum()

    s = settings(N, epsilon=RADII["linf"], batch_size=5)
    o = options("linf")
    outcome = cw_linf.run(classifier, targets, cw_linf.Params(**o.model_dump(), confidence=1.0), s)
    assert outcome.fooled_at.tolist() == slow_loop(classifier, targets, s, o, loss)[0]


def test_the_ensembles_loss_is_the_mean_over_texts_of_the_sum_over_images(classifier, targets):
    images, labels = targets.read(slice(None), CPU)
    features = classifier.features(images)
    total = sum(
        F.cross_entropy(
            classifier.scale * features @ classifier.attacker_captions[:, k].T,
            labels,
            reduction="sum",
        )
        for k in range(K)
    )
    loss = ensemble.loss(classifier, features, labels)
    torch.testing.assert_close(loss, total / K)
    plain = pgd.loss(classifier, features, labels)
    assert abs(loss - plain) > 1e-3, "mean loss and loss of the mean text differ"


def test_the_ensemble_of_one_text_is_pgd(targets):
    classifier = fit(Net(), targets, captions=1)
    s = settings(N, epsilon=RADII["linf"], examples=np.arange(N))
    for one, other in zip(
        ensemble.run(classifier, targets, options("linf"), s),
        pgd.run(classifier, targets, options("linf"), s),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_the_ensemble_equals_a_slow_loop(classifier, targets):
    def loss(classifier: ZeroShotClassifier, image: Tensor, label: Tensor) -> Tensor:
        logits = classifier.scale * torch.stack(
            [classifier.features(image) @ classifier.attacker_captions[:, k].T for k in range(K)]
        )
        return torch.stack([F.cross_entropy(z, label) for z in logits]).mean()

    s = settings(N, epsilon=RADII["linf"], batch_size=5)
    outcome = ensemble.run(classifier, targets, options("linf"), s)
    assert outcome.fooled_at.tolist() == slow_loop(classifier, targets, s, options("linf"), loss)[0]


def test_with_other_texts_every_iterate_is_judged_by_the_classifier(classifier, targets):
    """The attacker's own forward says nothing about which images are misclassified."""
    other = with_other_texts(classifier, [1, 0, 2, 3, 4])

    def loss(classifier: ZeroShotClassifier, image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(other.attacker_logits(other.features(image)), label)

    s = settings(N, epsilon=RADII["linf"])
    fooled = slow_loop(classifier, targets, s, options("linf"), loss)[0]
    assert pgd.run(other, targets, options("linf"), s).fooled_at.tolist() == fooled
    assert any(0 < at < 8 for at in fooled)


def test_margins_are_positive_exactly_where_the_label_wins():
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    assert margins(logits, torch.tensor([1, 0])).tolist() == [1.0, -2.0]


def test_stored_examples_belong_to_their_positions(classifier, targets):
    whole = pgd.run(classifier, targets, options("linf"), settings(N, examples=np.arange(N)))
    some = pgd.run(
        classifier, targets, options("linf"), settings(N, examples=np.array([3, 11]), batch_size=4)
    )
    np.testing.assert_allclose(some.perturbations, whole.perturbations[[3, 11]], atol=1e-6)
    assert np.abs(some.perturbations).max(axis=(1, 2, 3)).min() > 0
