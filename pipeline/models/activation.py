"""Which activation a model's weights were trained with, GELU or QuickGELU, told by its features.

Two functions of one set of weights: under the activation that the weights were trained with, a
fine-tuned tower stays nearer to the one it started from, and a frozen one equals it. Where the
two distances are alike, as after much training, nothing can be said, and nothing is; nor without
a CLIP to compare with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

GRAINS, SEED = (2, 3, 4, 6, 8, 12, 6, 4), 0
TEXTS = ["a photo of a dog.", "a red car on the street", "two people", "an old wooden house",
         "food on a white plate", "the sea at night", "a drawing of a tree", "text"]  # fmt: skip
NEARER = 0.5  # the other activation's distance, as a share of the configured one's, at most
LEAST = 1e-5  # a mean distance below it is rounding
NAMES = {True: "QuickGELU", False: "GELU"}


class Probe(NamedTuple):
    """Fixed inputs, images normalised (N, 3, S, S) and tokens (N, L), and a CLIP's unit features
    of them, (2, N, D): images, texts."""

    images: Tensor
    tokens: Tensor
    features: Tensor


def probe(model: Any) -> Probe:
    """Features of an open_clip CLIP as it is, before other weights are put into it."""
    images = _images(model.visual.image_size[0])
    tokens = open_clip.SimpleTokenizer(context_length=model.context_length)(TEXTS)
    return Probe(images, tokens, _features(model, images, tokens))


def compare(model: Any, before: Probe, what: str) -> list[str]:
    """A remark on each tower that is much nearer to that of the CLIP it comes from under the other
    activation than under the configured one, on every probe input.

    Args:
        before: that CLIP's features, under its own activation; what: its name.
    """
    quick = is_quick(model)
    if quick is None:
        return []
    if not _comparable(model, before):
        return [f"its activation was not looked at: {what} has other sizes"]
    distances = {quick: _distances(model, before)}
    with activation(model, not quick):
        distances[not quick] = _distances(model, before)
    towers = zip(("image", "text"), distances[quick], distances[not quick], strict=True)
    return [
        f"its {tower} tower looks trained with {NAMES[not quick]}, the config has {NAMES[quick]}: "
        f"on {len(other)} fixed inputs its features are at a mean cosine distance of "
        f"{other.mean():.2g} from those of {what} under {NAMES[not quick]}, of "
        f"{configured.mean():.2g} under {NAMES[quick]}"
        for tower, configured, other in towers
        if _much_nearer(other, configured)
    ]


def _much_nearer(one: Tensor, other: Tensor) -> bool:
    return bool((one < other).all() and one.mean() < NEARER * other.mean() > NEARER * LEAST)


def _comparable(model: Any, before: Probe) -> bool:
    size, length = model.visual.image_size[0], model.context_length
    width = model.visual.output_dim
    return (before.images.shape[-1], before.tokens.shape[-1], before.features.shape[-1]) == (
        size, length, width,
    )  # fmt: skip


def is_quick(model: nn.Module) -> bool | None:
    """Whether the activation is QuickGELU; None where there is another one, or several."""
    kinds = {type(child) for *_, child in _activations(model)}
    return {frozenset({QuickGELU}): True, frozenset({nn.GELU}): False}.get(frozenset(kinds))


@contextmanager
def activation(model: nn.Module, quick: bool) -> Iterator[None]:
    """The model with QuickGELU (or GELU) in all its blocks, inside a with statement."""
    before = list(_activations(model))
    for parent, name, _ in before:
        setattr(parent, name, QuickGELU() if quick else nn.GELU())
    try:
        yield
    finally:
        for parent, name, child in before:
            setattr(parent, name, child)


def _activations(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GELU | QuickGELU):
                yield parent, name, child


def _images(size: int) -> Tensor:
    """(N, 3, S, S) noise of several grains, of about zero mean and unit variance as normalised
    photographs: from 2 x 2 areas of one colour to 12 x 12."""
    generator = torch.Generator().manual_seed(SEED)
    noise = [torch.randn(1, 3, grain, grain, generator=generator) for grain in GRAINS]
    return torch.cat([F.interpolate(n, size=(size, size), mode="bilinear") for n in noise])


@torch.no_grad()
def _features(model: Any, images: Tensor, tokens: Tensor) -> Tensor:
    model.eval()
    towers = model.encode_image(images), model.encode_text(tokens)
    return F.normalize(torch.stack(towers).float(), dim=-1)


def _distances(model: Any, before: Probe) -> Tensor:
    """(2, N) cosine distances of images and texts."""
    features = _features(model, before.images, before.tokens)
    return (1 - (features * before.features).sum(-1)).clamp_min(0)
