"""Text features without a model."""

import numpy as np


def fake_encode(texts: list[str]) -> np.ndarray:
    vectors = np.array([[len(t), t.count("a"), 1] for t in texts], dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
