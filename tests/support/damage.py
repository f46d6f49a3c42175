"""Numbers of a sound project, damaged: weights, a model's normalisation, embeddings, verdicts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from pipeline.clip.config import CONFIG_FILE
from pipeline.clip.folders import clip_folder
from pipeline.clip.model import WEIGHTS_FILE
from pipeline.common.tables import write_table


def weights(model: str, name: str, change: Callable[[np.ndarray], Any]) -> None:
    """Change the weights of a model whose names begin with `name`, in place."""
    path = clip_folder(model) / WEIGHTS_FILE
    state = {key: value.copy() for key, value in load_file(path).items()}
    chosen = [key for key in state if key.startswith(name)]
    assert chosen
    for key in chosen:
        change(state[key])
    save_file(state, path, {"format": "pt"})


def filled(value: float) -> Callable[[np.ndarray], Any]:
    return lambda array: array.fill(value)


def first_to(value: float) -> Callable[[np.ndarray], Any]:
    return lambda array: array.reshape(-1)[:1].fill(value)


def normalisation(model: str, **values: Any) -> None:
    """Other mean or std of a model's preprocessing, NaN as Python's json writes it."""
    path = clip_folder(model) / CONFIG_FILE
    config = json.loads(path.read_text())
    config["preprocess_cfg"] |= values
    path.write_text(json.dumps(config))


def embeddings(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the float32 (rows, D) embeddings of a file."""
    table = pq.read_table(path)
    width = table.schema.field("embedding").type.list_size
    vectors = np.array(table["embedding"].combine_chunks().flatten()).reshape(-1, width)
    changed = np.ascontiguousarray(change(vectors.copy()), dtype=np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(changed.reshape(-1)), changed.shape[1])
    field = pa.field("embedding", column.type)
    metadata = table.schema.metadata
    damaged = table.drop_columns("embedding").append_column(field, column)
    pq.write_table(damaged.replace_schema_metadata(metadata), path)


def row_to(value: float, row: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    def change(vectors: np.ndarray) -> np.ndarray:
        vectors[row] = value
        return vectors

    return change


def column(path: Path, name: str, change: Callable[[np.ndarray], Any]) -> None:
    """Change a column of a Parquet file, as an array of objects with None for null."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    columns[name] = list(change(np.array(columns[name], dtype=object)))
    write_table(path, columns, table.schema)


def first_as(value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[0] = value
        return values

    return change


def json_file(path: Path, **changes: Any) -> None:
    """Other keys of a JSON file; a__b is key b of key a."""
    values = json.loads(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = values
        for parent in parents:
            section = section[parent]
        section[last] = value
    path.write_text(json.dumps(values))
