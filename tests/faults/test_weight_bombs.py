"""Arrays and weights that claim more than they hold, or hold code: each through the real reader, in
bounded memory and time, ends in one line."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.clip.text_encoding import _read as read_features
from pipeline.descriptions.model_folder import _check_length
from pipeline.images.image_set import _packed
from pipeline.models import state_dicts, wrappers
from tests.faults.contained import contained, sampled

DEEP = 100_000


def npy(shape: str, kind: str = "'|u1'") -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)


class Code:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch UNPICKLED",)


def pickled_npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Code()], dtype=object), allow_pickle=True)
    return stream.getvalue()


NPYS = {
    "huge": npy("(1000000000, 3, 224, 224)"),
    "beyond 64 bits": npy("(99999999999999999999, 3, 8, 8)"),
    "negative": npy("(-1, 3, 8, 8)"),
    "deep": npy("(" * 3000 + ")" * 3000),
    "objects": pickled_npy(),
    "header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 1000,
}


@pytest.mark.parametrize("name", NPYS)
def test_an_array_that_claims_to_be_huge_or_holds_code(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.npy").write_bytes(NPYS[name])
    assert contained(lambda: _packed(tmp_path)).startswith(f"{tmp_path / 'images.npy'}: ")

    def cached() -> None:  # features that cannot be read are computed again
        assert read_features(tmp_path / "images.npy", 3) is None

    assert contained(cached) == ""
    assert not Path("UNPICKLED").exists()


def safetensors(length: int, header: bytes) -> bytes:
    return length.to_bytes(8, "little") + header


SAFETENSORS = {
    "header of 2**63": safetensors(2**63, b"{}"),
    "header of 90 MB": safetensors(90 * 2**20, b"{}"),
    "deep": safetensors(DEEP, b'{"a":' + b"[" * (DEEP - 5)),
    "offsets": safetensors(66, b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,4]}}'),
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", SAFETENSORS)
def test_weights_whose_header_claims_too_much(tmp_path, name):
    file = tmp_path / "model.safetensors"
    file.write_bytes(SAFETENSORS[name])
    assert contained(lambda: state_dicts.read(file)).startswith(f"{file}: ")
    assert contained(lambda: _check_length(file)).startswith(f"{file}: ")


def checkpoint(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def doubled(levels: int) -> dict[str, object]:
    """A dictionary that holds another twice, which holds another twice, ..."""
    value: dict[str, object] = {}
    for _ in range(levels):
        value = {"a": value, "b": value}
    return value


def itself() -> dict[str, object]:
    value: dict[str, object] = {}
    value["a"] = value
    return value


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(300 * 2**20))
        file.writestr("archive/version", "3")
    return stream.getvalue()


CHECKPOINTS = {
    "code": pickle.dumps(Code()),
    "code in a zip": checkpoint({"a": Code()}),
    "doubled": checkpoint(doubled(60)),
    "itself": checkpoint(itself()),
    "deep": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "zip bomb": zip_bomb(),
    "long": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "bytes": b"\x80\x02" + b"N." * 1000,
    "empty": b"",
}


@pytest.mark.parametrize("name", sampled(CHECKPOINTS, "zip bomb"))
def test_a_checkpoint_with_code_or_without_end(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.pt"
    file.write_bytes(CHECKPOINTS[name])
    assert contained(lambda: wrappers.state_dicts(state_dicts.read(file), None, file)) != ""
    assert not Path("UNPICKLED").exists()
