"""The cost file: filed by the model's bytes, outside DVC's outputs."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from pipeline.cost import Timing, device_name, measured, peak_memory, read_cost, write_cost
from pipeline.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    return file


def test_seconds_are_per_epoch_also_in_a_resumed_run():
    found = measured("saft", "SAFT", Timing(seconds=12.0, steps=4), per_epoch=10, device=CPU)
    assert found.seconds_per_epoch == 30.0
    assert found.steps_timed == 4
    assert (found.method, found.title) == ("saft", "SAFT")
    assert found.threads == torch.get_num_threads()
    assert found.device == device_name(CPU) != ""


def test_peak_memory_is_in_bytes_and_grows():
    before = peak_memory(CPU)
    assert before > 50 * 2**20
    block = torch.ones(60 * 2**20)  # 240 MiB
    assert peak_memory(CPU) >= before
    assert peak_memory(CPU) > block.nbytes


def test_a_cost_is_found_again_by_the_bytes_of_the_model(weights, tmp_path, monkeypatch):
    root = tmp_path / "main"
    monkeypatch.setenv("DVC_ROOT", str(root))
    cost = measured("fare", "FARE", Timing(1.0, 1), 1, CPU)
    write_cost(cost, weights)
    name = hashlib.sha256(b"weights").hexdigest()[:16]
    assert json.loads((root / f".scratch/costs/{name}.json").read_text()) == cost._asdict()
    assert read_cost(weights, root) == cost._asdict()
    copied = weights.with_name("copy")
    copied.write_bytes(b"weights")
    assert read_cost(copied, root) == cost._asdict()
    copied.write_bytes(b"other weights")
    assert read_cost(copied, root) is None
    assert read_cost(weights, tmp_path) is None


def test_without_dvc_it_lies_in_the_current_folder(weights, tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    write_cost(measured("fare", "FARE", Timing(1.0, 1), 1, CPU), weights)
    assert read_cost(weights, tmp_path)["method"] == "fare"


def test_a_broken_cost_file_is_named(weights, tmp_path):
    name = hashlib.sha256(b"weights").hexdigest()[:16]
    file = tmp_path / ".scratch/costs" / f"{name}.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_cost(weights, tmp_path)


@pytest.mark.gpu
def test_on_cuda_it_is_the_peak_of_the_device():
    device = torch.device("cuda")
    torch.ones(2**24, device=device)
    assert peak_memory(device) >= 2**26
    assert device_name(device) == torch.cuda.get_device_name(device)
