"""What an evaluation keeps of a few images: the maps are those of the pixels kept."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.clip.model import image_encoder
from pipeline.evaluation.examples import kept_examples
from pipeline.evaluation.interface import Outcome, Settings, Targets, empty_outcome
from pipeline.evaluation.params import EvaluateParams
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier, resizing_factor
from pipeline.splits.even_choice import evenly_spaced
from tests.support import tiny_clips
from tests.support.classifiers import CPU, make_targets

COUNT, CLASSES, KEPT = 7, 3, 3


def classifier(resize: bool = False, **vision: Any) -> ZeroShotClassifier:
    """Of images of 32 pixels in patches of 8, and of random texts."""
    texts = F.normalize(torch.randn(CLASSES, 24, generator=torch.Generator().manual_seed(1)), dim=1)
    encoder = image_encoder(tiny_clips.make(vision=vision))
    whole = ZeroShotClassifier(encoder, texts, -texts, -texts[:, None], 10.0, resize)
    return whole.requires_grad_(False).eval()


def attacked(size: int) -> tuple[Targets, Outcome]:
    """Images with perturbations of the KEPT that are kept, some of which lead out of [0, 1]."""
    targets = make_targets(COUNT, CLASSES, size=size)
    moved = np.random.default_rng(2).uniform(-0.2, 0.2, (KEPT, 3, size, size))
    settings = Settings("linf", 0.2, 2, 0, np.zeros(COUNT, bool), evenly_spaced(COUNT, KEPT), CPU)
    outcome = empty_outcome(targets, settings)
    return targets, outcome._replace(perturbations=moved.astype(np.float32))


def kept(whole: ZeroShotClassifier, targets: Targets, outcome: Outcome, batch_size: int = 2):
    params = EvaluateParams.model_construct(examples=KEPT, batch_size=batch_size)
    return kept_examples(whole, targets, outcome, params)


@pytest.mark.parametrize(("size", "resize"), [(32, False), (48, True)])
def test_maps_are_scaled_cosines_of_patches_with_the_text_that_classifies(size, resize):
    whole, (targets, outcome) = classifier(resize), attacked(size)
    arrays = kept(whole, targets, outcome)
    rows = evenly_spaced(COUNT, KEPT)
    assert arrays["numbers"].tolist() == targets.numbers[rows].tolist()
    clean = torch.from_numpy(arrays["clean"])
    assert torch.equal(clean, torch.from_numpy(targets.pixels[arrays["numbers"]] / np.float32(255)))
    texts = whole.class_features[torch.from_numpy(targets.labels[rows])]
    for name, images in (
        ("clean_attention", clean),
        ("adversarial_attention", (clean + torch.from_numpy(arrays["perturbation"])).clamp(0, 1)),
    ):
        if resize:
            factor = resizing_factor(size, 32)
            images = factor @ images @ factor.T
        encoder = whole.encoder
        tokens = encoder.visual((images - encoder.mean) / encoder.std)[1] @ encoder.visual.proj
        cosines = F.cosine_similarity(tokens, texts[:, None], dim=-1)
        low, high = cosines.amin(1, keepdim=True), cosines.amax(1, keepdim=True)
        expected = ((cosines - low) / (high - low)).view(KEPT, 4, 4)
        assert arrays[name].dtype == np.float16
        np.testing.assert_allclose(arrays[name], expected.numpy(), atol=1e-3)


def test_neither_the_size_of_a_batch_nor_a_second_run_changes_what_is_kept():
    whole, inputs = classifier(), attacked(32)
    first, again, single = (kept(whole, *inputs, batch_size) for batch_size in (2, 2, 1))
    for name, values in first.items():
        assert values.tobytes() == again[name].tobytes()
        np.testing.assert_allclose(single[name], values, atol=1e-3)


def test_a_model_whose_tokens_are_no_patches_has_no_maps():
    arrays = kept(classifier(attentional_pool=True, attn_pooler_queries=17), *attacked(32))
    for name in ("clean_attention", "adversarial_attention"):
        assert arrays[name].shape == (KEPT, 0, 0)


def test_no_examples_are_no_maps():
    targets, outcome = attacked(32)
    outcome = outcome._replace(perturbations=outcome.perturbations[:0])
    params = EvaluateParams.model_construct(examples=0, batch_size=2)
    shapes = {k: v.shape for k, v in kept_examples(classifier(), targets, outcome, params).items()}
    assert shapes["clean"] == shapes["perturbation"] == (0, 3, 32, 32)
    assert shapes["clean_attention"] == shapes["adversarial_attention"] == (0, 4, 4)
