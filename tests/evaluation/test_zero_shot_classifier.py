"""The classifier under attack: whose texts decide, whose are seen, at which size the ball is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import (
    ZeroShotClassifier,
    load_classifier,
    resized,
    resizing_factor,
)
from pipeline.zeroshot.text_sets import TextSet
from tests.support.classifiers import CPU, OURS, Counting, Net, attack, fit, make_targets, settings

N, C, WIDTH, SIDE = 20, 4, 16, 16  # width and side of conftest's tiny CLIP


def text_set(name: str, texts: int = 3, seed: int = 0) -> TextSet:
    values = np.random.default_rng(seed).normal(size=(C, texts, WIDTH)).astype(np.float32)
    values /= np.linalg.norm(values, axis=2, keepdims=True)
    return TextSet(name, [], values)


def test_a_loaded_classifier_is_the_model_and_frozen(
    clip_folder: Path, device: torch.device
) -> None:
    texts, seen = text_set("template"), text_set("unseen", seed=1)
    classifier = load_classifier(clip_folder, texts, seen, SIDE, False, device)
    assert not any(p.requires_grad for p in classifier.parameters())
    assert not classifier.training
    loaded = clip.load(clip_folder)
    images = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    mean, std = (
        torch.tensor(loaded.config["preprocess_cfg"][key]).view(1, 3, 1, 1)
        for key in ("mean", "std")
    )
    with torch.no_grad():
        features = loaded.model.encode_image((images - mean) / std, normalize=True)
    scale = loaded.model.logit_scale.exp().item()
    assert 1 < scale < 100
    moved = images.to(device)  # the expected values are the CPU's
    for logits, class_features in (
        (classifier(moved), texts.class_features),
        (classifier.attacker_logits(classifier.features(moved)), seen.class_features),
    ):
        expected = scale * features @ torch.from_numpy(class_features).T
        torch.testing.assert_close(logits.cpu(), expected, rtol=1e-4, atol=1e-4)
        assert logits.dtype == torch.float32
    one_by_one = classifier.attacker_caption_logits(classifier.features(moved)).cpu()
    expected = torch.stack(
        [scale * features @ torch.from_numpy(seen.captions[:, k]).T for k in range(3)], dim=2
    )
    torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_said(clip_folder: Path) -> None:
    texts = text_set("template")
    with pytest.raises(UserError, match="the images are 20 x 20"):
        load_classifier(clip_folder, texts, texts, 20, False, CPU)
    narrow = TextSet("template", [], np.ones((C, 1, 5), dtype=np.float32))
    for native in (False, True):
        with pytest.raises(UserError, match="the text embeddings 5; run `dvc repro`"):
            load_classifier(clip_folder, narrow, narrow, SIDE, native, CPU)


def transfer() -> tuple[ZeroShotClassifier, Targets]:
    """The attacker's classes are the classifier's in another order: what it ascends is another
    loss, and an image that it gets wrong does not count."""
    targets = make_targets(N, C)
    white_box = fit(Net(), targets, captions=2)
    order = [1, 2, 3, 0]
    classifier = ZeroShotClassifier(
        white_box.encoder,
        white_box.class_features,
        white_box.class_features[order],
        white_box.attacker_captions[order],
        white_box.scale,
    )
    return classifier, targets


@pytest.mark.parametrize("name", ["pgd", "fgsm", "cw_linf", "apgd_ce", "apgd_dlr", "apgd_t"])
def test_the_gradient_is_the_attackers_and_the_verdict_the_classifiers(name, device) -> None:
    classifier, targets = transfer()
    classifier.to(device)
    module, options = attack(name, step_255=3.0, confidence=50.0)
    s = settings(N, epsilon=12 / 255, examples=np.arange(N), device=device)
    outcome = module.run(classifier, targets, options, s)
    images = targets.read(slice(None), device)[0]
    adversarial = (images + torch.from_numpy(outcome.perturbations).to(device)).clamp(0, 1)
    assert outcome.prediction.tolist() == classifier(adversarial).argmax(1).tolist()
    white = ZeroShotClassifier(
        classifier.encoder,
        classifier.class_features,
        classifier.class_features,
        classifier.attacker_captions,
        classifier.scale,
    )
    direct = module.run(white, targets, options, s)
    assert (direct.perturbations != outcome.perturbations).any()
    assert (direct.fooled_at >= 0).sum() > (outcome.fooled_at >= 0).sum()


def test_pgds_first_step_follows_the_attackers_loss() -> None:
    classifier, targets = transfer()
    module, options = attack("pgd", steps=1, step_255=0.01, random_start=False)
    s = settings(N, epsilon=1 / 255, examples=np.arange(N), follow=np.ones(N, dtype=bool))
    perturbations = torch.from_numpy(module.run(classifier, targets, options, s).perturbations)
    images, labels = targets.read(slice(None), CPU)
    images.requires_grad_()
    loss = F.cross_entropy(
        classifier.attacker_logits(classifier.features(images)), labels, reduction="sum"
    )
    (gradient,) = torch.autograd.grad(loss, images)
    still_right = (classifier(images).argmax(1) == labels).numpy()
    free = (images > 0.01) & (images < 0.99)
    agree = (perturbations.sign() == gradient.sign())[still_right][free[still_right]]
    assert agree.float().mean() > 0.999


@pytest.mark.parametrize("side", [11, 24])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", OURS)
def test_the_ball_lies_at_the_images_own_size(name, norm, side, clip_folder, device) -> None:
    targets = make_targets(8, C, size=side)
    texts = text_set("template")
    classifier = load_classifier(clip_folder, texts, texts, side, True, device)
    images, _ = targets.read(slice(None), device)
    labels = classifier(images).argmax(1).cpu().numpy()
    targets = Targets(targets.pixels, targets.numbers, labels)
    encoder: Any = Counting(classifier.encoder)
    classifier.encoder = encoder
    epsilon = 3 / 255 if norm == "linf" else 0.3
    module, options = attack(name, steps=3, step_255=255 * epsilon / 2)
    s = settings(8, norm=norm, epsilon=epsilon, examples=np.arange(8), device=device)
    outcome = module.run(classifier, targets, options, s)
    assert outcome.perturbations.shape == (8, 3, side, side)
    flat = torch.from_numpy(outcome.perturbations).flatten(1)
    size = flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
    assert 0.5 * epsilon < size.max() <= epsilon + 1e-6
    assert {tuple(batch.shape[1:]) for batch in encoder.batches} == {(3, SIDE, SIDE)}
    adversarial = (images + torch.from_numpy(outcome.perturbations).to(device)).clamp(0, 1)
    inside = F.interpolate(adversarial, (SIDE, SIDE), mode="bicubic", antialias=True)
    with torch.no_grad():
        features = encoder.encoder(inside).pooled
    assert classifier.logits(features).argmax(1).tolist() == outcome.prediction.tolist()


def test_images_of_the_models_size_are_not_resized(clip_folder: Path) -> None:
    texts = text_set("template")
    native, plain = (
        load_classifier(clip_folder, texts, texts, SIDE, n, CPU) for n in (True, False)
    )
    images = make_targets(4, C, size=SIDE).read(slice(None), CPU)[0]
    assert torch.equal(native(images), plain(images))
    assert not native.resize


@pytest.mark.parametrize(("side", "size"), [(32, 224), (96, 224), (256, 224), (12, 16), (16, 16)])
def test_two_products_resize_as_interpolation_does(side: int, size: int) -> None:
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    images.requires_grad_()
    factor = resizing_factor(side, size)
    exact = F.interpolate(images.double(), size=(size, size), mode="bicubic", antialias=True)
    product = resized(images, factor)
    assert product.dtype == torch.float32
    torch.testing.assert_close(product.double(), exact, rtol=0, atol=1e-5)
    weights = torch.rand(product.shape, generator=torch.Generator().manual_seed(1))
    expected, computed = (
        torch.autograd.grad((out * weights).sum(), images)[0] for out in (exact, product)
    )
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-4 * expected.abs().max().item())
    if side == size:
        assert torch.equal(product, images)
