"""Folders of the models, relative to the current folder: a queued experiment runs in a checkout of
its own."""

from pathlib import Path

MODELS = Path("data/models")
BASE, FINETUNED = "base", "finetuned"  # what fine-tuning starts from, and what it makes
ABOUT = Path("data/about")  # what the report says of a model: a copy of `record_folder`


def clip_folder(model: str) -> Path:
    """The open_clip folder of a model by its name."""
    return MODELS / model / "clip"


def record_folder(model: str) -> Path:
    """about.json of a model; of the fine-tuned one also its recipe, training log and sentences."""
    return MODELS / model / "record"


BASE_MODEL = clip_folder(BASE)
MODEL = clip_folder(FINETUNED)
RECIPE = MODEL / "recipe.json"  # every value of the training
TRAINED_CLASSES = "classes"  # in the record: the class table of the training set
