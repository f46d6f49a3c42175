"""Projected gradient ascent under an l-infinity or l2 threat model, in raw pixel space.

Source: Madry et al. 2018, eq. 1, as used by SAFT (released attacks/pgd_attack.py); momentum as
in FARE (released train/pgd_train.py).
Shapes: images, perturbations and gradients are float32 (B, 3, S, S); images are in [0, 1],
before normalisation; epsilon and step size are in the same unit (4/255, not 4); an l2 radius
is the length of the whole perturbation of an image.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
Norm = Literal["linf", "l2"]
EPS = 1e-12


def l2_norms(values: Tensor) -> Tensor:
    """(B, 1, 1, 1) l2 length of each image's values."""
    return values.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def project(images: Tensor, perturbation: Tensor, epsilon: float, norm: Norm = "linf") -> Tensor:
    """A perturbation of norm <= epsilon with images + p in [0, 1].

    For l-infinity it is the nearest one. For l2 the ball comes first and the box second, as in
    AutoAttack: clipping to the box only shortens a perturbation of an image inside it.
    """
    if norm == "linf":
        clipped = perturbation.clamp(-epsilon, epsilon)
    else:
        clipped = perturbation * (epsilon / l2_norms(perturbation).clamp_min(EPS)).clamp_max(1)
    return (images + clipped).clamp(0, 1) - images


def steepest_direction(gradient: Tensor, norm: Norm = "linf") -> Tensor:
    """The steepest unit step of each image: the sign, or the gradient over its length; zero
    where the gradient is zero.

    Where the model is confident, gradients are so small that their squares underflow to zero in
    float32 (and the l2 norm is below EPS): they are divided by their largest value first, so that
    the step has unit length.
    """
    if norm == "linf":
        return gradient.sign()
    largest = gradient.abs().amax((1, 2, 3), keepdim=True)
    scaled = gradient / largest.where(largest > 0, 1)
    return scaled / l2_norms(scaled).clamp_min(EPS)


def ascend(
    images: Tensor,
    perturbation: Tensor,
    gradient: Tensor,
    step_size: float,
    epsilon: float,
    norm: Norm = "linf",
) -> Tensor:
    """One step of length `step_size` along the steepest direction, projected."""
    moved = perturbation + step_size * steepest_direction(gradient, norm)
    return project(images, moved, epsilon, norm)


def update_momentum(
    velocity: Tensor, gradient: Tensor, momentum: float, norm: Norm = "linf"
) -> Tensor:
    """The new velocity, momentum * velocity + steepest_direction(gradient); `ascend` along it: with
    momentum 0 that is plain PGD. The velocity itself is normalised, as FARE does: for linf its
    sign is then that of the last gradient, and momentum below 1 changes nothing."""
    return steepest_direction(momentum * velocity + steepest_direction(gradient, norm), norm)


def perturb(
    loss: Loss,
    images: Tensor,
    start: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    norm: Norm = "linf",
    momentum: float = 0.0,
) -> Tensor:
    """Perturbation after `steps` ascents of `loss` from `start` (the last iterate).

    Args:
        loss: images (B, 3, S, S) -> scalar, a *sum* over the batch: signs ignore the scale,
            and a mean would only bring the gradient nearer to underflow.
        start: the first perturbation; projected before use.
        momentum: 0 for PGD, 0.9 for FARE's attack.

    Gradients are taken for the perturbation alone: no weight gets a `.grad`.
    """
    perturbation = project(images, start, epsilon, norm)
    velocity = torch.zeros_like(images)
    for _ in range(steps):
        perturbation.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(images + perturbation), perturbation)
        velocity = update_momentum(velocity, gradient, momentum, norm)
        perturbation = ascend(images, perturbation.detach(), velocity, step_size, epsilon, norm)
    return perturbation


def uniform_start(
    images: Tensor,
    epsilon: float,
    generator: torch.Generator,
    norm: Norm = "linf",
    part: tuple[int, slice] | None = None,
) -> Tensor:
    """A random perturbation inside the ball, projected so that images + start is in [0, 1].

    l-infinity: U(-epsilon, epsilon) per pixel; l2: a direction drawn evenly and a length drawn
    from U(0, epsilon). part: how many images the batch has, and which of its rows `images` are,
    if not all: the noise of all is drawn, so that a row's does not depend on who draws it.
    """
    count, rows = part or (len(images), slice(None))
    noise = images.new_empty((count, *images.shape[1:]))
    if norm == "linf":
        noise.uniform_(-epsilon, epsilon, generator=generator)
    else:
        noise.normal_(generator=generator)
        radius = torch.rand(count, 1, 1, 1, generator=generator, device=images.device)
        noise = noise / l2_norms(noise) * (epsilon * radius)
    return project(images, noise[rows], epsilon, norm)
