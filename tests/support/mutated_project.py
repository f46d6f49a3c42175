"""A small project made by the stages themselves, in this process, and one stage run again on it
after one of its inputs was damaged."""

import hashlib
import json
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.clip.folders import BASE, BASE_MODEL
from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_json, write_table
from pipeline.datasets import imagefolder
from pipeline.descriptions import artifact, captions, confusions, exemplars
from pipeline.images.image_set import open_images
from pipeline.prepare.pack import pack
from stages import (
    check,
    checked_classes,
    classes,
    describe,
    embed,
    embed_training,
    evaluate,
    finetune,
    record,
    report,
    texts,
)
from stages import filter as filter_stage
from tests.support.mutation_outcomes import ELSEWHERE, ERROR, NO_EFFECT
from tests.support.project import ROOT
from tests.support.report_inputs import write_about
from tests.support.tiny_project import write_params

SIZE, IMAGES = 16, 5
SETS = {"tiny": ("n00", "n01", "n02"), "other": ("m00", "m01", "m02", "m03")}
SENTENCES = {
    class_id: [f"A photo of a {colour} {noun} on a rug.", f"It is a {colour} {noun} with a lid."]
    for class_id, colour, noun in (
        ("n00", "red", "ball"), ("n01", "blue", "cup"), ("n02", "green", "box"),
        ("m00", "black", "hat"), ("m01", "white", "shoe"), ("m02", "brown", "bag"),
        ("m03", "grey", "coat"),
    )
}  # fmt: skip
PARAMS: dict[str, Any] = {
    "describe.dataset": "tiny",
    "describe.backend": "published",
    "describe.options": {
        "published": {"file": "d.json", "aliases": "aliases.json", "descriptor_template": None}
    },
    "filter.top_k": 2,
    "finetune.epochs": 1,
    "finetune.batch_size": 8,
    "finetune.warmup_steps": 0,
    "evaluate.datasets": ["tiny", "other"],
    "evaluate.attacks": ["pgd"],
    "evaluate.attacker": "unseen",
    "evaluate.examples": 2,
    "evaluate.checks.images": 3,
    "evaluate.checks.steps": 4,
    "evaluate.checks.epsilons_255": [2, 8],
    "report.examples": 1,
}
Outputs = Mapping[str, str]  # file -> sha256


def bare(main: Callable[..., None]) -> Callable[..., None]:
    """A stage's function without what turns its errors into lines."""
    while hasattr(main, "__wrapped__"):
        main = main.__wrapped__
    return main


def build(weights: Path, folder: Path) -> None:
    """Write the project into the empty `folder`, the current one, with what all stages write.

    Args:
        weights: an open_clip folder for inputs of SIZE pixels.
    """
    write_inputs(weights, folder)
    for stage in STAGES:
        run(stage)
    write_shown()
    for cache in ("texts", "clean"):  # of one stage each, which fills it again
        shutil.rmtree(Path(".scratch") / cache)
    for stage in ("embed base", "evaluate tiny base"):
        run(stage)


def build_texts(weights: Path, folder: Path) -> None:
    """The same with what the stages write that make texts alone."""
    write_inputs(weights, folder)
    for stage in TEXT_STAGES:
        run(stage)
    write_shown()


def write_inputs(weights: Path, folder: Path) -> None:
    """params.yaml, the image sets, the base model and the sentences."""
    write_params(folder, **PARAMS, **{"evaluate.options.pgd.steps": 2})
    for name, class_ids in SETS.items():
        _pack(name, class_ids, folder / "data/raw" / name)
    shutil.copytree(weights, BASE_MODEL)
    write_about(folder, BASE)
    for name in ("prompts", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, folder / "data" / name)
    inputs = folder / "data/inputs/published"
    inputs.mkdir(parents=True)
    described = {class_id: SENTENCES[class_id] for class_id in SETS["tiny"]}
    (inputs / "d.json").write_text(json.dumps(described))
    (inputs / "aliases.json").write_text("{}")
    labels = folder / "data/labels/sentences.tsv"
    labels.parent.mkdir()
    labels.write_text(f"class_id\tsentence\tlabel\nn00\t{SENTENCES['n00'][0]}\tvisual\n")
    origin = Path("data/inputs/models/pretrain/made/origin.json")
    write_json(origin, {"origin": "trained from scratch"})
    _pack("streamed", SETS["tiny"], Path("data/raw/streamed").absolute(), stream=True)


def _pack(name: str, class_ids: tuple[str, ...], root: Path, stream: bool = False) -> None:
    rng = np.random.default_rng(len(name))
    for label, class_id in enumerate(class_ids):
        (root / class_id).mkdir(parents=True)
        for number in range(IMAGES + label):
            pixels = rng.integers(0, 256, size=(SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / class_id / f"{number}.png")
    values = {"source": "imagefolder", "root": str(root), "names": None, "classes": None}
    values |= {
        "images_per_class": None,
        "skip": 0,
        "size": SIZE,
        "resize": "stretch",
        "stream": stream,
    }
    source = imagefolder.open_source(imagefolder.Params.model_validate(values))
    pack(source, name, Path("data/images") / name, Path("data/classes") / f"{name}.parquet")


def write_shown() -> None:
    """What a model is shown and told of classes, and an artifact whose sentences are captions."""
    images = open_images("tiny")
    numbers = [np.flatnonzero(images.labels == label)[:2] for label in range(3)]
    shown = [[(int(number), 0.5) for number in of_class] for of_class in numbers]
    columns = exemplars.to_columns(images.classes, shown, images.pixels)
    file = exemplars.FOLDER / "made.parquet"
    write_table(file, columns, exemplars.SCHEMA, exemplars.exemplar_faults)
    others = [[((label + k) % 3, 0.5) for k in (1, 2)] for label in range(3)]
    columns = confusions.to_columns(images.classes, others)
    file = confusions.FOLDER / "made.parquet"
    write_table(file, columns, confusions.SCHEMA, confusions.confusion_faults)
    shutil.copytree("data/descriptions", "artifact")
    rows = read_table(Path("artifact/descriptions.parquet"), artifact.SCHEMA).to_pylist()
    captions.write_captions(Path("artifact"), [r | {"image": i} for i, r in enumerate(rows)])


def _about_finetuned() -> None:
    """Stage `about` copies the record as it is."""
    shutil.copytree("data/models/finetuned/record", "data/about/finetuned", dirs_exist_ok=True)


# stage -> (what runs it, its outputs)
STAGES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "classes": (lambda: bare(classes.main)("tiny"), ("data/evaluated_classes/tiny.parquet",)),
    "classes other": (
        lambda: bare(classes.main)("other"), ("data/evaluated_classes/other.parquet",)
    ),
    "checked_classes": (lambda: bare(checked_classes.main)("tiny"), ("data/checked_classes",)),
    "describe": (lambda: bare(describe.main)(), ("data/descriptions",)),
    "filter": (lambda: bare(filter_stage.main)(), ("data/filtered", "data/texts/descriptions")),
    "texts": (lambda: bare(texts.main)("template"), ("data/texts/template",)),
    "texts unseen": (lambda: bare(texts.main)("unseen"), ("data/texts/unseen",)),
    "embed_training": (lambda: bare(embed_training.main)(), ("data/training_embeddings",)),
    "finetune": (lambda: bare(finetune.main)(), ("data/models/finetuned/clip",)),
    "record": (lambda: bare(record.main)(), ("data/models/finetuned/record",)),
    "about": (_about_finetuned, ("data/about/finetuned",)),
    **{
        f"embed {model}": (
            lambda model=model: bare(embed.main)(model, "template"), (f"data/embeddings/{model}",)
        )
        for model in ("base", "finetuned")
    },
    **{
        f"evaluate {dataset} {model}": (
            lambda dataset=dataset, model=model: bare(evaluate.main)(
                dataset, "pgd", "template", "4", model, None, None
            ),
            (f"data/evaluation/{dataset}/template/pgd/4/{model}",),
        )
        for dataset in SETS
        for model in ("base", "finetuned")
    },
    **{
        f"check {model}": (
            lambda model=model: bare(check.main)("tiny", model), (f"data/checks/tiny/{model}.json",)
        )
        for model in ("base", "finetuned")
    },
    "report": (
        lambda: bare(report.main)(),
        ("reports/report.html", "reports/metrics.json", "reports/headline.json", "reports/plots"),
    ),
}  # fmt: skip


TEXT_STAGES = ("classes", "classes other", "describe", "filter", "texts", "texts unseen")
TEXT_STAGES += ("embed_training",)


def run(stage: str) -> Outputs:
    """Run a stage; the hashes of what it wrote."""
    main, outputs = STAGES[stage]
    main()
    return {str(file): _hash(file) for output in outputs for file in _files(Path(output))}


def read(function: Callable[[], Any]) -> Outputs:
    """A function that a stage calls to read, in its place; the hash of what it returns."""
    return {"read": hashlib.sha256(repr(function()).encode()).hexdigest()}


def outcome(
    file: Path, damage: Callable[[Path], Any], again: Callable[[], Outputs], before: Outputs
) -> str:
    """What becomes of a damaged file: ERROR, ELSEWHERE and the message, NO_EFFECT, "changed", or
    what is wrong.

    Args:
        again: what runs the next stage; before: what it made of the undamaged file.
    """
    whole = file.read_bytes()
    try:
        damage(file)
        return _outcome(file, again, before)
    finally:
        if file.is_dir():
            shutil.rmtree(file)
        file.write_bytes(whole)


def _outcome(file: Path, again: Callable[[], Outputs], before: Outputs) -> str:
    try:
        after = again()
    except UserError as error:
        message = str(error)
        if "\n" in message:
            return f"error of several lines: {message}"
        if not {str(file), str(file.parent), file.name} & _words(message):
            return f"{ELSEWHERE}: {message}"
        return ERROR
    except Exception:
        return f"traceback: {traceback.format_exc(limit=-3)}"
    return NO_EFFECT if after == before else "changed"


def _words(message: str) -> set[str]:
    return {word.strip(":,;'`()") for word in message.split()}


def _files(output: Path) -> list[Path]:
    return sorted(f for f in output.rglob("*") if f.is_file()) if output.is_dir() else [output]


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
