"""PGD on the cross-entropy (Madry et al. 2018), as SAFT and its baselines evaluate.

Ascends CE(z(x + p), y), z the logits of the texts that the attacker sees. SAFT's release uses
100 steps of 1/255 at epsilon = 1/255, one uniform start, and judges the last iterate
(attacks/pgd_attack.py); here every iterate is judged, in float32 and with a summed loss.
The loop is `fixed_step.maximise`, one step of it `pipeline.zeroshot.pgd_step.ascend`.
"""

from pipeline.evaluation import fixed_step

TITLE = "PGD"
LAST_ITERATE = True
loss = fixed_step.cross_entropy
Params, max_iterates, run = fixed_step.FixedStepParams, fixed_step.max_iterates, fixed_step.run
