"""The evaluation attack: exact dropping, starts by image number, honest verdicts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline import clip
from pipeline.attacks import Settings, Targets, margins, pgd
from pipeline.evaluate import (
    EvaluateParams,
    accuracies,
    evenly_spaced,
    followed,
    judge,
    prediction_columns,
)

N, C, SIZE, FIRST = 23, 3, 16, 5
CPU = torch.device("cpu")


@pytest.fixture
def targets() -> Targets:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(FIRST + N, 3, SIZE, SIZE), dtype=np.uint8)
    return Targets(pixels, np.arange(FIRST, FIRST + N), rng.integers(0, C, size=N))


@pytest.fixture
def classifier(clip_folder: Path, targets: Targets) -> nn.Module:
    """A zero-shot classifier whose class features are means of the images of each class, so
    that it is mostly right and can be fooled."""
    encoder = clip.image_encoder(clip.load(clip_folder))
    images = targets.read(slice(None), CPU)[0]
    with torch.no_grad():
        features = encoder(images).pooled
    centred = features - features.mean(0)
    means = torch.stack([centred[targets.labels == c].mean(0) for c in range(C)])
    model = clip.ImageClassifier(encoder, F.normalize(means, dim=-1), 50.0)
    return model.requires_grad_(False).eval()


def settings(**changes) -> Settings:
    values = {
        "epsilon": 2 / 255,
        "step_size": 0.5 / 255,
        "steps": 8,
        "batch_size": 7,
        "seed": 0,
        "follow": np.zeros(N, dtype=bool),
        "examples": np.array([3, 11]),
        "device": CPU,
    }
    return Settings(**(values | changes))


def slow_loop(classifier: nn.Module, targets: Targets, s: Settings) -> tuple[list, list, list]:
    """One image at a time, nothing dropped: first fooled iterate, last prediction, trajectory."""
    fooled, last, paths = [], [], []
    for label, number in zip(targets.labels, targets.numbers, strict=True):
        pixels = targets.pixels[number]
        image = torch.from_numpy(pixels)[None].float() / 255
        noise = torch.from_numpy(pgd.start_noise(int(number), pixels.shape, s.epsilon, s.seed))
        p = (image + noise.clamp(-s.epsilon, s.epsilon)).clamp(0, 1) - image
        predictions, path = [], []
        for step in range(s.steps + 1):
            p = p.detach().requires_grad_()
            logits = classifier(image + p)
            predictions.append(logits.argmax(1).item())
            path.append(p.detach())
            loss = F.cross_entropy(logits, torch.tensor([label]))
            (gradient,) = torch.autograd.grad(loss, p)
            if step < s.steps:
                p = (p + s.step_size * gradient.sign()).clamp(-s.epsilon, s.epsilon)
                p = (image + p).clamp(0, 1) - image
        wrong = [t for t, found in enumerate(predictions) if found != label]
        fooled.append(wrong[0] if wrong else -1)
        last.append(predictions[-1])
        paths.append(path)
    return fooled, last, paths


def test_verdicts_equal_a_slow_loop_over_single_images(classifier, targets):
    everything = settings(follow=np.ones(N, dtype=bool))
    fooled, last, _ = slow_loop(classifier, targets, everything)
    assert len(set(fooled)) > 3, "the case must have robust and fooled images"
    dropped = pgd.run(classifier, targets, settings())
    kept = pgd.run(classifier, targets, everything)
    assert dropped.fooled_at.tolist() == fooled
    assert kept.fooled_at.tolist() == fooled
    assert kept.last_prediction.tolist() == last
    assert (dropped.last_prediction == -1)[np.array(fooled) >= 0].all()


@pytest.mark.parametrize("batch_size", [1, 4, 23, 64])
def test_verdicts_do_not_depend_on_the_batch(classifier, targets, batch_size):
    expected = pgd.run(classifier, targets, settings())
    found = pgd.run(classifier, targets, settings(batch_size=batch_size))
    assert found.fooled_at.tolist() == expected.fooled_at.tolist()
    assert found.prediction.tolist() == expected.prediction.tolist()
    np.testing.assert_allclose(found.margin, expected.margin, rtol=1e-3, atol=1e-3)


def test_verdicts_do_not_depend_on_the_other_images(classifier, targets):
    expected = pgd.run(classifier, targets, settings())
    part = np.arange(N)[::-2].copy()
    some = Targets(targets.pixels, targets.numbers[part], targets.labels[part])
    found = pgd.run(
        classifier, some, settings(follow=np.zeros(len(part), dtype=bool), examples=np.array([0]))
    )
    assert found.fooled_at.tolist() == expected.fooled_at[part].tolist()


def test_examples_are_the_perturbations_that_decided(classifier, targets):
    outcome = pgd.run(classifier, targets, settings(examples=np.arange(N)))
    images = targets.read(slice(None), CPU)[0]
    assert np.abs(outcome.perturbations).max() <= 2 / 255 + 1e-7
    shown = images + torch.from_numpy(outcome.perturbations)
    assert shown.min() >= 0
    assert shown.max() <= 1
    with torch.no_grad():
        assert classifier(shown).argmax(1).tolist() == outcome.prediction.tolist()


def test_starts_depend_on_number_and_seed_only():
    shape = (3, SIZE, SIZE)
    first = pgd.start_noise(5, shape, 4 / 255, 0)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 4 / 255
    assert np.abs(first).max() > 3.8 / 255
    assert (first == pgd.start_noise(5, shape, 4 / 255, 0)).all()
    assert (first != pgd.start_noise(6, shape, 4 / 255, 0)).any()
    assert (first != pgd.start_noise(5, shape, 4 / 255, 1)).any()


def test_margins_are_positive_exactly_where_the_label_wins():
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    assert margins(logits, torch.tensor([1, 0])).tolist() == [1.0, -2.0]


def params(**changes) -> EvaluateParams:
    values = {
        "datasets": ["x"],
        "images": None,
        "attack": "pgd",
        "epsilon_255": 2,
        "step_255": 0.5,
        "attack_steps": 8,
        "robust": "any",
        "last_images": 5,
        "batch_size": 7,
        "examples": 2,
        "seed": 0,
    }
    return EvaluateParams.model_validate(values | changes)


def columns(classifier, targets, **changes):
    chosen = params(**changes)
    return prediction_columns("m", targets, judge(classifier, pgd, targets, chosen, CPU))


def test_both_modes_agree_on_any_and_last_is_never_stricter(classifier, targets):
    dropping = columns(classifier, targets)
    following = columns(classifier, targets, robust="last")
    assert dropping["robust_any"].tolist() == following["robust_any"].tolist()
    assert sum(v is not None for v in dropping["robust_last"]) >= 5
    assert None not in following["robust_last"]
    for short, long in zip(dropping["robust_last"], following["robust_last"], strict=True):
        assert short in (None, long)
    found = accuracies(following)
    assert found["robust_any"]["accuracy"] <= found["robust_last"]["accuracy"]
    assert found["robust_any"]["accuracy"] <= found["clean"]["accuracy"]


def test_zero_epsilon_gives_clean_accuracy_and_a_huge_one_none(classifier, targets):
    unharmed = accuracies(columns(classifier, targets, epsilon_255=0))
    assert unharmed["robust_any"] == unharmed["clean"]
    assert unharmed["clean"]["accuracy"] > 0.5
    lost = accuracies(columns(classifier, targets, epsilon_255=64, step_255=8, attack_steps=20))
    assert lost["robust_any"]["accuracy"] == 0


def test_more_steps_never_help_the_defender(classifier, targets):
    shares = [
        accuracies(columns(classifier, targets, attack_steps=steps))["robust_any"]["correct"]
        for steps in (1, 3, 6, 12)
    ]
    assert shares == sorted(shares, reverse=True)


def test_robust_last_is_reported_on_evenly_spaced_images():
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, None).tolist() == evenly_spaced(3, 9).tolist() == [0, 1, 2]
    assert followed(10, params(last_images=0)).sum() == 0
    assert followed(10, params(last_images=99)).sum() == 10
    assert followed(10, params(robust="last", last_images=0)).all()


def test_stored_examples_belong_to_their_positions(classifier, targets):
    everything = pgd.run(classifier, targets, settings(examples=np.arange(N)))
    some = pgd.run(classifier, targets, settings(examples=np.array([3, 11])))
    np.testing.assert_array_equal(some.perturbations, everything.perturbations[[3, 11]])
    found = judge(classifier, pgd, targets, params(examples=4), CPU)
    assert found.outcome.perturbations.shape[0] == 4
    chosen = evenly_spaced(N, 4)
    assert np.abs(found.outcome.perturbations).max(axis=(1, 2, 3)).min() > 0
    np.testing.assert_allclose(
        found.outcome.perturbations, everything.perturbations[chosen], atol=1e-6
    )
