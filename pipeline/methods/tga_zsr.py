"""Text-guided attention for zero-shot robustness, TGA-ZSR (Yu et al., NeurIPS 2024).

loss = CE(z(x_adv), y) + 0.08 * L_AR + 0.05 * L_AMC: `training.attention_guided` with one
text per class, the template. The attack ascends the cross-entropy.

Paper and release (663fe57) use 0.08 and 0.05; the release's AutoAttack numbers belong to a
model with 0.009 for the second. The release normalises patch features over the token axis
(`attention_norm: token`), which the published weights go with; its min-max has no guard
against a constant map, this one gives zeros. Its float16 autocast is left out.
"""

from pipeline.training.attention_guided import AttentionGuided, AttentionParams
from pipeline.training.objective import MethodInputs
from pipeline.training.published import TECOA_PROTOCOL

TITLE = "TGA-ZSR"
PUBLISHED = TECOA_PROTOCOL


class Params(AttentionParams):
    """`finetune.options.tga_zsr`; published: 0.08, 0.05 and token."""


def build(params: Params, inputs: MethodInputs) -> AttentionGuided:
    """The objective on the template alone, an ensemble of one."""
    return AttentionGuided(params, inputs.template[:, None], inputs)
