"""A model in the midst of its training, as the methods see it and as their twins do."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.clip import model as clip
from pipeline.training.objective import Batch, MethodInputs
from tests.methods.twins import B, World
from tests.support.training_runs import OPTIONS, inputs_of


class Scene(NamedTuple):
    inputs: MethodInputs
    batch: Batch
    world: World


def shifted(encoder: clip.ImageEncoder) -> clip.ImageEncoder:
    """A copy with every weight moved, as after some training."""
    moved, generator = copy.deepcopy(encoder), torch.Generator().manual_seed(1)
    for weight in moved.parameters():
        weight.data.mul_(1 + 0.1 * torch.randn(weight.shape, generator=generator).to(weight.device))
    return moved


def make_scene(folder: Path, device: torch.device) -> Scene:
    """MethodInputs and batch on `device`; the world of the twins always on the CPU."""
    encoder = clip.image_encoder(clip.load(folder)).eval()
    base, tuned = copy.deepcopy(encoder).double(), shifted(encoder).double()
    inputs = inputs_of(encoder, images=B, device=device)
    images, labels = torch.from_numpy(inputs.pixels).float() / 255, torch.from_numpy(inputs.labels)
    batch = Batch(*(values.to(device) for values in (images, labels, torch.arange(B))))
    texts, template = inputs.texts.cpu().double(), inputs.template.cpu().double()
    negated = inputs.others["negated"][:, 0].cpu().double()
    captions = inputs.captions.cpu().double()
    world = World(tuned, base, texts, template, negated, captions, images.double(), labels)
    return Scene(inputs, batch, world)


def other_images(images: Tensor, seed: int = 2) -> Tensor:
    """Images inside the ball of 4/255, fixed."""
    generator = torch.Generator().manual_seed(seed)
    noise = 4 / 255 * (2 * torch.rand(images.shape, generator=generator) - 1)
    return (images + noise.to(images.device)).clamp(0, 1)


def tolerance(scene: Scene) -> float:
    """Largest relative difference of a float32 loss from float64: on CUDA the fused attention
    sums three TF32 products for one of float32."""
    return 1e-5 if scene.batch.images.device.type == "cpu" else 1e-4


def options_of(method: str, options: dict[str, Any]) -> dict[str, Any]:
    return OPTIONS.get(method, {}) | options
