"""Where the models lie; the other tables name their own path beside their schema.

Paths are relative to the current folder: a queued experiment runs in a checkout of its own.
"""

from pathlib import Path

BASE_MODEL = Path("data/base_model")
MODEL = Path("data/model")
MODELS = {"base": BASE_MODEL, "finetuned": MODEL}  # what is evaluated, under these names
FILTERED = Path("data/filtered/descriptions.parquet")
EVALUATION = Path("data/evaluation")
CHECKS = Path("data/checks")
