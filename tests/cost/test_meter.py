"""What a stage cost: counted and measured."""

import copy
from typing import Any

import pytest
import torch

from pipeline.clip.forward_counts import Work
from pipeline.cost import meter as cost
from pipeline.cost import vision_transformer as vit
from pipeline.cost import work
from pipeline.cost.meter import Meter, Run, Spent, device_name, line, measured, peak_memory, share
from tests.support.vision_transformers import config, encoder

CPU = torch.device("cpu")
SPENT = Spent(2.0, None, {"float32": Work(plain=3, descents=2), "bf16": Work(ascents=5)})


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


def test_nothing_of_a_pause_counts(monkeypatch) -> None:
    joules = iter([100.0, 103.0, 110.0, 111.5])  # started, paused, resumed, stopped
    monkeypatch.setattr(cost.energy, "joules", lambda device: next(joules))
    clock = iter([10.0, 11.0, 15.0, 17.5])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    model, meter = encoder(config()), Meter(CPU)
    meter.watch(model, "float32")
    images = torch.rand(3, 3, 64, 64)
    model(images)
    with meter.paused():
        model(images.requires_grad_())
    model(images[:1].detach())
    assert meter.stop() == Spent(3.5, 4.5, {"float32": Work(descents=4)})


def test_flop_are_images_times_those_of_a_pass() -> None:
    shape, seen = vit.read(config()), Work(plain=3, ascents=5, descents=2)
    expected = 3 * vit.forward_flop(shape) + 5 * vit.ascend_flop(shape)
    expected += 2 * vit.descend_flop(shape, range(1, 2))
    assert work.flop(seen, config(), trained=range(1, 2)) == expected
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


def test_peak_memory_is_in_bytes_and_grows():
    before = peak_memory(CPU)
    assert before > 50 * 2**20
    block = torch.ones(60 * 2**20)  # 240 MiB
    assert peak_memory(CPU) >= before
    assert peak_memory(CPU) > block.nbytes


@pytest.mark.gpu
def test_on_cuda_it_is_the_peak_of_the_device():
    device = torch.device("cuda")
    torch.ones(2**24, device=device)
    assert peak_memory(device) >= 2**26
    assert device_name(device) == torch.cuda.get_device_name(device)
