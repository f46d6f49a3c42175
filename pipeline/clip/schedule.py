"""Learning-rate schedule of the CLIP fine-tuning literature."""

import math


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Factor on the base rate at 0-based `step`: linear warm-up, then cosine to 0.

    The warm-up reaches 1 at step `warmup - 1`, as in TeCoA and SAFT's training code
    (`lr * (step + 1) / warmup`); the cosine runs over the remaining `total - warmup` steps.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
