"""data/descriptions/captions.parquet: of which image each sentence of the artifact is.

There where images were described one by one (`describe.per_image`), for methods that train on
captions. descriptions.parquet beside it has the same sentences as descriptions of their classes,
and for each the same class, prompt and sample.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.common import rows as table_rows
from pipeline.common.errors import UserError
from pipeline.common.tables import read_table, write_table
from pipeline.descriptions.artifact import DESCRIPTIONS, SAMPLE
from pipeline.descriptions.interface import Sentence

FILE = "captions.parquet"
SCHEMA = pa.schema(
    [
        ("class_id", pa.string()),
        ("image", pa.int32()),  # row of data/images/<set>/images.npy
        ("prompt_set", pa.string()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("sentence", pa.string()),
        ("source", pa.string()),
        ("tokens", pa.int32()),  # as in descriptions.parquet
    ]
)
Row = dict[str, Any]


def caption_faults(table: pa.Table) -> Iterator[str]:
    """What is wrong with the rows of captions.parquet; see `pipeline.common.rows`."""
    yield from table_rows.complete(table)
    yield from table_rows.unique(table, SAMPLE)
    for column, least in (("image", 0), ("sample_index", 0), ("tokens", 1)):
        yield from table_rows.at_least(table, column, least)


def with_images(columns: Mapping[str, Sequence[Any]], sentences: Iterable[Sentence]) -> list[Row]:
    """The rows of `columns`, those of the artifact, that are captions, each with its `image`."""
    image_of = {
        tuple(getattr(sentence, name) for name in SAMPLE): sentence.image
        for sentence in sentences
        if sentence.image is not None
    }
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return [row | {"image": image_of[_key(row)]} for row in rows if _key(row) in image_of]


def write_captions(folder: Path, rows: Iterable[Row]) -> None:
    """Write those of `rows`, in the artifact's order, that have an `image`: by class, image,
    prompt and sample. Without any nothing is written."""
    captions = [row for row in rows if "image" in row]
    if not captions:
        return
    classes = dict.fromkeys(row["class_id"] for row in captions)
    label_of = {class_id: index for index, class_id in enumerate(classes)}
    captions.sort(key=lambda row: (label_of[row["class_id"]], row["image"]))
    columns = {name: [row[name] for row in captions] for name in SCHEMA.names}
    write_table(folder / FILE, columns, SCHEMA, caption_faults)


def read_captions(artifact: Path, rows: Sequence[Row]) -> list[Row]:
    """The `rows` of the Parquet file `artifact`, each with its `image` where it has one; as they
    are where there are no captions beside it, or it is another file than descriptions.parquet,
    to which alone those belong.

    Raises:
        UserError: the file is of another schema, or holds a caption that `rows` do not.
    """
    file = artifact.with_name(FILE)
    if artifact.name != DESCRIPTIONS.name or not file.exists():
        return list(rows)
    captions = {_key(row): row for row in read_table(file, SCHEMA, caption_faults).to_pylist()}
    sentences = {_key(row): row["sentence"] for row in rows}
    for key, caption in captions.items():
        if sentences.get(key) != caption["sentence"]:
            raise UserError(
                f"{file}: image {caption['image']} of class '{caption['class_id']}': its caption "
                "is not in the descriptions beside it; remove its row, or take both from one run"
            )
    return [
        row | ({"image": captions[_key(row)]["image"]} if _key(row) in captions else {})
        for row in rows
    ]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in SAMPLE)
