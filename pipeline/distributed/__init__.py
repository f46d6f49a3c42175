"""Several processes: for a training (ranks) and for an evaluation (devices, parts)."""
