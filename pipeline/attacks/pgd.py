"""PGD on the cross-entropy (Madry et al. 2018), as SAFT and its baselines evaluate.

Ascends CE(z(x + p), y), z the logits of the texts that the attacker sees. SAFT's release uses
100 steps of 1/255 at epsilon = 1/255, one uniform start, and judges the last iterate
(attacks/pgd_attack.py); here every iterate is judged, in float32 and with a summed loss.
"""

from pipeline.evaluation import fixed_step as ascent

TITLE = "PGD"
LAST_ITERATE = True
loss = ascent.cross_entropy
Params, max_iterates, run = ascent.FixedStepParams, ascent.max_iterates, ascent.run
