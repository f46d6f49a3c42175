"""A folder with all that the finetune stage reads, and runs of the stage in it."""

from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from pipeline.clip import model as clip
from pipeline.clip.folders import BASE_MODEL
from pipeline.embeddings.captions import Captions, write_captions
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import fill
from pipeline.embeddings.training_captions import FILE
from pipeline.images.classes import read_classes
from pipeline.images.image_set import open_images
from pipeline.zeroshot.text_sets import TRAINING, training_file, training_files
from pipeline.zeroshot.text_tables import kept_descriptions
from stages import finetune
from tests.support.project import DEMO
from tests.support.training_runs import WIDTH, K


def encode(texts: list[str]) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(len(texts), WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_inputs(clip_folder: Path) -> None:
    """Base model and embeddings in the current folder, which has the set "tiny" (conftest)."""
    loaded = clip.load(clip_folder)
    clip.save(loaded.model, loaded.config, BASE_MODEL)
    classes = read_classes("tiny")
    rows = [
        {
            "class_id": class_entry.class_id,
            "rank": k,
            "sentence": f"{class_entry.name} {k}",
            "kept": True,
        }
        for class_entry in classes
        for k in range(K)
    ]
    descriptions, template = training_files()
    write_encoded(descriptions, kept_descriptions(rows), encode)
    write_encoded(template, fill("template", classes, ["a {}"]), encode)
    negated = fill("negated", classes, ["not a {}"])
    write_encoded(training_file("negated"), negated, encode)
    ids = [classes[label].class_id for label in open_images("tiny").labels]
    texts = [f"image {number}" for number in range(len(ids))]
    write_captions(
        TRAINING / FILE, Captions(list(range(len(ids))), ids, [""] * len(ids), texts), encode
    )


def write_params(**changes: Any) -> None:
    """The demo's params.yaml with two short epochs on set "tiny", whose images have captions, and
    changes."""
    yaml = YAML()
    values = yaml.load(DEMO.read_text())
    values["finetune"].update(dataset="tiny", epochs=2, batch_size=8, warmup_steps=0)
    values["finetune"]["validation"]["dataset"] = "none"
    values["finetune"].update({"captions": "captions.parquet"} | changes)
    with Path("params.yaml").open("w") as stream:
        yaml.dump(values, stream)


def train(**changes: Any) -> None:
    """Run the stage under `write_params`."""
    write_params(**changes)
    finetune.main()
