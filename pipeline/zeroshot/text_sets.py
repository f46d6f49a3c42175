"""Text embeddings as tables: the last place where text is encoded.

    descriptions.parquet            the training ensemble: K rows per class (slot k = rank k)
    texts/<text set>/<set>.parquet  what classifies an image set: a row per class and text
    attacker/<text set>/<set>.parquet   what the attacker sees when that text set classifies
A text set is a name in `embed.texts` (templates), or "descriptions": the kept descriptions.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.errors import UserError
from pipeline.common.params import Section, Template
from pipeline.common.tables import read_table
from pipeline.images.classes import ClassEntry

FOLDER = Path("data/embeddings")
DESCRIPTIONS = "descriptions"  # the text set that is no entry of embed.texts
TEMPLATE = "template"  # the text set that methods without descriptions train on
SAME = "same"  # evaluate.attacker: the attacker sees the texts that classify
METADATA = b"text set"
Encode = Callable[[list[str]], np.ndarray]  # N texts -> float32 (N, D), unit norm
Columns = tuple[dict[str, Any], pa.Schema]


class EmbedParams(Section):
    """Section `embed` of params.yaml, where every key is explained."""

    texts: dict[str, dict[str, list[Template] | Literal["openai", "own"]]]


class TextSet(NamedTuple):
    """Texts of the classes of one image set.

    name: the text set; templates: what it was filled from, empty for descriptions;
    captions: float32 (C, K, D), unit norm, one feature per text.
    """

    name: str
    templates: list[str]
    captions: np.ndarray

    @property
    def classifier(self) -> np.ndarray:
        """float32 (C, D), one feature per class.

        Templates: the normalised mean (open_clip's zero-shot classifier). Descriptions: the
        plain mean, whose logits are the mean of the K descriptions' logits, as SAFT judges.
        """
        mean = self.captions.mean(1)
        if self.name == DESCRIPTIONS:
            return mean
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def schema(width: int) -> pa.Schema:
    """class_id, caption slot, text, and the unit-norm float32 embedding of length `width`."""
    return pa.schema(
        [
            ("class_id", pa.string()),
            ("slot", pa.int32()),
            ("text", pa.string()),
            ("embedding", pa.list_(pa.float32(), width)),
        ]
    )


def text_sets_in_use(
    trained: str,
    datasets: Sequence[str],
    texts: Sequence[str],
    attacker: str,
    checked: Sequence[str],
    check_texts: str,
) -> list[tuple[str, str]]:
    """Every (text set, image set) that finetune, evaluate or check reads, each once.

    Args:
        trained: finetune.dataset.
        datasets, texts, attacker: of section evaluate.
        checked, check_texts: `datasets` and `texts` of section evaluate.checks.
    """
    pairs = [(TEMPLATE, trained)]
    pairs += [(name, dataset) for name in texts for dataset in datasets]
    pairs += [(check_texts, dataset) for dataset in checked]
    if attacker != SAME:
        pairs += [(attacker, dataset) for dataset in [*datasets, *checked]]
    return list(dict.fromkeys(pairs))


def templates_of(
    texts: str, dataset: str, params: EmbedParams, own: Sequence[str] = ()
) -> list[str]:
    """The templates of a text set for an image set: its own entry, else `default`.

    Args:
        own: the templates that the image set's source brings along, for entries `own`.

    Raises:
        UserError: there is no such text set, it has neither entry, or asks for templates
            that the source does not have.
    """
    if texts not in params.texts:
        known = ", ".join([*sorted(params.texts), DESCRIPTIONS])
        raise UserError(f"params.yaml: '{texts}' is not a text set; embed.texts has {known}")
    chosen = params.texts[texts].get(dataset, params.texts[texts].get("default"))
    if not chosen:
        raise UserError(f"params.yaml: embed.texts.{texts} has neither '{dataset}' nor 'default'")
    if chosen == "openai":
        return [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    if chosen == "own":
        if not own:
            raise UserError(
                f"params.yaml: embed.texts.{texts} asks for the own templates of '{dataset}', "
                "whose source has none; write a list for it there"
            )
        return list(own)
    return list(chosen)


def read_embeddings(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """Embeddings of the classes, in their order: float32 (C, K, D), unit norm.

    Raises:
        UserError: a class of `class_ids` is missing, or classes differ in their slots.
    """
    table = read_table(path, schema(1))
    width = table.schema.field("embedding").type.list_size
    flat = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    rows: dict[str, list[int]] = {}
    for row, class_id in enumerate(table["class_id"].to_pylist()):
        rows.setdefault(class_id, []).append(row)
    missing = [class_id for class_id in class_ids if class_id not in rows]
    if missing:
        raise UserError(
            f"{path}: no embedding for class '{missing[0]}' ({len(missing)} classes in all)"
        )
    if len({len(rows[class_id]) for class_id in class_ids}) > 1:
        raise UserError(f"{path}: classes differ in their number of captions")
    return np.stack([flat[rows[class_id]] for class_id in class_ids])


def read_texts(path: Path, class_ids: Sequence[str]) -> TextSet:
    """A file of texts/ or attacker/, with the classes in the order of `class_ids`."""
    captions = read_embeddings(path, class_ids)
    origin = json.loads((pq.read_schema(path).metadata or {}).get(METADATA, b"null"))
    if not isinstance(origin, dict):
        raise UserError(f"{path}: names no text set; run `dvc repro embed`")
    return TextSet(origin["name"], origin["templates"], captions)


def read_pair(texts: str, dataset: str, class_ids: Sequence[str]) -> tuple[TextSet, TextSet]:
    """The texts that classify an image set under a text set, and those that the attacker sees."""
    both = (FOLDER / part / texts / f"{dataset}.parquet" for part in ("texts", "attacker"))
    classifying, seen = (read_texts(path, class_ids) for path in both)
    return classifying, seen


def read_classifier(path: Path, class_ids: Sequence[str]) -> np.ndarray:
    """float32 (C, D) class features of a file of texts/; see `TextSet.classifier`."""
    return read_texts(path, class_ids).classifier


def description_columns(rows: Sequence[dict[str, Any]], encode: Encode) -> Columns:
    """One row per kept sentence (class_id, rank as slot, sentence), with its schema."""
    texts = [row["sentence"] for row in rows]
    return _columns(
        [row["class_id"] for row in rows], [row["rank"] for row in rows], texts, encode(texts)
    )


def template_columns(
    name: str, classes: Sequence[ClassEntry], templates: Sequence[str], encode: Encode
) -> Columns:
    """One row per class and template of text set `name`."""
    texts = [template.replace("{}", entry.name) for entry in classes for template in templates]
    ids = [entry.class_id for entry in classes for _ in templates]
    slots = list(range(len(templates))) * len(classes)
    return _named(name, templates, _columns(ids, slots, texts, encode(texts)))


def described_columns(dataset: str, classes: Sequence[ClassEntry], described: Columns) -> Columns:
    """The rows of `described` (see `description_columns`) that belong to `classes`.

    Raises:
        UserError: a class has no description.
    """
    columns, _ = described
    wanted = {entry.class_id for entry in classes}
    missing = sorted(wanted - set(columns["class_id"]))
    if missing:
        raise UserError(
            f"class '{missing[0]}' of set '{dataset}' has no description ({len(missing)} of "
            f"{len(wanted)} have none); take '{DESCRIPTIONS}' out of evaluate.texts and "
            "evaluate.attacker, or that set out of evaluate.datasets"
        )
    at = [i for i, class_id in enumerate(columns["class_id"]) if class_id in wanted]
    width = columns["embedding"].type.list_size
    vectors = columns["embedding"].flatten().to_numpy().reshape(-1, width)[at]
    ids, slots, texts = ([columns[key][i] for i in at] for key in ("class_id", "slot", "text"))
    return _named(DESCRIPTIONS, [], _columns(ids, slots, texts, vectors))


def _columns(
    class_ids: list[str], slots: list[int], texts: list[str], vectors: np.ndarray
) -> Columns:
    width = vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns = {
        "class_id": class_ids,
        "slot": slots,
        "text": texts,
        "embedding": pa.FixedSizeListArray.from_arrays(flat, width),
    }
    return columns, schema(width)


def _named(name: str, templates: Sequence[str], columns: Columns) -> Columns:
    origin = json.dumps({"name": name, "templates": list(templates)})
    return columns[0], columns[1].with_metadata({METADATA: origin})
