"""Clean the descriptions and keep the K best of each class: `python -m stages.filter`.

Reads data/descriptions/descriptions.parquet, the class table and data/base_model/, with
`filter.reference: image` also the training images; writes data/filtered/descriptions.parquet,
in which every dropped sentence stays visible with its reason.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import typer

from pipeline.clip import model as clip
from pipeline.clip.device import deterministic_device
from pipeline.clip.folders import BASE_MODEL
from pipeline.common.errors import listed
from pipeline.common.params import read_section, read_value
from pipeline.common.tables import write_table
from pipeline.descriptions.artifact import DESCRIPTIONS, read_artifact
from pipeline.descriptions.sources import is_fill
from pipeline.descriptions.tokens import count_tokens
from pipeline.filtering.filter import (
    FilterParams,
    choose_rows,
    clean_rows,
    reference_names,
    score_rows,
)
from pipeline.filtering.image_features import class_means, set_features
from pipeline.filtering.table import FILTERED, SCHEMA
from pipeline.images.classes import ClassEntry, read_classes
from stages.runner import stage


@stage("filter")
def main() -> None:
    """Clean the sentences, score them against their class's reference, keep the top K."""
    params = read_section("filter", FilterParams)
    dataset = read_value("describe.dataset", str)
    classes = read_classes(dataset)
    found = read_artifact(DESCRIPTIONS, classes)
    device = deterministic_device()
    model = clip.load(BASE_MODEL)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return clip.encode_texts(model, list(texts), device).numpy()

    counting = partial(count_tokens, tokenizer=model.tokenize)
    rows = clean_rows(found, classes, params, model.tokenize.context_length, counting)
    names = reference_names(classes, params)
    if params.reference == "image":
        references = _image_references(model, dataset, params, device)
    else:
        references = encode(names)
    features = score_rows(rows, classes, references, names, encode)
    table, short = choose_rows(rows, features, classes, params)
    columns = {name: [row[name] for row in table] for name in SCHEMA.names}
    write_table(FILTERED, columns, SCHEMA)
    _summary(columns, short, classes)


def _image_references(
    model: clip.Clip, dataset: str, params: FilterParams, device: torch.device
) -> np.ndarray:
    """Unit-norm mean image feature of each class, float32 (C, D)."""
    found = set_features(model, dataset, params.images_per_class, device)
    return class_means(found.features, found.labels, len(found.images.classes)).numpy()


def _summary(columns: dict[str, list], short: list[str], classes: Sequence[ClassEntry]) -> None:
    reasons = Counter(reason for reason in columns["reason"] if reason)
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    rows = list(zip(columns["kept"], columns["source"], columns["shortened"], strict=True))
    filled = sum(is_fill(source) for _, source, _ in rows)
    kept = sum(kept for kept, _, _ in rows) - filled
    print(f"kept {kept} of {len(rows) - filled} sentences for {len(classes)} classes")
    shortened = sum(kept and cut for kept, _, cut in rows)
    print(f"dropped: {dropped or 'none'}; shortened among the kept: {shortened}")
    if short:
        print(
            f"{len(short)} classes had too few of their own, {filled} slots filled: "
            f"{listed(short, 10)}"
        )


if __name__ == "__main__":
    typer.run(main)
