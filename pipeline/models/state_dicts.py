"""Files with weights, read without running what is in them.

Nothing is unpickled but tensors, plain containers and numpy's numbers; a file is recognised by
its content, not by its name.
"""

import argparse
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.common.errors import UserError, one_line
from pipeline.common.text_files import check_fetched, read_text
from pipeline.models import unsupported
from pipeline.models.layouts import State

# checkpoints hold an accuracy as a number of numpy's and their options as a Namespace: data only
_scalar = np.float64(0).__reduce__()[0]
SAFE_GLOBALS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    # every plain number, text and date: "?" bool, "e" float16, "D" complex128, "U" text, "M" date
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefdgFDGUSMm"),
    *(np.dtype(kind).type for kind in "?bhilqBHILQefd"),  # `dtype: np.float32` among the options
    (_scalar, "numpy._core.multiarray.scalar"),
    (_scalar, "numpy.core.multiarray.scalar"),
]
INDEX = ".index.json"
SHOWN = 120  # most characters of what torch.load says
Fetch = Callable[[str], Path | None]  # a file of a folder or repository by name, if it has one


def read(path: Path) -> Any:
    """What a checkpoint holds: a dictionary of tensors, or containers with such dictionaries.

    Of a model in several files `path` is their index, and the files lie beside it.

    Raises:
        UserError: no such file, no checkpoint, or code in the pickle.
    """
    if not path.is_file():
        raise UserError(f"{path}: not found; the key file: names a file")
    if path.name.endswith(INDEX):
        return read_shards(path, lambda name: path.with_name(name))
    start = beginning(path)
    # safetensors begin with the length of their header, which is JSON
    named = path.suffix.lower() == ".safetensors"
    if named or start[8:9] == b"{":
        return _load_safetensors(path)
    if kind := unsupported.file_kind(start):
        raise UserError(f"{path}: not a checkpoint, but {kind}")
    return _unpickle(path)


def beginning(path: Path) -> bytes:
    """The first bytes of a file with weights.

    Raises:
        UserError: it cannot be read, or is a pointer of Git LFS.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {one_line(error)}") from None
    check_fetched(start, path, "weights")
    return start


def read_shards(index: Path, fetch: Fetch) -> State:
    """The weights of a model in several files.

    Raises:
        UserError: the index is broken, or a file lacks, or lacks a weight that it should have.
    """
    try:
        files = json.loads(read_text(index))["weight_map"]
        names = sorted({Path(name).name for name in files.values()})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index}: not an index of weights: {one_line(error)}") from None
    state: State = {}
    for name in names:
        path = fetch(name)
        if path is None or not path.is_file():
            raise UserError(f"{index}: {name}, which it names, is not there; get all its files")
        part = read(path)
        if not isinstance(part, dict):
            raise UserError(f"{path}: holds no state dict, but {type(part).__name__}")
        state |= part
    missing = [key for key in files if key not in state]
    if missing:
        raise UserError(f"{index}: its files lack {len(missing)} weights, e.g. {missing[0]}")
    return state


def _load_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a safetensors file: {one_line(error)}") from None


def _unpickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns about, TorchScript, is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if any(mark in text for mark in ("GLOBAL", "Unsupported class", "but got <class")):
            raise UserError(
                f"{path}: holds more than weights, and unpickling that runs its code "
                f"({_refused_name(text)}); where you trust it, save its state dict alone, see "
                "docs/weights.md"
            ) from None
        raise UserError(f"{path}: not a checkpoint: {_cause(text)}") from None
    except MemoryError:  # of weights that are too large for this machine
        raise
    except Exception as error:  # of bytes that are no pickle, torch.load raises anything
        if "TorchScript" in str(error):
            raise UserError(
                f"{path}: a TorchScript archive, which holds code; save its state dict alone, "
                "see docs/weights.md"
            ) from None
        said = "torch.load cannot read it" if isinstance(error, LookupError) else one_line(error)
        raise UserError(f"{path}: not a checkpoint: {said}") from None


def _refused_name(text: str) -> str:
    """The name that torch.load refuses: the word after GLOBAL, or after "class"."""
    words = text.replace("`", " ").replace("<class '", "class ").replace("'>", " ").split()
    for mark in ("GLOBAL", "class"):
        if mark in words[:-1]:
            return words[words.index(mark) + 1]
    return "unknown"


def _cause(text: str) -> str:
    """What torch.load says, without its advice."""
    said = text.partition("WeightsUnpickler error:")[2].strip().split("\n\n")[0]
    return f"torch.load cannot read it{f': {said[:SHOWN]}' if said else ''}"
