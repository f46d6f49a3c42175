"""CUDA graphs give what plain calls give, bit for bit: on a CUDA device with real ones, and on a
CPU with a stand-in that calls the recorded function again on the tensors that were recorded."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.clip import cuda_graph, forward_counts
from pipeline.clip import model as clip
from pipeline.clip.cuda_graph import VARIABLE, Replay
from pipeline.clip.precision import frozen_copy
from pipeline.common.errors import UserError
from pipeline.evaluation.interface import Outcome, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.training.batches import make_batch, read_pixels
from pipeline.training.training_attack import make_ascents, perturb_batch
from tests.support.classifiers import Net, attack, fit, make_targets, on, settings
from tests.support.training_runs import ATTACK, Run, recipe

Log = list[str]


class Recorded:
    """In place of torch.cuda.CUDAGraph: replaying calls the function of the capture."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], inputs: Any, outputs: Any):
        self.function, self.inputs, self.outputs = function, inputs, outputs

    def replay(self) -> None:
        with forward_counts.set_aside():
            values = self.function(*self.inputs)
        for output, value in zip(self.outputs, values, strict=True):
            output.copy_(value)


@pytest.fixture
def graphs(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Graphs on either device; "captured" for every capture, "replayed" for every replay."""
    log: Log = []
    captured, replayed = cuda_graph._capture, cuda_graph._replay

    def stand_in(
        function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...], signature: Hashable
    ) -> Any:
        fixed = tuple(value.detach().clone() for value in inputs)
        with forward_counts.set_aside() as seen:
            outputs = tuple(value.detach().clone() for value in function(*fixed))
        graph: Any = Recorded(function, fixed, outputs)
        return cuda_graph._Captured(signature, graph, fixed, outputs, seen)

    def capture(*arguments: Any) -> Any:
        log.append("captured")
        return (captured if device.type == "cuda" else stand_in)(*arguments)

    def replay(*arguments: Any) -> Any:
        log.append("replayed")
        return replayed(*arguments)

    monkeypatch.setattr(cuda_graph, "_capture", capture)
    monkeypatch.setattr(cuda_graph, "_replay", replay)
    monkeypatch.setattr(cuda_graph, "on_cuda", lambda value: value.device.type == device.type)
    return log


def both(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> tuple[Any, Any]:
    """What a call gives without graphs and with them."""
    results = []
    for value in "01":
        monkeypatch.setenv(VARIABLE, value)
        results.append(run())
    return results[0], results[1]


def double(value: Tensor) -> tuple[Tensor]:
    return (2 * value,)


def test_on_a_cpu_the_function_is_called_with_the_tensors_themselves():
    arguments: list[Tensor] = []

    def same(*values: Tensor) -> tuple[Tensor, ...]:
        arguments.extend(values)
        return values

    replay, value = Replay(after=2), torch.ones(3)
    for _ in range(4):
        assert replay(same, value)[0] is value
    assert all(one is value for one in arguments)
    assert len(arguments) == 4


@pytest.mark.parametrize("value", ["yes", "", "2", "on"])
def test_a_switch_that_is_neither_0_nor_1_is_refused(monkeypatch, clip_folder, value):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UserError, match=f"^SAFT_CUDA_GRAPHS={value}: is neither 0 nor 1") as told:
        Run(clip_folder).go()
    assert "\n" not in str(told.value)


def test_a_graph_serves_the_signature_that_came_in_a_row(graphs, device):
    replay, told = Replay(after=2), []
    for size in (4, 4, 2, 4, 4, 2, 2, 4):
        before = len(graphs)
        value = torch.arange(size, device=device).float()
        assert replay(double, value)[0].tolist() == (2 * value).tolist()
        told.append(graphs[before:])
    capture, again = ["captured", "replayed"], ["replayed"]
    assert told == [[], capture, [], again, again, [], capture, []]


def test_key_and_dtype_and_strides_tell_calls_apart(graphs, device):
    replay, value = Replay(after=2), torch.arange(6.0, device=device).view(2, 3)
    calls: list[tuple[Tensor, Any]] = [(value, 1), (value, 2), (value.long(), 2)]
    calls += [(value.long().T.contiguous().T, 2)]
    for one, key in calls:
        assert torch.equal(replay(double, one, key=key)[0], 2 * one)
    assert graphs == []


def test_results_are_the_callers_own(graphs, device):
    replay = Replay(after=2)
    results = [replay(double, torch.full((2,), float(n), device=device))[0] for n in range(4)]
    assert [result.tolist() for result in results] == [[0.0] * 2, [2.0] * 2, [4.0] * 2, [6.0] * 2]
    assert graphs.count("replayed") == 3


def test_it_can_be_switched_off(graphs, device, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    replay = Replay(after=2)
    for _ in range(3):
        replay(double, torch.ones(2, device=device))
    assert graphs == []


@pytest.mark.gpu
def test_what_cannot_be_captured_says_how_to_go_without():
    def waits(value: Tensor) -> tuple[Tensor]:
        return (value * value.sum().item(),)

    replay, value = Replay(after=2), torch.ones(3, device="cuda")
    replay(waits, value)
    stream = torch.cuda.current_stream()
    with pytest.raises(UserError, match=r"could not be captured .* set SAFT_CUDA_GRAPHS=0") as told:
        replay(waits, value)
    assert "\n" not in str(told.value)
    assert torch.cuda.current_stream() == stream
    assert torch.ones(2, device="cuda").sum().item() == 2


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("method", ["saft", "pmg_aft", "fare", "tecoa", "agft", "qt_aft"])
def test_training_ends_with_the_same_bits(
    method, precision, norm, clip_folder, graphs, device, monkeypatch
):
    chosen = recipe(
        method=method,
        precision=precision,
        learning_rate=1e-3,
        attack=ATTACK if norm == "linf" else recipe_l2(),
    )

    def train() -> tuple[Any, Any, forward_counts.Work]:
        run, seen = Run(clip_folder, chosen, device=device), forward_counts.Work()
        forward_counts.count(run.encoder, seen)
        return run.go(), run.weights(), seen

    plain, graphed = both(monkeypatch, train)
    assert graphs == ["captured", *["replayed"] * 5]  # batches 4 4 2, thrice; the first is plain
    assert graphed[0] == plain[0]
    assert all(value.equal(graphed[1][name]) for name, value in plain[1].items())
    assert graphed[2] == plain[2]
    assert plain[2].ascents == 2 * 30


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("method", ["saft", "fare", "lore", "agft"])
def test_training_on_augmented_images_ends_with_the_same_bits(
    method, precision, clip_folder, graphs, device, monkeypatch
):
    """What the attack asks of the base model is another tensor in every step."""
    chosen = recipe(method=method, precision=precision, learning_rate=1e-3, augmentation="crop")

    def train() -> tuple[Any, Any]:
        run = Run(clip_folder, chosen, device=device)
        return run.go(), run.weights()

    plain, graphed = both(monkeypatch, train)
    assert graphs == ["captured", *["replayed"] * 5]
    assert graphed[0] == plain[0]
    assert all(value.equal(graphed[1][name]) for name, value in plain[1].items())


def recipe_l2() -> Any:
    return type(ATTACK)("l2", epsilon_255=64, step_255=32, steps=2, momentum=0.9, random_start=True)


@pytest.mark.gpu
def test_training_in_tf32_ends_with_the_same_bits(clip_folder, graphs, device, monkeypatch):
    if device.type == "cpu" or torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs a card with TF32")
    chosen = recipe(precision="tf32", learning_rate=1e-3)
    plain, graphed = both(monkeypatch, lambda: Run(clip_folder, chosen, device=device).go())
    assert graphs.count("captured") == 1
    assert graphed == plain


def test_a_graph_sees_weights_that_were_changed_in_place(clip_folder, graphs, device):
    for precision in ("float32", "bf16"):
        run = Run(clip_folder, recipe(precision=precision), device=device)
        batch = make_batch(
            *read_pixels(run.inputs.pixels, 0, run.recipe), run.inputs.labels, device
        )
        kept = make_ascents(run.encoder, run.recipe)
        arguments = (run.encoder, run.objective, batch, 0, run.recipe)
        before = [perturb_batch(*arguments, kept) for _ in range(3)][-1]
        with torch.no_grad():
            for weight in run.encoder.visual.parameters():
                weight.mul_(-1)
        after = perturb_batch(*arguments, kept)
        fresh = perturb_batch(*arguments, make_ascents(run.encoder, run.recipe))
        assert torch.equal(after, fresh)
        assert not torch.equal(after, before)


def evaluated(
    classifier: ZeroShotClassifier,
    targets: Targets,
    name: str,
    device: torch.device,
    **changes: Any,
) -> Outcome:
    module, options = attack(name, steps=12, step_255=1.0)
    count = len(targets.labels)
    values: dict[str, Any] = {"batch_size": 9, "examples": np.arange(count), "device": device}
    return module.run(classifier, targets, options, settings(count, **values | changes))


def equal(first: Outcome, second: Outcome) -> bool:
    pairs = zip(first, second, strict=True)
    return all(
        np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b
        for a, b in pairs
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["pgd", "cw_linf", "semantic_ensemble", "apgd_ce", "apgd_dlr"])
@pytest.mark.parametrize("follows", [False, True])
def test_attacks_end_with_the_same_bits(name, norm, follows, graphs, device, monkeypatch):
    """30 images in 9 slots: they shrink as images fall, and the last batch is a partial one."""
    targets = make_targets(30, 5)
    classifier = on(fit(Net(), targets, captions=2), device)
    changes = {
        "norm": norm,
        "epsilon": 4 / 255 if norm == "linf" else 0.12,
        "follow": np.full(30, follows),
    }
    plain, graphed = both(
        monkeypatch, lambda: evaluated(classifier, targets, name, device, **changes)
    )
    assert equal(plain, graphed)
    assert "captured" in graphs
    assert 0 < (plain.fooled_at >= 0).sum() < 30


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_pgd_on_a_transformer_ends_with_the_same_bits(
    precision, clip_folder, graphs, device, monkeypatch
):
    encoder: Any = clip.image_encoder(clip.load(clip_folder))
    targets = make_targets(30, 5, size=encoder.image_size)
    classifier = on(fit(encoder, targets), device)
    if precision == "bf16":
        classifier.ascended = frozen_copy(classifier.encoder, "bf16", False)
    seen = forward_counts.Work()
    forward_counts.count(classifier.ascended or classifier.encoder, seen)

    def run() -> tuple[Outcome, forward_counts.Work]:
        seen.clear()
        outcome = evaluated(classifier, targets, "pgd", device, epsilon=1 / 255, guard_band=1e3)
        return outcome, forward_counts.Work(seen.plain, seen.ascents, seen.descents)

    plain, graphed = both(monkeypatch, run)
    assert equal(plain[0], graphed[0])
    assert plain[1] == graphed[1]
    assert "captured" in graphs
