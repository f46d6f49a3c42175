"""Templates filled, and all texts encoded into tables; the encoder, `clip/text_encoding.py`, is
passed in. Their files and who reads them: `pipeline.zeroshot.text_sets`."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import pyarrow as pa

from pipeline.common.atomic import replacing_directory
from pipeline.common.errors import UserError
from pipeline.common.params import Section, Template
from pipeline.common.tables import write_table
from pipeline.images.classes import ClassEntry
from pipeline.zeroshot.text_sets import DESCRIPTIONS, METADATA, SAME, TEMPLATE, TRAINING, schema

Encode = Callable[[list[str]], np.ndarray]  # N texts -> float32 (N, D), unit norm
Columns = tuple[dict[str, Any], pa.Schema]
Key = tuple[str, str]  # text set, image set


class EmbedParams(Section):
    """Section `embed` of params.yaml, where every key is explained."""

    texts: dict[str, dict[str, list[Template] | Literal["openai", "own"]]]


def text_sets_in_use(
    trained: str,
    datasets: Sequence[str],
    texts: Sequence[str],
    attacker: str,
    checked: Sequence[str],
    check_texts: str,
) -> list[Key]:
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
    texts: str, dataset: str, params: EmbedParams, source_templates: Sequence[str] = ()
) -> list[str]:
    """The templates of a text set for an image set: its own entry, else `default`.

    Args:
        source_templates: the templates that the image set's source brings along, for entries `own`.

    Raises:
        UserError: there is no such text set, it has neither key, or asks for templates
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
        if not source_templates:
            raise UserError(
                f"params.yaml: embed.texts.{texts} asks for the own templates of '{dataset}', "
                "whose source has none; write a list for it there"
            )
        return list(source_templates)
    return list(chosen)


def text_set_columns(
    classes: Mapping[str, Sequence[ClassEntry]],
    templates: Mapping[Key, Sequence[str]],
    described: Columns,
    keys: Sequence[Key],
    encode: Encode,
) -> dict[Key, Columns]:
    """The columns of every text set in use.

    Args:
        classes: by image set; templates: for all but the descriptions; described: see
            `description_columns`.
    """
    return {
        (name, dataset): described_columns(dataset, classes[dataset], described)
        if name == DESCRIPTIONS
        else template_columns(name, classes[dataset], templates[name, dataset], encode)
        for name, dataset in keys
    }


def write_embeddings(
    folder: Path, files: Mapping[Key, Columns], described: Columns, attacker: str
) -> None:
    """Write all tables into `folder`, as a whole.

    Args:
        attacker: `evaluate.attacker`, the text set that the attacker sees.
    """
    with replacing_directory(folder) as partial:
        write_table(partial / TRAINING.name, *described)
        for (name, dataset), columns in files.items():
            seen = columns if attacker == SAME else files.get((attacker, dataset))
            file = Path(name) / f"{dataset}.parquet"
            write_table(partial / "texts" / file, *columns)
            if seen:
                write_table(partial / "attacker" / file, *seen)


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
    texts = [
        template.replace("{}", class_entry.name)
        for class_entry in classes
        for template in templates
    ]
    ids = [class_entry.class_id for class_entry in classes for _ in templates]
    slots = list(range(len(templates))) * len(classes)
    return _named(name, templates, _columns(ids, slots, texts, encode(texts)))


def described_columns(dataset: str, classes: Sequence[ClassEntry], described: Columns) -> Columns:
    """The rows of `described` (see `description_columns`) that belong to `classes`.

    Raises:
        UserError: a class has no description.
    """
    columns, _ = described
    class_ids = {class_entry.class_id for class_entry in classes}
    missing = sorted(class_ids - set(columns["class_id"]))
    if missing:
        raise UserError(
            f"class '{missing[0]}' of set '{dataset}' has no description ({len(missing)} of "
            f"{len(class_ids)} have none); take '{DESCRIPTIONS}' out of evaluate.texts and "
            "evaluate.attacker, or that set out of evaluate.datasets"
        )
    rows = [i for i, class_id in enumerate(columns["class_id"]) if class_id in class_ids]
    width = columns["embedding"].type.list_size
    vectors = columns["embedding"].flatten().to_numpy().reshape(-1, width)[rows]
    ids, slots, texts = ([columns[key][i] for i in rows] for key in ("class_id", "slot", "text"))
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
