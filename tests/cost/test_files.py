"""The cost of a stage, filed by the bytes of its outputs, outside those of DVC."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from pipeline.clip.forward_counts import Work
from pipeline.common.errors import UserError
from pipeline.cost.files import Cost, Training, read_cost, write_cost
from pipeline.cost.meter import Run, Spent, measured
from tests.support.vision_transformers import config

CPU = torch.device("cpu")


SPENT = Spent(2.0, None, {"float32": Work(plain=3, descents=2), "bf16": Work(ascents=5)})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    return file


def some_cost() -> Cost:
    return measured(Run("finetune", 8, config()), SPENT, CPU)


def test_a_cost_is_found_again_by_the_bytes_of_the_output(weights, tmp_path, monkeypatch):
    root = tmp_path / "main"
    monkeypatch.setenv("DVC_ROOT", str(root))
    run_cost, training = some_cost(), Training("fare", "FARE", 30.0, 4)
    write_cost(run_cost, weights, training)
    name = hashlib.sha256(b"weights").hexdigest()[:16]
    expected = run_cost._asdict() | training._asdict()
    assert json.loads((root / f".scratch/costs/{name}.json").read_text()) == expected
    copied = weights.with_name("copy")
    copied.write_bytes(b"weights")
    assert read_cost(copied, root) == expected
    copied.write_bytes(b"other weights")
    assert read_cost(copied, root) is None
    assert read_cost(weights, tmp_path) is None


def test_a_folder_is_known_by_its_names_and_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    folders = [tmp_path / name for name in ("one", "same", "renamed", "changed", "more")]
    for folder in folders:
        folder.mkdir()
        (folder / ("b" if folder.name == "renamed" else "a")).write_bytes(b"1")
        (folder / "z").write_bytes(b"3" if folder.name == "changed" else b"2")
    (folders[-1] / "y").write_bytes(b"")
    write_cost(some_cost(), folders[0])
    assert [read_cost(folder, tmp_path) is not None for folder in folders] == [
        True, True, False, False, False
    ]  # fmt: skip


def test_without_dvc_it_lies_in_the_current_folder(weights, tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    write_cost(some_cost(), weights)
    run_cost = read_cost(weights, tmp_path)
    assert run_cost is not None
    assert run_cost["stage"] == "finetune"


def test_a_broken_cost_file_is_named(weights, tmp_path):
    name = hashlib.sha256(b"weights").hexdigest()[:16]
    file = tmp_path / ".scratch/costs" / f"{name}.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_cost(weights, tmp_path)
