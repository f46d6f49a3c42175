"""Semantic-aware adversarial fine-tuning (Zhang et al., TMLR 2026, arXiv 2602.12461).

loss = CE(x_adv, K-caption ensemble) + 0.08 * L_AR + 0.05 * L_AMC, see
`training.attention_guided`, with the K descriptions of each class as text; the attack ascends the
same cross-entropy.

The abstract words the attack as lowering the mean similarity to the descriptions; the released
code (db30aec), followed here, ascends the mean cross-entropy over them.
"""

from pipeline.training.attention_guided import AttentionGuided, AttentionParams
from pipeline.training.objective import MethodInputs
from pipeline.training.published import TECOA_PROTOCOL

TITLE = "SAFT"
PUBLISHED = TECOA_PROTOCOL


class Params(AttentionParams):
    """`finetune.options.saft`; published: 0.08, 0.05 and token."""


def build(params: Params, inputs: MethodInputs) -> AttentionGuided:
    """The objective on the (C, K, D) description ensemble."""
    return AttentionGuided(params, inputs.texts, inputs)
