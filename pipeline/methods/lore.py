"""Lagrangian-optimised robust embeddings, LORE (Khodabandeh et al., arXiv 2505.18884).

FARE under a bound on what happens to each clean image, |F(x) - F0(x)|^2 <= rho * |F0(x)|^2, by a
Lagrange multiplier that a small network gives each image:
    loss = mean over images of |F(x_adv) - F0(x)|^2 + m(x) * (|F(x) - F0(x)|^2 - rho * |F0(x)|^2)
    m(x) = softplus(MLP(F0(x))), two layers, 512 hidden units
F: projected class token before normalisation, F0: that of the base model. After every K steps of
the encoder the network takes one step up the second term; the attack ascends the first.

Followed: the paper, appendix C: AdamW, rate 1e-5, weight decay 1e-4, 2 epochs, batches of 448, 10
steps of epsilon/4, K = 5, rho 0.1 for ViT-B/32 at 1/255 on ImageNet, rate 5e-4 of the network. No
code was found. Three things are ours: the K steps are of K batches, each with its own perturbation
(the paper words them as repeated on one batch); the network's optimiser is Adam at a constant rate,
and its activation ReLU (the paper names neither); FARE's warm-up of 1400 steps and its momentum
in the attack, which has no effect under l-infinity, are kept.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.clip.model import ImageEncoder
from pipeline.common.bounds import Count, Rate, Weight
from pipeline.training.embedding_distance import (
    FARE_PROTOCOL,
    EmbeddingAttack,
    base_embeddings,
    squared_distances,
)
from pipeline.training.objective import Batch, MethodInputs, MethodParams, ObjectiveState
from pipeline.training.published import TrainingAttack

TITLE = "LORE"
HIDDEN = 512
PUBLISHED = replace(
    FARE_PROTOCOL,
    batch_size=448,
    attack=TrainingAttack(
        norm="linf", epsilon_255=1, step_255=0.25, steps=10, momentum=0.9, random_start=True
    ),
)


class Params(MethodParams):
    """`finetune.options.lore`; published: 0.1, 5 and 5e-4."""

    rho: Weight
    steps_per_multiplier_step: Count
    multiplier_learning_rate: Rate


def build(params: Params, inputs: MethodInputs) -> "Lore":
    """The objective on the base model's embeddings of the clean images."""
    return Lore(params, inputs)


class Lore(EmbeddingAttack):
    """The objective. base: (B, D) embeddings, not normalised."""

    def __init__(self, params: Params, inputs: MethodInputs) -> None:
        super().__init__(base_embeddings(inputs))
        self.params = params
        width, device = inputs.template.shape[1], inputs.template.device
        self.network = multiplier_network(width, inputs.seed).to(device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=params.multiplier_learning_rate
        )
        self._excess = torch.zeros(0)  # over the bound, per image of the last batch

    def losses(self, encoder: ImageEncoder, images: Tensor, batch: Batch) -> dict[str, Tensor]:
        """One forward of the adversarial and clean halves. `drift`: the mean of the clean images'
        |F(x) - F0(x)|^2 / |F0(x)|^2, which rho bounds."""
        embeddings = encoder(torch.cat([images, batch.images])).embedding.float()
        adversarial, clean = embeddings.chunk(2)
        base = self.base.of(batch)
        size = base.square().sum(1)
        moved = squared_distances(clean, base)
        excess = moved - self.params.rho * size
        self._excess = excess.detach()
        multiplier = self._multipliers(batch).detach()
        distance = squared_distances(adversarial, base).mean()
        return {
            "loss": distance + (multiplier * excess).mean(),
            "distance": distance,
            "drift": (moved / size).mean(),
            "multiplier": multiplier.mean(),
        }

    def after_step(self, batch: Batch, step: int) -> None:
        """Every K-th step: one step of the network, up the bound's term."""
        if (step + 1) % self.params.steps_per_multiplier_step:
            return
        self.optimiser.zero_grad(set_to_none=True)
        (-(self._multipliers(batch) * self._excess).mean()).backward()
        self.optimiser.step()

    def state(self) -> ObjectiveState:
        """The network and its optimiser."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: ObjectiveState) -> None:
        """Take up both."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _multipliers(self, batch: Batch) -> Tensor:
        """(B,) above 0."""
        return F.softplus(self.network(self.base.of(batch))[:, 0])


def multiplier_network(width: int, seed: int) -> nn.Sequential:
    """(B, width) -> (B, 1); torch's default initialisation, from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
