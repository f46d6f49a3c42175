"""Damage to one file at a time, by kinds: of any file, of tables, of JSON, of arrays.

A mutation changes a file in place. What the next stage must make of it is said beside each
artifact, in `tests.support.mutated_artifacts`.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

Mutation = tuple[str, Callable[[Path], None]]  # what is done, and what does it
Columns = dict[str, list[Any]]


def of_bytes() -> Iterator[Mutation]:
    """Of a file of any kind."""
    yield "missing", Path.unlink
    yield "empty file", lambda file: file.write_bytes(b"")
    yield "other bytes", lambda file: file.write_bytes(bytes(range(256)))
    yield (
        "cut in half",
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    )
    yield "a folder in its place", lambda file: (file.unlink(), file.mkdir())
    yield "a web page in its place", lambda file: file.write_text("<!DOCTYPE html><p>Not found</p>")


def another_file(file: str) -> Mutation:
    """Another file of the project in its place."""
    return f"{file} in its place", lambda path: shutil.copyfile(file, path)


def of_table(schema: pa.Schema) -> Iterator[Mutation]:
    """Of a Parquet file with this schema and at least two rows."""
    yield from of_bytes()
    yield "no rows", lambda file: _rewrite(file, lambda table: table.slice(0, 0))
    yield (
        "a column more",
        lambda file: _rewrite(
            file, lambda table: table.append_column("more", pa.array([1] * len(table)))
        ),
    )
    yield (
        "columns in another order",
        lambda file: _rewrite(file, lambda table: table.select(table.column_names[::-1])),
    )
    for name in schema.names:
        yield f"{name}: null", _cell(name, lambda _: None)
        yield f"{name}: not there", _without(name)
        yield f"{name}: another type", _retyped(name)
    yield "first row twice", _rows(lambda rows: [0, *rows])
    yield "last row is the first", _rows(lambda rows: [*rows[:-1], 0])
    yield "first row not there", _rows(lambda rows: rows[1:])
    yield "last row not there", _rows(lambda rows: rows[:-1])
    yield "rows in reverse", _rows(lambda rows: rows[::-1])
    yield "first and last row swapped", _rows(lambda rows: [rows[-1], *rows[1:-1], rows[0]])
    yield "all rows twice", _rows(lambda rows: rows * 2)
    if "class_id" in schema.names:
        yield "class_id: one that is not known", _cell("class_id", lambda _: "n99")
        yield "class_id: two classes swapped", _swapped("class_id")
    for field in schema:
        if pa.types.is_integer(field.type):
            yield f"{field.name}: -7", _cell(field.name, lambda _: -7)
            yield f"{field.name}: 1000000", _cell(field.name, lambda _: 1_000_000)
        if field.type == pa.string():
            yield f"{field.name}: not UTF-8", _not_utf8(field.name)


def of_json(*keys: str, optional: Sequence[str] = ()) -> Iterator[Mutation]:
    """Of a JSON object in which `keys` are relied on, `optional` where they are; dots descend."""
    yield from of_bytes()
    yield "byte order mark", lambda file: file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    yield "UTF-16", lambda file: file.write_text(file.read_text("utf-8"), "utf-16")
    yield "Latin-1", lambda file: file.write_bytes(file.read_bytes()[:-3] + b',"\xe4": 1}\n')
    for name, text in {"a list": "[]", "null": "null", "a number": "3", "a text": '"x"'}.items():
        yield f"{name} in its place", lambda file, text=text: file.write_text(text)
    yield "nested too deep", lambda file: file.write_text("[" * 100_000)
    yield "a number too long", lambda file: file.write_text('{"a": ' + "9" * 5_000 + "}")
    yield "first key twice", _first_key_twice
    yield "a key more", lambda file: _edit(file, lambda values: values.update(more=1))
    for key in keys:
        yield f"{key}: not there", lambda file, key=key: _set(file, key)
    for key in (*keys, *optional):
        yield f"{key}: another type", lambda file, key=key: _set(file, key, {"x": ["y"]})
        yield f"{key}: NaN", lambda file, key=key: _set(file, key, float("nan"))


def json_value(key: str, value: Any) -> Mutation:
    """One value of a JSON object."""
    return f"{key}: {value!r}", lambda file: _set(file, key, value)


def cell(column: str, value: Any, row: int = 0) -> Mutation:
    """One cell of a table."""
    return f"{column}: {value!r} in row {row}", _cell(column, lambda _: value, row)


def column(name: str, change: Callable[[list[Any]], list[Any]], what: str) -> Mutation:
    """All cells of a column of a table."""

    def apply(file: Path) -> None:
        _edit_columns(file, lambda columns: columns.update({name: change(columns[name])}))

    return f"{name}: {what}", apply


def metadata(key: bytes, value: bytes | None) -> Mutation:
    """The metadata `key` of a table's schema; None: without it."""

    def change(table: pa.Table) -> pa.Table:
        kept = {k: v for k, v in (table.schema.metadata or {}).items() if k != key}
        return table.replace_schema_metadata(kept | ({key: value} if value is not None else {}))

    what = "not there" if value is None else value.decode(errors="replace")[:30]
    return f"metadata {key.decode()}: {what}", lambda file: _rewrite(file, change)


def array(what: str, change: Callable[[np.ndarray], np.ndarray]) -> Mutation:
    """The array of a .npy file."""

    def apply(file: Path) -> None:
        changed = change(np.load(file))
        with file.open("wb") as stream:
            np.save(stream, changed)

    return what, apply


def tensors(what: str, change: Callable[[dict[str, np.ndarray]], Any]) -> Mutation:
    """The tensors of a .safetensors file, changed in place."""

    def apply(file: Path) -> None:
        arrays = dict(load_file(file))
        change(arrays)
        save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, file)

    return what, apply


def text(what: str, change: Callable[[str], str]) -> Mutation:
    """The text of a file."""
    return what, lambda file: file.write_text(change(file.read_text("utf-8")), "utf-8")


def _rewrite(file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(file)), file, compression="zstd")


def _rows(change: Callable[[list[int]], list[int]]) -> Callable[[Path], None]:
    return lambda file: _rewrite(file, lambda t: t.take(change(list(range(len(t))))))


def _without(name: str) -> Callable[[Path], None]:
    return lambda file: _rewrite(file, lambda table: table.drop_columns([name]))


def _retyped(name: str) -> Callable[[Path], None]:
    def change(table: pa.Table) -> pa.Table:
        kind = table.schema.field(name).type
        if pa.types.is_string(kind):
            values = table[name].cast(pa.large_string())
        elif pa.types.is_fixed_size_list(kind):
            values = pa.array(table[name].to_pylist(), pa.list_(pa.float64(), kind.list_size))
        else:
            values = pa.array([str(value) for value in table[name].to_pylist()])
        return table.set_column(table.column_names.index(name), name, values)

    return lambda file: _rewrite(file, change)


def _not_utf8(name: str) -> Callable[[Path], None]:
    def change(table: pa.Table) -> pa.Table:
        values = [None if v is None else v.encode() for v in table[name].to_pylist()]
        values[0] = b"\xff" + (values[0] or b"")
        binary = pa.array(values, pa.binary())
        as_text = pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())
        return table.set_column(table.column_names.index(name), table.schema.field(name), as_text)

    return lambda file: _rewrite(file, change)


def _edit_columns(file: Path, change: Callable[[Columns], Any]) -> None:
    table = pq.read_table(file)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(pa.Table.from_pydict(columns, schema=table.schema), file, compression="zstd")


def _cell(name: str, change: Callable[[Any], Any], row: int = 0) -> Callable[[Path], None]:
    def edit(columns: Columns) -> None:
        columns[name][row] = change(columns[name][row])

    return lambda file: _edit_columns(file, edit)


def _swapped(name: str) -> Callable[[Path], None]:
    def edit(columns: Columns) -> None:
        first, second = list(dict.fromkeys(columns[name]))[:2]
        other = {first: second, second: first}
        columns[name] = [other.get(value, value) for value in columns[name]]

    return lambda file: _edit_columns(file, edit)


def _edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(file.read_text("utf-8"))
    change(values)
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def _set(file: Path, key: str, *value: Any) -> None:
    def change(values: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            values = values[parent]
        if value:
            values[last] = value[0]
        else:
            del values[last]

    _edit(file, change)


def _first_key_twice(file: Path) -> None:
    values = json.loads(file.read_text("utf-8"))
    file.write_text(f"{{{json.dumps(next(iter(values)))}: 0, {json.dumps(values)[1:]}", "utf-8")
