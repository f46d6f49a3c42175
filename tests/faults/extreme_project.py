"""A tiny project whose params.yaml has every key there is: of each kind of image set, of model
source, of attack, of method and of description backend one entry."""

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from pipeline.clip.folders import BASE, BASE_MODEL, FINETUNED, MODEL
from pipeline.common.params import read_params
from pipeline.datasets import imagefolder
from pipeline.embeddings.encoded import write_encoded
from pipeline.embeddings.templates import fill
from pipeline.images.classes import CHECKED, CLASSES, EVALUATED, read_classes
from pipeline.prepare.pack import pack
from pipeline.zeroshot.text_sets import pair_files
from stages import describe
from stages import filter as filter_stage
from tests.support import report_inputs
from tests.support.project import DEMO, ROOT
from tests.support.trainable import encode, write_inputs

SIZE = 16
FOLDER = {"source": "imagefolder", "root": "photographs", "names": None, "classes": None,
          "images_per_class": None, "skip": 0, "size": SIZE, "resize": "stretch",
          "stream": False}  # fmt: skip
PUBLISHED = {"size": SIZE, "split": None, "root": None, "resize": None, "classes": None,
             "images_per_class": None, "skip": 0, "partial": False, "stream": False}  # fmt: skip
SETS: dict[str, dict[str, Any]] = {
    "tiny": FOLDER,
    "shapes": {"source": "shapes", "split": "held-out", "letters": False, "images_per_class": 1,
               "seed": 3},
    "pairs": {"source": "pairs", "images": 250, "glyph_share": 0.3, "seed": 0},
    "digits": {"source": "digits", "skip": 0, "images": 10},
    "shards": {"source": "webdataset", "root": "shards", "split": "test", "size": SIZE,
               "resize": "stretch", "classes": None, "images_per_class": None, "skip": 0,
               "stream": False},
    "cifar": PUBLISHED | {"source": "cifar10"},
    "imagenet": PUBLISHED | {"source": "imagenet", "names": "wordnet"},
}  # fmt: skip
HUB = {"model": "hf-hub:nobody/nothing", "tag": None, "cache_dir": None}
ABOUT = {"defended": False, "licence": None, "citation": None}
MODELS: dict[str, dict[str, Any]] = {
    "base": {"source": "pretrain", "options": {"training": "small"}} | ABOUT,
    "published": {"source": "pretrained", "options": {**HUB, "origin": None}} | ABOUT,
    "local": {"source": "local", "options": {"path": "models/local", "origin": None}} | ABOUT,
    "checkpoint": {
        "source": "checkpoint",
        "options": {**HUB, "file": "models/a.pt", "key": None, "resize_positions": False},
    }
    | ABOUT,
}
SMALL = {"dataset": "tiny", "patch_size": 4, "width": 32, "layers": 1, "text_width": 32,
         "text_layers": 1, "context_length": 16, "embed_dim": 16, "steps": 2, "batch_size": 4,
         "warmup_steps": 1, "captions": "captions.json"}  # fmt: skip
SENTENCES = {f"n{label:02d}": [f"a red ball {label}", f"a big ball {label}"] for label in range(3)}


def parameters() -> dict[str, Any]:
    """Everything that params.yaml can hold, for the set "tiny" and stages of a second."""
    return json.loads(_parameters())


@cache
def _parameters() -> str:
    values = read_params(DEMO)
    values["prepare"]["sets"] = SETS
    values["pretrain"]["small"] |= SMALL
    values["models"] = MODELS
    values["exemplars"] = {"near": {"images_per_class": 1, "candidates_per_class": 2}}
    text = {"classes_per_class": 1, "template": "a {}"}
    values["confusions"] = {
        "text": {"names": text},
        "images": {"photos": text | {"images_per_class": 2}},
    }
    values["describe"] |= {"dataset": "tiny", "backend": "published"}
    published = {"file": "d.json", "aliases": "aliases.json", "descriptor_template": None}
    values["describe"]["options"]["published"] = published
    server = {"base_url": "http://127.0.0.1:9/v1", "connection_retries": 0, "retries": 0}
    values["describe"]["options"]["openai"] |= server
    values["filter"]["top_k"] = 2
    values["finetune"] |= {"dataset": "tiny", "epochs": 1, "batch_size": 8, "warmup_steps": 0}
    values["finetune"]["validation"]["dataset"] = "none"
    checks = {"datasets": ["tiny"], "images": 2, "epsilons_255": [2, 8], "steps": 4}
    values["evaluate"] |= {"datasets": ["tiny"], "images": 4, "last_images": 2, "examples": 1,
                           "texts": ["template"], "attacks": ["pgd"]}  # fmt: skip
    values["evaluate"]["checks"] |= checks
    for options in values["evaluate"]["options"].values():
        options.update({"steps": 2} if "steps" in options else {})
    values["evaluate"]["options"]["apgd_t"]["targets"] = 2
    return json.dumps(values)


def make(folder: Path, weights: Path) -> Path:
    """The project in `folder`, which must be current: all that every stage reads but params.yaml,
    of which there is a placeholder; and below report/ what the report stage reads."""
    for name in ("prompts", "exemplars", "confusions", "labels"):
        shutil.copytree(ROOT / "data" / name, folder / "data" / name)
    _write_photographs(folder / "data/raw/photographs")
    (folder / "captions.json").write_text("{}")
    source = imagefolder.open_source(imagefolder.Params.model_validate(FOLDER))
    pack(source, "tiny", folder / "data/images/tiny", folder / CLASSES / "tiny.parquet")
    for copies in (EVALUATED, CHECKED):
        shutil.copytree(folder / CLASSES, folder / copies)
    write_inputs(weights)
    shutil.copytree(BASE_MODEL, MODEL)
    for model in (BASE, FINETUNED):
        for path in pair_files(model, "template", "tiny"):
            write_encoded(path, fill("template", read_classes("tiny"), ["a {}"]), encode)
    inputs = folder / "data/inputs/published"
    inputs.mkdir(parents=True)
    (inputs / "d.json").write_text(json.dumps(SENTENCES))
    (inputs / "aliases.json").write_text("{}")
    return folder


def make_report(folder: Path) -> Path:
    """What the report stage reads, with params.yaml of its own."""
    report_inputs.make_tree(folder)
    return folder


def of_report(values: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the report's project, with section report of `values`."""
    return YAML(typ="safe").load(report_inputs.PARAMS) | {"report": values["report"]}


def describe_and_filter() -> None:
    """What follows from the parameters as they are: descriptions and the kept of them."""
    describe.main()
    filter_stage.main()


def _write_photographs(root: Path) -> None:
    rng = np.random.default_rng(0)
    for label in range(3):
        (root / f"n{label:02d}").mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"n{label:02d}/{number}.png")


def linked_copy(folder: Path, copy: Path) -> Path:
    """The project again, of the same files, which the stages replace and never change."""
    return shutil.copytree(folder, copy, copy_function=os.link)
