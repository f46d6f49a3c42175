"""The table of mutations: every file that a stage hands to the next, what is done to it, and who
reads it. What has to come of it: `tests.support.mutation_outcomes`.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.clip.folders import ABOUT, FINETUNED
from pipeline.descriptions import artifact, captions, confusions, exemplars
from pipeline.filtering import table as filtered
from pipeline.images import classes, image_set
from pipeline.images.classes import ClassEntry
from pipeline.model_sources import pretrain
from pipeline.report import page
from pipeline.report.inputs import read_inputs
from pipeline.results.evaluated import Metrics
from pipeline.results.files import PREDICTIONS
from pipeline.training import files
from pipeline.zeroshot import text_sets, text_tables
from saft.descriptions import artifacts
from tests.support import mutations as damage
from tests.support.mutated_project import SETS, Outputs, read, run


class Artifact(NamedTuple):
    """A file, the stage (or what it reads with) that is run on it, and what is done to the file."""

    file: str
    again: Callable[[], Outputs]
    mutations: Sequence[damage.Mutation]


def _stage(name: str) -> Callable[[], Outputs]:
    return lambda: run(name)


def _table(file: str, stage: str, schema: pa.Schema, more: Sequence[damage.Mutation]) -> Artifact:
    return Artifact(file, _stage(stage), [*damage.of_table(schema), *more])


def _pixels(other: str) -> Iterator[damage.Mutation]:
    """Of uint8 (N, 3, S, S) pixels; `other`: the folder of another set."""
    yield from damage.of_bytes()
    yield damage.another_file(f"{other}/images.npy")
    yield damage.array("an image less", lambda a: a[:-1])
    yield damage.array("an image more", lambda a: np.concatenate([a, a[:1]]))
    yield damage.array("one channel", lambda a: a[:, :1])
    yield damage.array("channels last", lambda a: a.transpose(0, 2, 3, 1).copy())
    yield damage.array("half the size", lambda a: a[..., ::2, ::2])
    yield damage.array("not square", lambda a: a[..., ::2])
    yield damage.array("float32", lambda a: a.astype(np.float32))
    yield damage.array("int8", lambda a: a.astype(np.int8))
    yield damage.array("in Fortran's order", np.asfortranarray)
    yield damage.array("images in reverse", lambda a: a[::-1].copy())
    yield damage.array("darker", lambda a: a // 2)
    yield "bytes at the end", lambda file: file.write_bytes(file.read_bytes() + b"more")
    yield "an archive in its place", _archive


def _archive(file: Path) -> None:
    pixels = np.load(file)
    with file.open("wb") as stream:
        np.savez(stream, pixels)


def _evaluation() -> Iterator[tuple[str, list[damage.Mutation]]]:
    """By file of an evaluation, what is done to it."""
    yield (
        "predictions.parquet",
        [
            *damage.of_table(PREDICTIONS),
            damage.cell("number", 1, row=0),
            damage.cell("label", 1, row=0),
            damage.cell("model", "base", row=1),
        ],
    )
    fields = Metrics.model_fields.items()
    keys = [name for name, field in fields if field.is_required()]
    keys += ["clean.correct", "robust_any.images", "texts.name"]
    optional = [name for name, field in fields if not field.is_required()]
    yield (
        "metrics.json",
        [
            *damage.of_json(*keys, optional=optional),
            *(damage.json_value(key, 7) for key in ("images", "classes", "pixels")),
            damage.json_value("model", "base"),
        ],
    )
    yield (
        "examples.safetensors",
        [
            *damage.of_bytes(),
            damage.tensors("a tensor less", lambda t: t.pop("clean")),
            damage.tensors("an image less", lambda t: t.update(clean=t["clean"][:-1])),
            damage.tensors("int32 pixels", lambda t: t.update(clean=t["clean"].astype(np.int32))),
            damage.tensors("numbers as text", lambda t: t.update(numbers=t["numbers"] > 1)),
            damage.tensors("other numbers", lambda t: t.update(numbers=t["numbers"] + 1000)),
            damage.tensors("half the size", _halve),
            damage.tensors("NaN", lambda t: t.update(perturbation=t["perturbation"] * np.nan)),
            damage.tensors("times ten", lambda t: t.update(perturbation=t["perturbation"] * 10)),
            damage.tensors("a map less", lambda t: t.pop("clean_attention")),
            damage.tensors(
                "map below 0", lambda t: t.update(clean_attention=-t["clean_attention"])
            ),
        ],
    )


def _halve(arrays: dict[str, np.ndarray]) -> None:
    for name in ("clean", "perturbation"):
        arrays[name] = arrays[name][..., ::2, ::2]


def _vectors() -> Iterator[damage.Mutation]:
    """Of embeddings, unit vectors of 16 numbers."""
    nan, infinite = [float("nan")] * 16, [float("inf")] * 16
    for what, vector in (("NaN", nan), ("infinite", infinite), ("zero", [0.0] * 16)):
        yield f"embedding: {what}", damage.cell("embedding", vector)[1]
    yield damage.column(
        "embedding", lambda vectors: [[10 * x for x in vector] for vector in vectors], "times ten"
    )
    yield damage.column("embedding", lambda vectors: [[None, *v[1:]] for v in vectors], "a null")


def _log() -> Iterator[damage.Mutation]:
    """Of training.csv."""
    yield damage.text("byte order mark", lambda text: "\ufeff" + text)
    yield damage.text("semicolons", lambda text: text.replace(",", ";"))
    yield damage.text("a column more in the header", lambda t: t.replace("\n", ",more\n", 1))
    yield damage.text("a name twice in the header", lambda t: t.replace("learning_rate", "loss", 1))
    yield damage.text("a cell less", lambda t: t[: t.rindex(",")] + "\n")
    yield damage.text("NaN", lambda t: t[: t.rindex(",") + 1] + "nan\n")
    yield damage.text("a cell without value", lambda t: t[: t.rindex(",") + 1] + "\n")
    yield damage.text("last row not there", lambda t: t[: t.rstrip().rindex("\n") + 1])
    yield damage.text("rows in reverse", _reversed)
    yield damage.text("last row twice", lambda t: t + t[t.rstrip().rindex("\n") + 1 :])
    yield damage.text("no rows", lambda t: t[: t.index("\n") + 1])


def _reversed(text: str) -> str:
    head, *lines = text.splitlines()
    return "\n".join([head, *lines[::-1]]) + "\n"


def _labels() -> Iterator[damage.Mutation]:
    """Of the table of labels."""
    for name in ("class_id", "sentence", "label"):
        yield damage.text(f"{name}: not there", lambda t, name=name: t.replace(name, "x", 1))
    yield damage.text("another label", lambda t: t.replace("\tvisual", "\tmaybe"))
    yield damage.text("a cell less", lambda t: t.replace("\tvisual", ""))
    yield damage.text("commas", lambda t: t.replace("\t", ","))
    yield damage.text("first row twice", lambda t: t + t[t.index("\n") + 1 :])


def report() -> Outputs:
    """The report without drawing: what it reads, and every word and number of it."""
    inputs = read_inputs()
    return read(
        lambda: (page.metrics(inputs), list(page.accuracy_rows(inputs)), page.render(inputs))
    )


def _ids() -> list[ClassEntry]:
    return [ClassEntry(class_id, class_id) for class_id in SETS["tiny"]]


def _opened(name: str) -> Any:
    images = image_set.open_images(name)
    return images.labels.tolist(), images.captions, images.pixels[:].tobytes()


def _read_artifact() -> Any:
    return artifacts.read(Path("artifact"))


def _read_exemplars() -> Any:
    return exemplars.read_exemplars("made", _ids(), _ids())


def _read_confusions() -> Any:
    return confusions.read_confusions("made", _ids(), _ids())


def _read_training() -> Any:
    described, filled, *_ = files.read_texts(image_set.open_images("tiny"), [], captions=False)
    return [texts.numpy().tobytes() for texts in (described, filled)]


def _read_origin() -> Any:
    return pretrain.about(pretrain.Params(training="made"))


# what a table of texts says of itself
_ORIGINS = (None, b"x", b"[1]", b'{"name": "t"}', b'{"name": 1, "templates": []}')
_ORIGINS += (b'{"name": "t", "templates": ["a {}"]}',)


def of_image_set() -> Iterator[Artifact]:
    """What `prepare` writes."""
    stage, other = "evaluate tiny base", "data/images/other"
    named = [damage.another_file("data/classes/other.parquet"), damage.cell("name", "disc")]
    named += [damage.cell("name", " "), damage.cell("class_id", ""), damage.cell("label", 2)]
    yield _table("data/classes/tiny.parquet", "describe", classes.CLASS_SCHEMA, named)
    templates = [
        damage.metadata(classes.TEMPLATES, text) for text in (b"x", b'["a"]', b'{"a": 1}', b"")
    ]
    tables = "data/evaluated_classes/tiny.parquet", "texts", classes.CLASS_SCHEMA
    yield _table(*tables, [*named[1:], *templates])
    items = [damage.another_file(f"{other}/items.parquet"), damage.cell("label", 1)]
    yield _table("data/images/tiny/items.parquet", stage, image_set.ITEM_SCHEMA, items)
    files = damage.cell("path", "gone.png"), damage.cell("length", 3), damage.cell("crc32", 0)
    origin = [damage.metadata(key, None) for key in (b"root", b"size", b"resize")]
    origin += [damage.metadata(b"size", b"x"), damage.metadata(b"resize", b"x")]
    yield Artifact(
        "data/images/streamed/files.parquet",
        lambda: read(lambda: _opened("streamed")),
        [*damage.of_table(image_set.FILE_SCHEMA), *files, *origin],
    )
    yield Artifact("data/images/tiny/images.npy", _stage(stage), [*_pixels(other)])
    keys = "images", "classes", "size", "sha256", "dropped", "images_per_class.minimum"
    summary = [*damage.of_json(*keys), damage.another_file(f"{other}/summary.json")]
    summary += [damage.json_value(key, 7) for key in ("images", "classes", "size")]
    yield Artifact("data/images/tiny/summary.json", _stage(stage), summary)


def of_texts() -> Iterator[Artifact]:
    """What `describe`, `filter`, `texts`, `embed` and `embed_training` write, and what a model is
    shown or told."""
    rows = [damage.cell("class_name", "disc"), damage.cell("sentence", "A large ball of wool.")]
    rows += [damage.cell("sentence", ""), damage.cell("source", "template")]
    file = "data/descriptions/descriptions.parquet"
    yield _table(file, "filter", artifact.SCHEMA, rows)
    yield Artifact(
        "artifact/captions.parquet",
        lambda: read(_read_artifact),
        [*damage.of_table(captions.SCHEMA), damage.cell("sentence", "Another one.")],
    )
    for name, module, reader in (
        ("exemplars", exemplars, _read_exemplars), ("confusions", confusions, _read_confusions)
    ):  # fmt: skip
        more = [damage.cell("png", b"GIF89a")] if name == "exemplars" else []
        more += [damage.another_file("data/classes/tiny.parquet")]
        yield Artifact(
            f"data/{name}/made.parquet",
            lambda reader=reader: read(reader),
            [*damage.of_table(module.SCHEMA), *more],
        )
    text = [damage.cell("text", "a disc"), damage.cell("slot", 1)]
    named = [*text, *(damage.metadata(text_tables.METADATA, value) for value in _ORIGINS)]
    other = "data/texts/template/other.parquet", "data/texts/unseen/tiny.parquet"
    more = [*named, *map(damage.another_file, other)]
    yield _table("data/texts/template/tiny.parquet", "embed base", text_tables.SCHEMA, more)
    more = [*named, damage.another_file(other[0])]
    yield _table(str(text_tables.KEPT), "embed_training", text_tables.SCHEMA, more)
    schema = text_sets.schema(16)
    described, template = map(str, text_sets.training_files())
    for training, swapped in ((described, template), (template, described)):
        more = [*named, *_vectors(), damage.another_file(swapped)]
        of_training = [*damage.of_table(schema), *more]
        yield Artifact(training, lambda: read(_read_training), of_training)
    classifying, seen = map(str, text_sets.pair_files("base", "template", "tiny"))
    foreign = [str(path) for path in text_sets.pair_files("base", "template", "other")]
    for file, swapped in ((classifying, seen), (seen, classifying)):
        more = [*named, *_vectors(), *map(damage.another_file, (swapped, *foreign))]
        yield _table(file, "evaluate tiny base", schema, more)


def of_models() -> Iterator[Artifact]:
    """What `pretrain`, `model`, `finetune`, `record` and `about` write."""
    config = "data/models/base/clip/open_clip_config.json"
    keys = "model_cfg", "preprocess_cfg", "model_cfg.vision_cfg", "preprocess_cfg.mean"
    yield Artifact(config, _stage("embed base"), [*damage.of_json(*keys)])
    weights = "data/models/base/clip/open_clip_model.safetensors"
    changed = [
        damage.tensors("a tensor less", lambda tensors: tensors.pop("text_projection")),
        damage.tensors("a tensor more", lambda t: t.update(more=np.zeros(2, np.float32))),
        damage.tensors(
            "a tensor of another shape",
            lambda t: t.update(text_projection=t["text_projection"][:, :8]),
        ),
        damage.tensors("NaN", lambda t: t["token_embedding.weight"].fill(np.nan)),
        damage.tensors("infinite", lambda t: t["text_projection"].fill(np.inf)),
        damage.another_file(config),
    ]
    yield Artifact(weights, _stage("embed base"), [*damage.of_bytes(), *changed])
    keys = "title", "dataset", "attack"
    recipe = "data/models/finetuned/clip/recipe.json"
    unknown = damage.json_value("dataset", "gone")
    yield Artifact(recipe, _stage("record"), [*damage.of_json(*keys), unknown])
    origin = "data/inputs/models/pretrain/made/origin.json"
    yield Artifact(origin, lambda: read(_read_origin), [*damage.of_json("origin")])


def of_results() -> Iterator[Artifact]:
    """What `evaluate`, `check`, `about` and people write, all for the report."""
    folder = "data/evaluation/tiny/template/pgd/4/finetuned"
    others = "data/evaluation/tiny/template/pgd/4/base", "data/evaluation/other/template/pgd/4/base"
    for name, mutations in _evaluation():
        # what the attack added to both models' examples may well be equal
        models = others if name != "examples.safetensors" else others[1:]
        more = [damage.another_file(f"{other}/{name}") for other in models]
        yield Artifact(f"{folder}/{name}", report, [*mutations, *more])
    keys = "dataset", "model", "epsilon_255", "images", "precision", "curve", "large", "steps"
    yield Artifact("data/checks/tiny/finetuned.json", report, [*damage.of_json(*keys)])
    about = str(ABOUT / FINETUNED)
    keys = "name", "source", "origin", "hub_id", "defended", "licence", "notes", "parameters"
    keys += "image_size", "text_tower", "image_tower", "citation"
    models = damage.another_file("data/about/base/about.json")
    yield Artifact(f"{about}/about.json", report, [*damage.of_json(*keys), models])
    keys = "title", "dataset", "method", "seed", "options", "images", "epochs", "steps", "attack"
    yield Artifact(f"{about}/recipe.json", report, [*damage.of_json(*keys)])
    yield Artifact(f"{about}/provenance.json", report, [*damage.of_json("backend")])
    yield Artifact(f"{about}/training.csv", report, [*damage.of_bytes(), *_log()])
    sentences = [
        damage.cell("score", float("nan")),
        damage.cell("kept", False),
        damage.cell("rank", 5),
        damage.cell("class_name", "x"),
    ]
    mutations = [*damage.of_table(filtered.SCHEMA), *sentences]
    yield Artifact(f"{about}/descriptions.parquet", report, mutations)
    trained = [*damage.of_table(classes.CLASS_SCHEMA)]
    trained += [damage.another_file("data/classes/other.parquet")]
    yield Artifact(f"{about}/classes.parquet", report, trained)
    other = damage.another_file("data/evaluated_classes/other.parquet")
    yield Artifact("data/evaluated_classes/tiny.parquet", report, [other])
    yield Artifact("data/labels/sentences.tsv", report, [*damage.of_bytes(), *_labels()])


def of_caches() -> Iterator[Artifact]:
    """What is kept in .scratch to be faster, and what a stage cost."""
    arrays = [
        damage.array("a row less", lambda a: a[:-1]),
        damage.array("one dimension", lambda a: a[:, 0]),
        damage.array("NaN", lambda a: a * np.nan),
        damage.array("times ten", lambda a: a * 10),
        damage.array("text", lambda a: a.astype(str)),
        damage.array("float64", lambda a: a.astype(np.float64)),
        damage.array("other numbers", lambda a: a[::-1]),
    ]
    kept = [mutation for mutation in damage.of_bytes() if "folder" not in mutation[0]]
    yield Artifact(".scratch/texts/*.npy", _stage("embed base"), [*kept, *arrays])
    yield Artifact(".scratch/clean/*.npz", _stage("evaluate tiny base"), kept)


# the caches first: they are then of one run
ARTIFACTS = (of_caches, of_image_set, of_texts, of_models, of_results)


def all_artifacts() -> list[Artifact]:
    """The whole table."""
    return [artifact for kind in ARTIFACTS for artifact in kind()]
