"""Parquet and JSON with an explicit schema and the same bytes for the same data."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.atomic import replacing_file
from pipeline.common.errors import UserError, first_line
from pipeline.common.rows import Faults
from pipeline.common.text_files import read_text


def write_table(
    path: Path, columns: dict[str, Any], schema: pa.Schema, faults: Faults | None = None
) -> None:
    """Write `columns` in row order under `schema`; atomic, deterministic for one pyarrow.

    Args:
        faults: what may be wrong with the rows, see `pipeline.common.rows`.

    Raises:
        UserError: a row is not as it has to be.
    """
    table = pa.Table.from_pydict(columns, schema=schema)
    for fault in faults(table) if faults else ():
        raise UserError(f"{path.name}: {fault}; nothing was written")
    with replacing_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_table(path: Path, schema: pa.Schema, faults: Faults | None = None) -> pa.Table:
    """Read a Parquet file that must have exactly the names and types of `schema`.

    Fixed-size-list columns are compared without their length, which callers check
    against the model they use.

    Args:
        faults: what may be wrong with the rows, see `pipeline.common.rows`.

    Raises:
        UserError: missing file, not Parquet, another schema, or a row is not as it has to be.
    """
    if path.is_dir():  # which Arrow takes for a table of many files, or of none
        raise UserError(f"{path}: is a folder, not a Parquet file; remove it and run `dvc repro`")
    try:
        table = pq.read_table(path)
        table.validate(full=True)  # of damaged bytes that are Parquet, the text need not be UTF-8
    except MemoryError:  # of Arrow too
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro` (or `dvc pull`) first") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {first_line(error)}") from None
    columns = [(f.name, _kind(f.type)) for f in table.schema]
    expected = [(f.name, _kind(f.type)) for f in schema]
    if columns != expected:
        raise UserError(
            f"{path}: expected columns {_listing(expected)}; found {_listing(columns)}; "
            "run `dvc repro` to make it again"
        )
    for fault in faults(table) if faults else ():
        raise UserError(f"{path}: {fault}; run `dvc repro` to make it again")
    return table


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline, atomically.

    Raises:
        UserError: a number is NaN or infinite, for which JSON has no word.
    """
    try:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UserError(f"{path}: {first_line(error)}; nothing was written") from None
    with replacing_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a one-line UserError, and so is one with a
    number that is NaN or infinite, or with a key twice, of which json would keep the last."""
    try:
        return json.loads(read_text(path), object_pairs_hook=_once_each, parse_constant=_no_number)
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (ValueError, RecursionError) as error:  # not JSON, or a number without end
        raise UserError(f"{path}: not valid JSON: {first_line(error)}") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key '{repeated}' stands there twice")
    return values


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list<{kind.value_type}>"
    return str(kind)


def _listing(fields: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name}:{kind}" for name, kind in fields) or "none"
