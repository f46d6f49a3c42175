"""Folders and checkpoints as people have them: named by a file of theirs, not fetched, with other
things beside the weights."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.model_sources import local
from pipeline.models import state_dicts
from tests.support.clip_layouts import into_clip

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


@pytest.fixture
def folder(clip_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny CLIP's folder, to be damaged."""
    return Path(shutil.copytree(clip_folder, tmp_path / "clip"))


def build(path: Path) -> dict[str, torch.Tensor]:
    return local.build(local.Params(path=str(path))).model.state_dict()


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        build(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read_with(file: Path, value: object) -> str:
    """What is said of a checkpoint with `value` beside its weights; "" if it is read."""
    torch.save({"state_dict": {"a": torch.zeros(2)}, "beside": value}, file)
    try:
        assert torch.equal(state_dicts.read(file)["state_dict"]["a"], torch.zeros(2))
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("code", "?bhilqBHILQefdgFDG")
def test_every_number_of_numpy_may_be_beside_the_weights(tmp_path: Path, code: str) -> None:
    kind = np.dtype(code)
    for value in (kind.type(1), kind, [kind.type(0)], {"best": {"acc": kind.type(1)}}):
        assert read_with(tmp_path / "c.pt", value) == ""


@pytest.mark.parametrize(
    "value",
    [np.str_("ViT"), np.bytes_(b"x"), np.datetime64("2024-01-01"), np.float32, np.bool_,
     np.float64("nan"), np.dtype(">f4")],
    ids=repr,
)  # fmt: skip
def test_so_may_its_texts_dates_and_kinds(tmp_path: Path, value: object) -> None:
    assert read_with(tmp_path / "c.pt", value) == ""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.zeros(3), "numpy._core.multiarray._reconstruct"),
        (np.random.get_state(), "numpy._core.multiarray._reconstruct"),
        (np.random.default_rng(0), "numpy.random._pickle.__generator_ctor"),
        (np.dtype([("a", "f4")]), "numpy.dtypes.VoidDType"),
        (Path("x"), "pathlib."),
    ],
    ids=["array", "random state", "generator", "record", "path"],
)
def test_anything_else_is_refused_by_its_name(tmp_path: Path, value: object, name: str) -> None:
    said = read_with(tmp_path / "c.pt", value)
    assert "\n" not in said
    assert f"unpickling that runs its code ({name}" in said


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    file = tmp_path / "c.pt"
    for content, kind in (
        (b"\r\n<!DOCTYPE html><html>", "a web page"),
        (gzip.compress(b"x"), "a compressed archive; unpack it first"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"GGUF\x03", "a GGUF file"),
        (b'{"a": 1}', "JSON; name the file with the weights"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"c.pt: not a checkpoint, but {kind}"):
            state_dicts.read(file)
    torch.save({"a": 1}, file)
    for content in (b"hello, world", b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01."):
        file.write_bytes(content)
        with pytest.raises(UserError, match="c.pt: not a checkpoint: torch.load cannot read it"):
            state_dicts.read(file)


def test_a_file_of_the_folder_stands_for_it(folder: Path) -> None:
    weights = build(folder)
    for name in (clip.WEIGHTS_FILE, clip.CONFIG_FILE):
        assert all(torch.equal(v, weights[k]) for k, v in build(folder / name).items())
    file = folder / "image.pt"
    torch.save({k[7:]: v for k, v in weights.items() if k.startswith("visual.")}, file)
    built = into_clip(file, folder / clip.WEIGHTS_FILE).model
    assert torch.equal(built.visual.proj, weights["visual.proj"])


def test_another_file_is_one_line(folder: Path) -> None:
    (folder / clip.WEIGHTS_FILE).rename(folder / "robust.safetensors")
    said = refused(folder / "robust.safetensors")
    assert "robust.safetensors: is a file; name the folder of a whole CLIP" in said
    assert said.endswith("for a file of weights alone, take source: checkpoint")
    said = refused(folder)
    assert "holds no weights: none of open_clip_model.safetensors" in said
    assert said.endswith("it has robust.safetensors: rename what is meant")


@pytest.mark.parametrize("name", ["open_clip_model.SAFETENSORS", "weights.bin", "clip.ckpt"])
def test_weights_by_other_names_are_named(folder: Path, name: str) -> None:
    (folder / clip.WEIGHTS_FILE).rename(folder / name)
    assert refused(folder).endswith(f"; it has {name}: rename what is meant")


def test_only_the_older_kind_of_weights_is_enough(folder: Path) -> None:
    weights = build(folder)
    (folder / clip.WEIGHTS_FILE).unlink()
    torch.save(weights, folder / "open_clip_pytorch_model.bin")
    assert all(torch.equal(v, weights[k]) for k, v in build(folder).items())


@pytest.mark.parametrize(
    ("name", "what"), [(clip.CONFIG_FILE, "file"), (clip.WEIGHTS_FILE, "weights")]
)
def test_pointers_of_git_lfs_are_named(folder: Path, name: str, what: str) -> None:
    (folder / name).write_text(POINTER)
    assert f"{name}: a pointer of Git LFS, not the {what}; run `git lfs pull`" in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_pointers_in_a_folder_of_transformers_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / name).write_text(POINTER)
    assert f"{name}: a pointer of Git LFS, not the file" in refused(tmp_path)
