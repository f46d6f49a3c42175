"""Folders of the models, relative to the current folder: a queued experiment runs in a checkout of
its own."""

from pathlib import Path

BASE_MODEL = Path("data/base_model")
MODEL = Path("data/model")
RECIPE = MODEL / "recipe.json"  # every value of the training
MODELS = {"base": BASE_MODEL, "finetuned": MODEL}  # what is evaluated, under these names
FINETUNED = "finetuned"  # the name of the model that this pipeline makes
ABOUT = Path("data/about")  # <name>/: what the report tells of a model
