"""What a stage cost: counted, measured, and filed by the bytes of its outputs, outside DVC's."""

import copy
import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.clip.forward_counts import Work
from pipeline.common.errors import UserError
from pipeline.cost import energy, matrix_speed, work
from pipeline.cost import meter as cost
from pipeline.cost import vision_transformer as vit
from pipeline.cost.files import Cost, Training, read_cost, write_cost
from pipeline.cost.meter import Meter, Run, Spent, device_name, line, measured, peak_memory, share
from tests.support.vision_transformers import config, encoder

CPU = torch.device("cpu")
SPENT = Spent(2.0, None, {"float32": Work(plain=3, descents=2), "bf16": Work(ascents=5)})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    return file


def test_the_work_of_an_encoder_and_its_copies_is_counted_by_kind() -> None:
    model, meter = encoder(config()), Meter(CPU)
    meter.watch(model, "float32")
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        model(images)
    model(images[:2])
    perturbed = images.clone().requires_grad_()
    model(perturbed)
    model(perturbed[:1])
    assert meter.stop().work == {"float32": Work(plain=3, ascents=4, descents=2)}
    meter.start()
    assert meter.stop().work == {"float32": Work()}
    frozen = copy.deepcopy(model).requires_grad_(False)
    frozen(images)
    frozen(perturbed)
    lower = encoder(config())
    meter.watch(lower, "bf16")
    lower(perturbed[:2])
    counted = meter.stop().work
    assert counted == {"float32": Work(plain=3, ascents=3), "bf16": Work(ascents=2)}


def test_flop_are_images_times_those_of_a_pass() -> None:
    shape, seen = vit.read(config()), Work(plain=3, ascents=5, descents=2)
    expected = 3 * vit.forward_flop(shape) + 5 * vit.ascend_flop(shape)
    expected += 2 * vit.descend_flop(shape, 1)
    assert work.flop(seen, config(), last_blocks=1) == expected
    assert work.flop(seen, {"embed_dim": 4, "vision_cfg": {"layers": [3, 4, 6, 3]}}) is None


def test_the_share_is_ideal_seconds_over_real_ones() -> None:
    speeds: dict[Any, float] = {"float32": 10.0, "bf16": 40.0}
    assert share({"bf16": 80, "float32": 20}, 8.0, speeds) == (80 / 40 + 20 / 10) / 8
    assert share({"float32": 100}, 8.0, speeds) == 10 / 8
    assert share({}, 8.0, speeds) is None, "counted in other processes, or not"


def test_what_is_measured_and_what_is_said_of_it(monkeypatch) -> None:
    speeds = {"float32": 1e9, "bf16": 4e9}
    monkeypatch.setattr(cost, "matrix_flop", lambda device, name: speeds[name])
    run = Run("evaluate@a-pgd-b", 24, config())
    run_cost = measured(run, SPENT, CPU)
    assert (run_cost.stage, run_cost.images, run_cost.images_per_second) == (
        "evaluate@a-pgd-b",
        24,
        12.0,
    )
    assert run_cost.work == {
        "float32": {"plain": 3, "ascents": 0, "descents": 2},
        "bf16": {"plain": 0, "ascents": 5, "descents": 0},
    }
    high, low = (work.flop(SPENT.work[name], config()) for name in ("float32", "bf16"))
    assert high
    assert low
    assert run_cost.flop == pytest.approx(high + low)
    assert run_cost.share == pytest.approx((low / 4e9 + high / 1e9) / 2)
    assert run_cost.matrix_flop_per_second == speeds
    assert run_cost.threads == torch.get_num_threads()
    assert run_cost.device == device_name(CPU) != ""
    assert line(run_cost) == (
        f"24 images in 2.0 s, 12.0 images/s: {run_cost.share:.0%} of the speed of matrix products "
        "here (bf16 4, float32 1 GFLOP/s)"
    )
    resnet = run._replace(model_cfg={"vision_cfg": {"timm_model_name": "x"}})
    for unknown in (measured(resnet, SPENT, CPU), measured(run, SPENT._replace(work={}), CPU)):
        assert (unknown.flop, unknown.share, unknown.matrix_flop_per_second) == (None, None, {})
        assert line(unknown) == "24 images in 2.0 s, 12.0 images/s"


@pytest.mark.parametrize("precision", matrix_speed.precisions(CPU))
def test_the_speed_of_products_is_that_of_a_product(precision: Any) -> None:
    """Not more than eight times away from one large product, timed here."""
    speed = matrix_speed.matrix_flop(CPU, precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    factor = torch.rand(1024, 1024).to(dtype)
    seconds = min(matrix_speed._timed(lambda: factor @ factor, CPU) for _ in range(3))
    assert 1 / 8 < speed / (2 * 1024**3 / seconds) < 8


def test_tf32_is_on_for_its_product_only(monkeypatch) -> None:
    seen: list[bool] = []
    multiply = torch.mm

    def spy(*factors: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return multiply(*factors)

    monkeypatch.setattr(torch, "mm", spy)
    for precision, on in (("tf32", True), ("float32", False)):
        matrix_speed.matrix_flop(CPU, precision, seconds=0)  # type: ignore[arg-type]
        assert seen == [on] * (1 + matrix_speed.REPEATS)
        assert not torch.backends.cuda.matmul.allow_tf32
        seen.clear()


@pytest.mark.parametrize(("free", "side"), [(80e9, 8192), (2e9, 4096), (1e8, 1024), (1e5, 512)])
def test_the_matrices_fit_a_part_of_what_is_free(monkeypatch, free: float, side: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 2 * free))
    assert matrix_speed.side_that_fits(torch.device("cuda"), 4) == side
    assert matrix_speed.side_that_fits(CPU, 4) == 512


class NVMLError(Exception):
    """Of the library."""


def library(readings: list[int]) -> Any:
    """NVIDIA's, with a card that counts, or one that does not."""

    def energy_of(handle: str) -> int:
        assert handle == "GPU-1-2"
        if not readings:
            raise NVMLError("Not Supported")
        return readings.pop(0)

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=str,
        nvmlDeviceGetTotalEnergyConsumption=energy_of,
    )


def test_energy_is_the_difference_of_two_readings(monkeypatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(energy, "_uuid", lambda _: "1-2")
    monkeypatch.setitem(sys.modules, "pynvml", library([5000, 12500]))
    assert Meter(cuda).stop().joules == 7.5
    monkeypatch.setitem(sys.modules, "pynvml", library([]))
    assert Meter(cuda).stop().joules is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if not installed
    assert Meter(cuda).stop().joules is None
    assert Meter(CPU).stop().joules is None


def test_peak_memory_is_in_bytes_and_grows():
    before = peak_memory(CPU)
    assert before > 50 * 2**20
    block = torch.ones(60 * 2**20)  # 240 MiB
    assert peak_memory(CPU) >= before
    assert peak_memory(CPU) > block.nbytes


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


@pytest.mark.gpu
def test_on_cuda_it_is_the_peak_of_the_device():
    device = torch.device("cuda")
    torch.ones(2**24, device=device)
    assert peak_memory(device) >= 2**26
    assert device_name(device) == torch.cuda.get_device_name(device)
