"""What holds for every registered attack, whatever it ascends."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.attacks import cw_linf
from pipeline.clip.cuda_graph import Replay
from pipeline.evaluation import fixed_step
from pipeline.evaluation.interface import Outcome, Targets, margins
from pipeline.evaluation.slots import Slots
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from tests.support.classifiers import (
    FIRST,
    LIBRARY,
    NAMES,
    OURS,
    Counting,
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
RADII = {"linf": 9 / 255, "l2": 0.2}
STEPS_255 = {"linf": 2.0, "l2": 10.0}
STEPPED = [name for name in OURS if "steps" in attack(name)[1].model_dump()]
RESTARTED = [name for name in OURS if "restarts" in attack(name)[1].model_dump()]
WITH_LAST = [name for name in OURS if getattr(attack(name)[0], "LAST_ITERATE", False)]


@pytest.fixture(autouse=True)
def quick_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own settings take seconds; test_autoattack.py spends them once."""
    from pipeline.evaluation import autoattack_library

    whole = autoattack_library._make_adversary

    def short(*arguments):
        adversary = whole(*arguments)
        adversary.square.n_queries, adversary.fab.n_iter = 20, 3
        adversary.apgd.n_iter = adversary.apgd_targeted.n_iter = 5
        return adversary

    monkeypatch.setattr(autoattack_library, "_make_adversary", short)


@pytest.fixture(scope="module")
def classifier() -> ZeroShotClassifier:
    return fit(Net(), make_targets(N, C), captions=3)


@pytest.fixture(scope="module")
def targets() -> Targets:
    return make_targets(N, C)


def run(
    name: str,
    classifier: ZeroShotClassifier,
    targets: Targets,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> Outcome:
    norm = changes.get("norm", "linf")
    module, params = attack(name, **({"step_255": STEPS_255[norm]} | (options or {})))
    chosen: dict[str, Any] = {
        "epsilon": RADII[norm],
        "device": classifier.class_features.device,
    } | changes
    return module.run(classifier, targets, params, settings(len(targets.labels), **chosen))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", NAMES)
def test_outcomes_are_inside_the_ball_and_say_what_the_classifier_says(
    name, norm, classifier, targets, device
):
    classifier = on(classifier, device)
    outcome = run(name, classifier, targets, norm=norm, examples=np.arange(N))
    images, labels = targets.read(slice(None), device)
    perturbation = torch.from_numpy(outcome.perturbations).to(device)
    flat = perturbation.flatten(1)
    size = flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
    assert size.max() <= RADII[norm] + 1e-6
    assert size.max() > 0.5 * RADII[norm]
    adversarial = images + perturbation
    assert adversarial.min() >= -1e-7
    assert adversarial.max() <= 1 + 1e-7
    logits = classifier(adversarial.clamp(0, 1))
    assert outcome.prediction.tolist() == logits.argmax(1).tolist()
    fooled = outcome.fooled_at >= 0
    assert (fooled == (outcome.prediction != targets.labels)).all()
    assert 0 < fooled.sum() < N
    expected = margins(logits, labels).cpu()
    np.testing.assert_allclose(outcome.margin, expected, rtol=1e-4, atol=1e-4)
    assert ((outcome.margin < 0) == fooled).all()
    predicted = logits.double().softmax(1).gather(1, logits.argmax(1)[:, None])[:, 0].cpu()
    np.testing.assert_allclose(outcome.confidence, predicted, rtol=1e-4)
    assert outcome.confidence.dtype == np.float32
    module, params = attack(name)
    assert outcome.fooled_at.max() < (module.max_iterates(params) or 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", OURS)
def test_verdicts_depend_neither_on_batch_nor_order_nor_company(
    name, norm, classifier, targets, device
):
    classifier = on(classifier, device)
    whole = run(name, classifier, targets, norm=norm, examples=np.arange(N))
    for batch_size in (1, 7):
        outcome = run(name, classifier, targets, norm=norm, batch_size=batch_size)
        assert outcome.fooled_at.tolist() == whole.fooled_at.tolist()
        assert outcome.prediction.tolist() == whole.prediction.tolist()
        np.testing.assert_allclose(outcome.margin, whole.margin, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(outcome.confidence, whole.confidence, rtol=1e-4)
    for part in (np.arange(N)[::-1].copy(), np.arange(N)[3::4]):
        some = Targets(targets.pixels, targets.numbers[part], targets.labels[part])
        outcome = run(
            name, classifier, some, norm=norm, batch_size=3, examples=np.arange(len(part))
        )
        assert outcome.fooled_at.tolist() == whole.fooled_at[part].tolist()
        np.testing.assert_allclose(outcome.perturbations, whole.perturbations[part], atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", OURS)
def test_cuda_gives_the_verdicts_of_the_cpu(name, norm, classifier, targets):
    """The network computes in float64: what differs are last bits of the float32 perturbation,
    which add up to less than 1e-5 here. APGD keeps the better of two losses that are nearly equal:
    on one image in ten at most it goes another way."""
    moved = on(classifier, torch.device("cuda"))
    cpu, cuda = (
        run(name, v, targets, norm=norm, examples=np.arange(N)) for v in (classifier, moved)
    )
    assert cuda.fooled_at.tolist() == cpu.fooled_at.tolist()
    assert cuda.prediction.tolist() == cpu.prediction.tolist()
    parted = np.abs(cuda.perturbations - cpu.perturbations).max((1, 2, 3)) > 1e-5
    assert parted.sum() <= (N // 10 if name.startswith("apgd") else 0)
    np.testing.assert_allclose(cuda.margin[~parted], cpu.margin[~parted], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_it_repeats_itself_and_touches_nothing_global(name, classifier, targets, device):
    classifier = on(classifier, device)
    torch.manual_seed(7)
    numpy_state: Any = np.random.get_state()
    before = torch.get_rng_state(), numpy_state[1].copy(), random.getstate()
    grad = [p.requires_grad for p in classifier.parameters()]
    first = run(name, classifier, targets, batch_size=8, examples=np.arange(N))
    assert torch.equal(torch.get_rng_state(), before[0])
    numpy_state = np.random.get_state()
    assert (numpy_state[1] == before[1]).all()
    assert random.getstate() == before[2]
    assert [p.requires_grad for p in classifier.parameters()] == grad
    assert all(p.grad is None for p in classifier.parameters())
    torch.manual_seed(8)
    again = run(name, classifier, targets, batch_size=8, examples=np.arange(N))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    if name == "fgsm":
        return  # from the image itself: the seed plays no part
    other = run(name, classifier, targets, batch_size=8, examples=np.arange(N), seed=1)
    assert (other.perturbations != first.perturbations).any()


@pytest.mark.parametrize("name", WITH_LAST)
def test_dropping_fooled_images_changes_no_verdict_and_saves_forwards(name, targets):
    counted = Counting(Net())
    classifier = fit(counted, targets, captions=3)
    options = {"restarts": 2, "steps": 12}
    counted.batches.clear()
    dropped = run(name, classifier, targets, options, batch_size=6)
    cheap = counted.images
    counted.batches.clear()
    whole = run(name, classifier, targets, options, batch_size=6, follow=np.ones(N, dtype=bool))
    assert 0 < (dropped.fooled_at >= 0).sum() < N
    for field in ("fooled_at", "prediction"):
        assert getattr(dropped, field).tolist() == getattr(whole, field).tolist()
    assert cheap < 0.9 * counted.images
    assert (dropped.last_prediction == -1).all()
    assert (whole.last_prediction >= 0).all()
    module, params = attack(name, **options)
    iterates = N * module.max_iterates(params)
    assert counted.images >= iterates, "whoever is followed takes every iterate"


@pytest.mark.parametrize("name", RESTARTED)
def test_restarts_only_add_and_only_where_nothing_has_fooled(name, targets):
    counted = Counting(Net())
    classifier = fit(counted, targets, captions=3)
    options = {"random_start": True}
    outcomes: dict[int, Outcome] = {}
    for restarts in (1, 2, 4):
        counted.batches.clear()
        outcomes[restarts] = run(name, classifier, targets, options | {"restarts": restarts})
        forwards = counted.images
        module, params = attack(name, **options, restarts=restarts)
        fooled_at = outcomes[restarts].fooled_at
        steps = np.where(fooled_at < 0, module.max_iterates(params), fooled_at + 1)
        # one forward per iterate, and one more of each that is judged for good
        judged = N
        assert forwards == steps.sum() + judged
    for fewer, more in ((1, 2), (2, 4)):
        was, now = outcomes[fewer].fooled_at, outcomes[more].fooled_at
        assert (now[was >= 0] == was[was >= 0]).all()
        assert (now >= 0).sum() >= (was >= 0).sum()


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_ball_leaves_fewer_and_a_huge_one_nothing(name, classifier, targets):
    robust = [
        int(
            (
                run(name, classifier, targets, {"step_255": e / 2}, epsilon=e / 255).fooled_at < 0
            ).sum()
        )
        for e in (0.01, 4, 60)
    ]
    assert robust == sorted(robust, reverse=True)
    clean = len(only_right(classifier, targets).labels)
    assert robust[0] == clean, "nearly no ball: the clean verdicts"
    assert robust[-1] <= (3 if name == "fgsm" else 0)


@pytest.mark.parametrize("name", STEPPED)
def test_more_steps_leave_fewer(name, classifier, targets):
    counts = [
        int((run(name, classifier, targets, {"steps": steps}).fooled_at < 0).sum())
        for steps in (1, 4, 16)
    ]
    assert counts == sorted(counts, reverse=True)


def band_classifier(low: float, high: float) -> ZeroShotClassifier:
    """Wrong exactly where the mean pixel is in a band, while the attacker only sees that brighter
    is better: an ascent walks into the band and out of it again."""

    def features(images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3))
        inside = ((mean > low) & (mean < high)).float()
        return torch.stack([torch.ones_like(mean), inside, 10 * mean], dim=1)

    class_features = torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.0, 0.0]])
    attacker = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    encoder: Any = Hand(features)
    return ZeroShotClassifier(encoder, class_features, attacker, attacker[:, None], 1.0)


@pytest.mark.parametrize("name", ["pgd", "semantic_ensemble", "cw_linf"])
def test_an_early_iterate_that_fools_counts_though_the_last_does_not(name):
    pixels = np.full((1, 3, 6, 6), 102, dtype=np.uint8)  # 0.4
    targets = Targets(pixels, np.array([0]), np.array([0]))
    classifier = band_classifier(0.4 + 2.5 / 255, 0.4 + 3.5 / 255)  # the third step of 1/255
    options = {"steps": 8, "step_255": 1.0, "random_start": False, "confidence": 50.0}
    follow = np.ones(1, dtype=bool)
    for changes in ({}, {"follow": follow}):
        outcome = run(name, classifier, targets, options, epsilon=8 / 255, **changes)
        assert outcome.fooled_at.tolist() == [3]
        assert outcome.prediction.tolist() == [1]
        assert outcome.last_prediction.tolist() == ([0] if changes else [-1])


@pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_t"])
def test_apgd_counts_a_start_that_fools_though_its_best_point_does_not(name):
    targets = Targets(np.full((1, 3, 6, 6), 102, dtype=np.uint8), np.array([0]), np.array([0]))
    classifier = band_classifier(0.4 - 3 / 255, 0.4 + 3 / 255)  # round the image: the random start
    outcome = run(name, classifier, targets, {"restarts": 1}, epsilon=8 / 255)
    assert outcome.fooled_at.tolist() == [0]
    outcome = run(name, band_classifier(2, 3), targets, epsilon=8 / 255, examples=np.array([0]))
    assert outcome.fooled_at.tolist() == [-1]
    np.testing.assert_allclose(outcome.perturbations, 8 / 255, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_share_of_dead_pixels_is_right(name, targets):
    def features(images: Tensor) -> Tensor:
        seen = images.flatten(1)[:, ::4] - 0.5  # every fourth of 108 values
        mixed = torch.sin(seen @ torch.linspace(-3, 3, 27 * C).reshape(27, C))
        return mixed + torch.eye(C)[targets.labels[:1]]

    encoder: Any = Hand(features)
    classifier = ZeroShotClassifier(encoder, torch.eye(C), torch.eye(C), torch.eye(C)[:, None], 3.0)
    # the difference of logits ratio is 1, whatever the pixels, where the label is third
    right = only_right(classifier, targets)
    shares = run(name, classifier, right, {"confidence": 50.0}).zero_gradient
    assert len(shares) > 3
    if name in LIBRARY:
        assert np.isnan(shares).all()
    else:
        np.testing.assert_allclose(shares, 0.75, atol=1e-6)


def test_a_gradient_does_not_depend_on_the_batch(classifier, targets):
    """Losses are sums: a mean would shrink an image's gradient with the batch."""
    for name in ("pgd", "fgsm", "semantic_ensemble", "cw_linf"):
        loss = cw_linf.loss(50.0) if name == "cw_linf" else attack(name)[0].loss
        gradients = []
        for part in (np.arange(N), np.array([4])):
            some = Targets(targets.pixels, targets.numbers[part], targets.labels[part])
            s = settings(len(part))

            def begin(images, labels, numbers, rounds):
                return {"perturbation": torch.zeros_like(images)}

            slots = Slots(some, s, begin)
            slots.refill()
            gradients.append(fixed_step.forward(classifier, slots, loss, Replay())[0])
        assert gradients[1].abs().max() > 0
        torch.testing.assert_close(gradients[0][4:5], gradients[1], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_no_image_at_all_is_no_error(name, classifier, targets):
    none = Targets(targets.pixels, targets.numbers[:0], targets.labels[:0])
    assert run(name, classifier, none).fooled_at.shape == (0,)
    assert FIRST > 0, "numbers are not positions"


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_declares_how_many_iterates_it_takes(name):
    module, params = attack(name)
    declared = module.LIBRARY_STEPS if name in LIBRARY else module.max_iterates(params)
    assert type(declared) is int
    assert declared >= 1
    assert (module.max_iterates(params) is None) == (name in LIBRARY)
