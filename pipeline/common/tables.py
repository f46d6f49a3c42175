"""Parquet and JSON with an explicit schema and the same bytes for the same data."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, first_line
from pipeline.common.text_files import read_text


def write_table(path: Path, columns: dict[str, Any], schema: pa.Schema) -> None:
    """Write `columns` in row order under `schema`; atomic, deterministic for one pyarrow."""
    table = pa.Table.from_pydict(columns, schema=schema)
    with replacing_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet file that must have exactly the names and types of `schema`.

    Fixed-size-list columns are compared without their length, which callers check
    against the model they use.

    Raises:
        UserError: missing file, not Parquet, or another schema.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` (or `dvc pull`) first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {first_line(error)}") from None
    columns = [(f.name, _kind(f.type)) for f in table.schema]
    expected = [(f.name, _kind(f.type)) for f in schema]
    if columns != expected:
        raise UserError(
            f"{path}: expected columns {_listing(expected)}; found {_listing(columns)}; "
            "run `dvc repro` to make it again"
        )
    return table


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline, atomically."""
    with replacing_file(path) as partial:
        partial.write_text(
            json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a one-line UserError."""
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (ValueError, RecursionError) as error:  # not JSON, or a number without end
        raise UserError(f"{path}: not valid JSON: {first_line(error)}") from None


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list<{kind.value_type}>"
    return str(kind)


def _listing(fields: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name}:{kind}" for name, kind in fields) or "none"
