"""Section evaluate of the demo, and projects around conftest's packed set "tiny"."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from pipeline.clip.folders import BASE, FINETUNED, clip_folder
from pipeline.common.params import read_params
from pipeline.common.tables import read_json, write_json, write_table
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import fill
from pipeline.images.classes import CHECKED, CLASSES, EVALUATED, read_classes
from pipeline.zeroshot.text_sets import pair_files
from tests.support.project import DEMO


def evaluate_params(**changes: Any) -> dict[str, Any]:
    """Section evaluate of the demo with `changes`."""
    return read_params(DEMO)["evaluate"] | changes


def write_params(folder: Path, **changes: Any) -> None:
    """The demo's params.yaml turned towards the set "tiny"; keys are "section.key"."""
    yaml = YAML()
    values = yaml.load(DEMO.read_text())
    defaults = {"finetune.dataset": "tiny", "evaluate.datasets": ["tiny"]}
    defaults |= {"evaluate.checks.datasets": ["tiny"], "finetune.validation.dataset": "none"}
    for key, value in (defaults | changes).items():
        *path, name = key.split(".")
        section = values
        for part in path:
            section = section[part]
        section[name] = value
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)


def tiny_project(folder: Path, weights: Path) -> Path:
    """Both models and the texts of text set "template" for conftest's packed set "tiny"; the
    attacker sees other texts, those of "unseen"."""
    for copies in (EVALUATED, CHECKED):
        shutil.copytree(folder / CLASSES, folder / copies)
    for model in (BASE, FINETUNED):
        shutil.copytree(weights, folder / clip_folder(model))
    classes = read_classes("tiny")
    rng = np.random.default_rng(1)  # the untrained model then takes all for a class, not the first

    def encode(texts: list[str]) -> np.ndarray:
        vectors = rng.normal(size=(len(texts), 16)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    texts = [fill("template", classes, ["a {}"]), fill("unseen", classes, ["the {}"])]
    vectors = {table.texts[0]: encode(table.texts) for table in texts}
    for model in (BASE, FINETUNED):  # whose text towers are equal
        for path, table in zip(pair_files(model, "template", "tiny"), texts, strict=True):
            write_encoded(path, table, lambda texts: vectors[texts[0]])
    return folder


def keep_one_class() -> None:
    """Let every image of set "tiny" be of its first class, and that be the only one."""
    first = read_classes("tiny")[0]
    file = Path("data/classes/tiny.parquet")
    one = {"label": [0], "class_id": [first.class_id], "name": [first.name]}
    write_table(file, one, pq.read_schema(file))
    file = Path("data/images/tiny/items.parquet")
    items = pq.read_table(file)
    write_table(file, items.to_pydict() | {"label": [0] * len(items)}, items.schema)
    file = Path("data/images/tiny/summary.json")
    per_class = {"minimum": len(items), "maximum": len(items)}
    summary = read_json(file)
    summary["images_per_class"] |= per_class
    write_json(file, summary | {"classes": 1})
