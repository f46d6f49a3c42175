"""Whether finetune.captions names a file that is there, or one that a stage makes of the set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.descriptions.artifact import DESCRIPTIONS
from pipeline.descriptions.captions import FILE
from pipeline.embeddings.training_captions import NO_CAPTIONS
from pipeline.images.image_set import IMAGES

KEY = "finetune.captions"
DESCRIBED = DESCRIPTIONS.with_name(FILE)


def captions_problems(values: dict[str, Any], sound: set[str]) -> Iterator[str]:
    """A line for what is wrong with it.

    Args:
        values: all of params.yaml, of which section finetune can be read.
        sound: the sections that can.
    """
    file, dataset = Path(values["finetune"]["captions"]), values["finetune"]["dataset"]
    of_set = IMAGES / dataset / "items.parquet"
    if file == DESCRIBED:
        if "describe" in sound:
            yield from _described(values["describe"], dataset)
    elif file.is_relative_to(IMAGES):
        if file != of_set:
            yield f"{KEY}: {file} is not of finetune.dataset, whose own captions are in {of_set}"
    elif file != NO_CAPTIONS and not file.is_file():
        yield f"{KEY}: {file}: not found; name a file of captions, or {NO_CAPTIONS} for none"


def _described(describe: dict[str, Any], dataset: str) -> Iterator[str]:
    if not describe["per_image"]:
        yield f"{KEY}: {DESCRIBED} is there only with describe.per_image: true; set that"
    elif describe["dataset"] != dataset:
        about = f"'{describe['dataset']}' (describe.dataset), not '{dataset}'"
        yield f"{KEY}: {DESCRIBED} is about the images of {about}; name one set in both"
