"""SAFT's objective: ensemble loss against a loop, one forward, nothing in the graph too many."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pipeline.clip import model as clip
from pipeline.training.attention import attention_map
from pipeline.training.attention_guided import AttentionGuided
from pipeline.training.objective import Batch, MethodInputs
from pipeline.zeroshot import pgd_step
from pipeline.zeroshot.ensemble import ensemble_cross_entropy, ensemble_logits
from tests.support.training_runs import SCALE, C, K, inputs_of, objective_of

B = 6


class Counted:
    """Counts forwards of the image encoder, and the images in them."""

    def __init__(self, encoder: clip.ImageEncoder) -> None:
        self.images: list[int] = []
        encoder.visual.register_forward_pre_hook(lambda _, args: self.images.append(len(args[0])))


@pytest.fixture
def encoder(clip_folder: Path) -> clip.ImageEncoder:
    return clip.image_encoder(clip.load(clip_folder)).eval()


@pytest.fixture
def inputs(encoder: clip.ImageEncoder) -> MethodInputs:
    return inputs_of(encoder, images=B)


@pytest.fixture
def objective(inputs: MethodInputs) -> AttentionGuided:
    return objective_of("saft", inputs)


def batch_of(inputs: MethodInputs) -> Batch:
    images = torch.from_numpy(inputs.pixels).float() / 255
    return Batch(images, torch.from_numpy(inputs.labels), torch.arange(B))


def test_cross_entropy_is_the_mean_over_captions_and_images(inputs):
    pooled = F.normalize(torch.randn(B, 16, generator=torch.Generator().manual_seed(1)), dim=-1)
    labels = torch.arange(B) % C
    expected = 0.0
    for k in range(K):
        for i in range(B):
            logits = torch.stack([SCALE * pooled[i] @ inputs.texts[c, k] for c in range(C)])
            expected += -torch.log_softmax(logits.double(), 0)[labels[i]]
    loss = ensemble_cross_entropy(ensemble_logits(pooled, inputs.texts, SCALE), labels).mean()
    torch.testing.assert_close(loss.double(), expected / (K * B), rtol=1e-5, atol=0)


def test_total_is_cross_entropy_plus_weighted_attention_terms(encoder, objective, inputs):
    batch = batch_of(inputs)
    terms = objective.losses(encoder, (batch.images + 0.01).clamp(0, 1), batch)
    total = (
        terms["cross_entropy"]
        + 0.08 * terms["attention_refinement"]
        + 0.05 * terms["attention_constraint"]
    )
    torch.testing.assert_close(terms["loss"], total)
    assert terms["attention_refinement"] > 0.01
    # the model has not moved yet: its clean maps are the base model's
    assert terms["attention_constraint"] < 1e-4


def test_a_training_step_encodes_clean_and_adversarial_images_once(encoder, objective, inputs):
    counted = Counted(encoder)
    batch = batch_of(inputs)
    objective.losses(encoder, batch.images, batch)
    assert counted.images == [2 * B]
    counted.images.clear()
    pgd_step.perturb(
        lambda x: objective.attack_loss(encoder, x, batch),
        batch.images,
        torch.zeros_like(batch.images),
        epsilon=4 / 255,
        step_size=1 / 255,
        steps=3,
    )
    assert counted.images == [B, B, B]
    assert all(weight.grad is None for weight in encoder.parameters())


def test_base_maps_are_those_of_the_encoder_without_a_graph(encoder, objective, inputs):
    images = torch.from_numpy(inputs.pixels).float() / 255
    with torch.no_grad():
        tokens = encoder.project(encoder(images))
    expected = attention_map(tokens, inputs.texts.mean(1)[torch.arange(B) % C])
    assert not objective.base.values.requires_grad
    torch.testing.assert_close(objective.base.values, expected, rtol=1e-4, atol=1e-5)


def test_the_attack_raises_the_ensemble_loss(encoder, objective, inputs):
    batch = batch_of(inputs)

    def loss(images: torch.Tensor) -> torch.Tensor:
        return objective.attack_loss(encoder, images, batch)

    perturbation = pgd_step.perturb(
        loss,
        batch.images,
        torch.zeros_like(batch.images),
        epsilon=8 / 255,
        step_size=2 / 255,
        steps=8,
    )
    assert loss(batch.images + perturbation) > loss(batch.images)
