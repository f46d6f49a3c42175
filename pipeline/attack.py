"""Projected sign-gradient ascent under the l-infinity threat model, in raw pixel space.

Source: Madry et al. 2018, eq. 1, as used by SAFT (released attacks/pgd_attack.py).
Shapes: images, perturbations and gradients are float32 (B, 3, S, S); images are in [0, 1],
before normalisation; epsilon and step size are in the same unit (4/255, not 4).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


def project(images: Tensor, perturbation: Tensor, epsilon: float) -> Tensor:
    """Nearest perturbation with |p| <= epsilon and images + p in [0, 1]."""
    clipped = perturbation.clamp(-epsilon, epsilon)
    return (images + clipped).clamp(0, 1) - images


def ascend(
    images: Tensor, perturbation: Tensor, gradient: Tensor, step_size: float, epsilon: float
) -> Tensor:
    """One step: perturbation + step_size * sign(gradient), projected."""
    return project(images, perturbation + step_size * gradient.sign(), epsilon)


def perturb(
    loss: Loss, images: Tensor, start: Tensor, *, epsilon: float, step_size: float, steps: int
) -> Tensor:
    """Perturbation after `steps` ascents of `loss` from `start` (the last iterate).

    Args:
        loss: images (B, 3, S, S) -> scalar, a *sum* over the batch: signs ignore the scale,
            and a mean would only bring the gradient nearer to underflow.
        start: the first perturbation; projected before use.

    Gradients are taken for the perturbation alone: no weight gets a `.grad`.
    """
    perturbation = project(images, start, epsilon)
    for _ in range(steps):
        perturbation.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(images + perturbation), perturbation)
        perturbation = ascend(images, perturbation.detach(), gradient, step_size, epsilon)
    return perturbation


def uniform_start(images: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """U(-epsilon, epsilon) per pixel, projected so that images + start is in [0, 1]."""
    noise = torch.empty_like(images).uniform_(-epsilon, epsilon, generator=generator)
    return project(images, noise, epsilon)
