"""Semantic-aware adversarial fine-tuning (Zhang et al., TMLR 2026, arXiv 2602.12461).

loss = CE(x_adv, K-caption ensemble) + 0.08 * L_AR + 0.05 * L_AMC, see `_attention_maps`, with
the K descriptions of each class as text; the attack ascends the same cross-entropy.

The abstract words the attack as lowering the mean similarity to the descriptions; the released
code (db30aec), followed here, ascends the mean cross-entropy over them.
"""

from pipeline.methods import PGD2, Published, Setup
from pipeline.methods._attention_maps import AttentionGuided, AttentionParams

TITLE = "SAFT"
PUBLISHED = Published(
    optimiser="sgd",
    learning_rate=1e-4,
    momentum=0.9,
    weight_decay=0.0,
    epochs=10,
    batch_size=128,
    warmup_steps=1000,
    attack=PGD2,
)


class Params(AttentionParams):
    """`finetune.options.saft`; published: 0.08, 0.05 and token."""


def build(params: Params, setup: Setup) -> AttentionGuided:
    """The objective on the (C, K, D) description ensemble."""
    return AttentionGuided(params, setup.texts, setup)
