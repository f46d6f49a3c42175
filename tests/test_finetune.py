"""The training loop: order, schedule, resuming, and what stops it."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline import attack, checkpoint, clip
from pipeline.device import be_deterministic
from pipeline.errors import UserError
from pipeline.finetune import FinetuneParams, batch_indices, finetune, start_seed, total_steps
from pipeline.methods import Setup
from pipeline.methods.saft import Params, build
from pipeline.schedule import warmup_cosine

CPU = torch.device("cpu")
N, C, K = 10, 3, 2


def params(**changes) -> FinetuneParams:
    values = {
        "dataset": "x",
        "method": "saft",
        "options": {},
        "epsilon_255": 4,
        "step_255": 2,
        "attack_steps": 2,
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "warmup_steps": 2,
        "checkpoint_every": 2,
        "seed": 0,
    }
    return FinetuneParams.model_validate(values | changes)


class Run:
    """One run on a fresh copy of the tiny model."""

    def __init__(self, folder: Path, chosen: FinetuneParams) -> None:
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, size=(N, 3, 16, 16), dtype=np.uint8)
        self.labels = np.arange(N) % C
        texts = F.normalize(torch.from_numpy(rng.normal(size=(C, K, 16))).float(), dim=-1)
        self.model = clip.load(folder)
        self.encoder = clip.image_encoder(self.model)
        setup = Setup(self.encoder, texts, 20.0, self.pixels, self.labels, 4)
        self.objective = build(Params(attention_refinement=0.08, attention_constraint=0.05), setup)
        clip.train_only_image_encoder(self.model, self.encoder)
        self.params = chosen

    def go(self, state=None, checkpoint=lambda state: None) -> list[dict[str, float]]:
        parts = finetune(
            self.encoder, self.objective, self.pixels, self.labels,
            self.params, CPU, state, checkpoint,
        )  # fmt: skip
        return [row for part in parts for row in part]

    def weights(self) -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in self.model.model.state_dict().items()}


def test_every_epoch_visits_every_image_once_in_a_new_order():
    total = total_steps(N, params())
    assert total == 9
    orders = []
    for epoch in range(3):
        steps = [batch_indices(3 * epoch + s, N, 4, seed=0) for s in range(3)]
        assert [len(s) for s in steps] == [4, 4, 2]
        assert sorted(np.concatenate(steps).tolist()) == list(range(N))
        orders.append([s.tolist() for s in steps])
    assert orders[0] != orders[1]
    assert [s.tolist() for s in (batch_indices(i, N, 4, seed=0) for i in range(3))] == orders[0]
    assert [s.tolist() for s in (batch_indices(i, N, 4, seed=1) for i in range(3))] != orders[0]


def test_the_schedule_warms_up_linearly_and_ends_near_zero():
    assert [warmup_cosine(s, 4, 10) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert warmup_cosine(4, 4, 10) == 1.0
    assert warmup_cosine(7, 4, 10) == pytest.approx(0.5)
    assert warmup_cosine(10, 4, 10) == pytest.approx(0.0)
    assert warmup_cosine(0, 0, 10) == 1.0


def test_training_lowers_the_loss_and_moves_the_image_encoder_only(clip_folder):
    run = Run(clip_folder, params(epochs=10))
    before = run.weights()
    rows = run.go()
    assert [row["step"] for row in rows] == list(range(30))
    assert np.mean([r["loss"] for r in rows[-6:]]) < 0.8 * np.mean([r["loss"] for r in rows[:6]])
    changed = {k for k, v in run.weights().items() if not v.equal(before[k])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)


def test_a_resumed_run_ends_with_the_same_bits(clip_folder, tmp_path):
    whole = Run(clip_folder, params())
    expected = whole.go()

    class Killed(Exception):
        pass

    def save_then_die(state):
        checkpoint.save_state(tmp_path, state)
        if state["step"] == 4:
            raise Killed

    first = Run(clip_folder, params())
    with pytest.raises(Killed):
        first.go(checkpoint=save_then_die)
    second = Run(clip_folder, params())
    state = checkpoint.load_state(tmp_path, CPU)
    rows = second.go(state)
    assert rows == expected[4:]
    for name, value in second.weights().items():
        assert value.equal(whole.weights()[name]), name


def test_a_loss_that_is_not_finite_stops_with_advice(clip_folder):
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d+; lower finetune"):
        Run(clip_folder, params(learning_rate=1e12, epochs=9)).go()


def test_another_seed_gives_other_weights(clip_folder):
    first, second = Run(clip_folder, params()), Run(clip_folder, params(seed=1))
    assert first.go()[0]["loss"] != second.go()[0]["loss"]


def test_random_starts_follow_the_seed_even_where_torch_drops_high_bits():
    def start(seed: int, step: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(start_seed(seed, step))
        return attack.uniform_start(torch.full((1, 3, 4, 4), 0.5), 4 / 255, generator)

    assert torch.equal(start(0, 4), start(0, 4))
    assert not torch.equal(start(0, 4), start(1, 4))
    assert not torch.equal(start(0, 4), start(0, 5))


def test_log_rows_can_be_written(clip_folder, tmp_path):
    rows = Run(clip_folder, params(epochs=1)).go()
    with (tmp_path / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert list(rows[0])[:3] == ["step", "learning_rate", "loss"]


@pytest.mark.gpu
def test_cuda_repeats_itself_and_follows_the_cpu(clip_folder):
    device = torch.device("cuda")
    be_deterministic()

    def rows() -> list[dict[str, float]]:
        run = Run(clip_folder, params())
        run.encoder.to(device)
        run.objective.maps = run.objective.maps.to(device)
        run.objective.texts = run.objective.texts.to(device)
        run.objective.mean_text = run.objective.mean_text.to(device)
        run.objective.factor = run.objective.factor.to(device)
        parts = finetune(
            run.encoder, run.objective, run.pixels, run.labels,
            run.params, device, None, lambda state: None,
        )  # fmt: skip
        return [row for part in parts for row in part]

    first = rows()
    assert first == rows()
    # another generator draws other starts, so only the first clean accuracy is comparable
    assert first[0]["clean_accuracy"] == Run(clip_folder, params()).go()[0]["clean_accuracy"]
