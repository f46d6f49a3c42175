"""An image encoder whose work is shared among ranks, for objectives that know of none.

Every rank encodes its block of the batch and gets the features of the whole batch, so that it
computes the loss of the whole batch: contrastive negatives, means and sums over the batch are
those of one process. Going back, a rank keeps the gradient of its own rows; the sum over ranks
(`collectives.sum_gradients`) is the gradient of the whole.

A trained weight must not be used after the gathering: every rank would add its gradient for all
rows. That is why `project` works on the own rows and gathers its result.

Legend for shapes: B images in the batch, b of them this rank's (1 where it has none), k
batches in one call (adversarial and clean images, say).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.clip.model import Features, ImageEncoder
from pipeline.distributed.collectives import report_unreachable
from pipeline.distributed.ranks import Ranks, block, blocks, rows_to_compute


def gathering_encoder(encoder: ImageEncoder, count: int, ranks: Ranks) -> ImageEncoder:
    """`encoder` for a batch of `count` images over all ranks: takes (k * b, 3, S, S) pixels of
    this rank's rows, gives the `Features` of all k * B. The encoder itself for one process."""
    if ranks.size == 1:
        return encoder
    return cast(ImageEncoder, GatheredEncoder(encoder, count, ranks))


class GatheredFeatures:
    """`Features` of all rows. Tokens are gathered only when asked for: `project` needs none."""

    def __init__(self, local: Features, gather: Callable[[Tensor], Tensor]) -> None:
        self.local, self.gather = local, gather
        self.embedding = gather(local.embedding)

    @cached_property
    def tokens(self) -> Tensor:
        """(k * B, T, W), as in `Features`."""
        return self.gather(self.local.tokens)

    @property
    def pooled(self) -> Tensor:
        """(k * B, D), as in `Features`."""
        return Features(self.embedding, self.local.tokens).pooled


class GatheredEncoder:
    """What an objective asks of an `ImageEncoder`: features, and their projection."""

    def __init__(self, encoder: ImageEncoder, count: int, ranks: Ranks) -> None:
        self.encoder, self.count, self.ranks = encoder, count, ranks

    def __call__(self, images: Tensor) -> GatheredFeatures:
        """Features of the whole batch, from the pixels of this rank's rows."""
        return GatheredFeatures(self.encoder(images), self._gather)

    def project(self, features: GatheredFeatures) -> Tensor:
        """(k * B, 1 + T, D), as `ImageEncoder.project`."""
        return self._gather(self.encoder.project(features.local))

    def _gather(self, local: Tensor) -> Tensor:
        return gather_rows(local, self.count, self.ranks)


def gather_rows(local: Tensor, count: int, ranks: Ranks) -> Tensor:
    """(k * B, ...) of all ranks, from the (k * b, ...) that each has computed."""
    if ranks.size == 1:
        return local
    rows, kept = rows_to_compute(count, ranks), block(count, ranks)
    batches = local.unflatten(0, (-1, rows.stop - rows.start))
    return _Gather.apply(batches[:, : kept.stop - kept.start], count, ranks).flatten(0, 1)


class _Gather(torch.autograd.Function):
    """(k, b, ...) of each rank -> (k, B, ...) on all; the gradient is the own rows' part."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, count: int, ranks: Ranks) -> Tensor:
        ctx.rows = block(count, ranks)
        lengths = [rows.stop - rows.start for rows in blocks(count, ranks)]
        # blocks differ by one row, and collectives need equal shapes. Example, k = 2, B = 5, two
        # ranks: (2, 2, D) and (2, 3, D) are padded to (2, 3, D) and gathered to (2, 5, D)
        padded = local.new_zeros((len(local), max(lengths), *local.shape[2:]))
        padded[:, : local.shape[1]] = local
        parts = [torch.empty_like(padded) for _ in lengths]
        with report_unreachable(ranks):
            dist.all_gather(parts, padded)
        return torch.cat([p[:, :n] for p, n in zip(parts, lengths, strict=True)], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][:, ctx.rows], None, None
