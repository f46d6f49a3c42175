"""The training loop: schedule, resuming, what is trained, and what stops it."""

import csv
import math

import numpy as np
import pytest
import torch

from pipeline.clip.device import enable_determinism
from pipeline.clip.schedule import warmup_cosine
from pipeline.common.errors import UserError
from pipeline.training import checkpoint, weights
from pipeline.training.batches import batch_indices
from pipeline.training.loop import Resume, finetune
from pipeline.training.objective import FixedObjective
from pipeline.training.step import make_optimiser
from tests.support.training_runs import N, Run, changed, kill, objective_of, recipe


def test_the_schedule_warms_up_linearly_and_ends_near_zero():
    assert [warmup_cosine(s, 4, 10) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert warmup_cosine(4, 4, 10) == 1.0
    assert warmup_cosine(7, 4, 10) == pytest.approx(0.5)
    assert warmup_cosine(10, 4, 10) == pytest.approx(0.0)
    assert warmup_cosine(0, 0, 10) == 1.0


def test_training_lowers_the_loss_and_moves_the_image_encoder_only(clip_folder):
    run = Run(clip_folder, recipe(epochs=10))
    before = run.weights()
    rows = run.go()
    assert [row["step"] for row in rows] == list(range(30))
    assert np.mean([r["loss"] for r in rows[-6:]]) < 0.8 * np.mean([r["loss"] for r in rows[:6]])
    names = changed(before, run.weights())
    assert names
    assert all(name.startswith("visual.") for name in names)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimiser": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1},
        {"averaging": 0.7},
        {"mix_alpha": 0.3, "blocks": "last 1", "gradient_clip": 0.5},
        {"method": "pmg_aft", "optimiser": "adamw", "averaging": 0.5, "mix_alpha": 0.8},
        {"method": "fare", "learning_rate": 1e-3},
        {"method": "ft_clean", "attack": None},
    ],
    ids=["sgd", "adamw", "averaging", "mixing", "together", "fare", "no-attack"],
)
def test_a_resumed_run_ends_with_the_same_bits(clip_folder, tmp_path, changes):
    whole = Run(clip_folder, recipe(**changes))
    expected = whole.go()

    first = Run(clip_folder, recipe(**changes))
    kill(lambda save: first.go(save=save), tmp_path, 4)
    second = Run(clip_folder, recipe(**changes))
    assert changed(second.weights(), whole.weights())
    rows = second.go(checkpoint.load_state(tmp_path))
    assert rows == expected[4:]
    assert not changed(second.weights(), whole.weights())


@pytest.mark.parametrize("forgotten", ["optimiser", "average", "objective"])
def test_every_part_of_the_state_counts(clip_folder, tmp_path, forgotten):
    """The comparison above can fail."""
    chosen = recipe(averaging=0.7, method="lore", learning_rate=1e-4)
    whole, first, second = (Run(clip_folder, chosen) for _ in range(3))
    whole.go()
    states = []
    first.go(save=lambda state: states.append(checkpoint.save_state(tmp_path, state)), every=4)
    state = checkpoint.load_state(tmp_path)
    if forgotten == "objective":
        state["objective"] = second.objective.state()
    elif forgotten == "average":
        state["average"] = [torch.zeros_like(value) for value in state["average"]]
    else:
        state["optimiser"]["state"] = {}
    second.go(state)
    assert changed(second.weights(), whole.weights())


def test_mixing_with_0_gives_the_base_weights_and_with_1_the_tuned(clip_folder):
    base = Run(clip_folder).weights()
    mixed = {}
    for alpha in (0.0, 0.25, 1.0):
        run = Run(clip_folder, recipe(mix_alpha=alpha))
        run.go()
        mixed[alpha] = run.weights()
    tuned = Run(clip_folder)
    tuned.go()
    assert not changed(base, mixed[0.0])
    assert not changed(tuned.weights(), mixed[1.0])
    assert changed(base, mixed[1.0])
    for name, value in mixed[0.25].items():
        expected = 0.75 * base[name].double() + 0.25 * mixed[1.0][name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7)


def test_mixing_keeps_the_sign_of_zero():
    tuned, base = [torch.tensor([1.0, 2.0])], [torch.tensor([-0.0, 3.0])]
    weights.mix_(tuned, base, 0.0)
    assert torch.equal(torch.signbit(tuned[0]), torch.tensor([True, False]))


def test_a_clipped_gradient_is_no_longer_than_allowed(clip_folder):
    """One step of plain SGD moves the weights by the rate times the gradient."""
    moves = {}
    for limit in (None, 0.01, 1e6):
        run = Run(
            clip_folder,
            recipe(epochs=1, batch_size=N, momentum=0, warmup_steps=0, gradient_clip=limit),
        )
        before = weights.copies(weights.trained(run.encoder))
        run.go()
        after = weights.trained(run.encoder)
        steps = [(a.detach() - b).double() for a, b in zip(after, before, strict=True)]
        moves[limit] = torch.cat([step.flatten() for step in steps]) / 0.05
    assert moves[0.01].norm().item() == pytest.approx(0.01, rel=1e-3)
    assert moves[None].norm() > 1
    assert torch.equal(moves[None], moves[1e6])
    assert torch.cosine_similarity(moves[None], moves[0.01], dim=0) > 0.999


def test_averaging_is_the_moving_average_of_the_weights(clip_folder):
    decay, seen = 0.6, []
    plain = Run(clip_folder, recipe())
    expected = {k: v.double() for k, v in plain.encoder.state_dict().items()}
    plain.go(save=lambda state: seen.append({k: v.clone() for k, v in state["encoder"].items()}),
             every=1)  # fmt: skip
    for state in [*seen, plain.encoder.state_dict()]:
        for name, value in state.items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
    averaged = Run(clip_folder, recipe(averaging=decay))
    averaged.go()
    assert len(seen) == 8
    for name, value in averaged.encoder.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert changed(plain.weights(), averaged.weights())


class Poisoned(FixedObjective):
    """An objective whose loss, or whose gradient alone, is `value` from the given call on."""

    def __init__(self, objective, step: int, value: float, where: str) -> None:
        self.objective, self.attack_loss = objective, objective.attack_loss
        self.left, self.value, self.where = step, value, where

    def losses(self, encoder, images, batch):
        scalars = self.objective.losses(encoder, images, batch)
        if self.left == 0 and self.where == "loss":
            scalars["loss"] = scalars["loss"] * self.value
        if self.left == 0 and self.where == "gradient":
            scalars["loss"].register_hook(lambda gradient: gradient * self.value)
        self.left -= 1
        return scalars


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{}, {"gradient_clip": 1.0}, {"averaging": 0.5}])
def test_what_is_not_finite_stops_before_the_weights_move(
    clip_folder, tmp_path, where, value, options
):
    healthy, run = (Run(clip_folder, recipe(**options)) for _ in range(2))
    states = []
    healthy.go(save=lambda s: states.append({k: v.clone() for k, v in s["encoder"].items()}))
    run.objective = Poisoned(run.objective, 4, value, where)
    name = "loss" if where == "loss" else "gradient's norm"
    numbers = ", ".join(map(str, batch_indices(4, N, 4, seed=0)))
    message = rf"the {name} is (nan|inf) at step 4 \(images {numbers} of x\); lower finetune"
    with pytest.raises(UserError, match=message) as caught:
        run.go(save=lambda state: checkpoint.save_state(tmp_path, state))
    assert "finetune.options.saft.learning_rate" in str(caught.value)
    assert "\n" not in str(caught.value)
    last = checkpoint.load_state(tmp_path)
    assert last["step"] == 4
    assert not changed(states[1], last["encoder"])
    assert not changed(states[1], run.encoder.state_dict())


def test_long_batches_are_not_listed_whole(clip_folder):
    run = Run(clip_folder, recipe(batch_size=20))
    run.inputs = run.inputs._replace(
        pixels=np.repeat(run.inputs.pixels, 2, 0), labels=np.repeat(run.inputs.labels, 2)
    )
    run.objective = objective_of("tecoa", run.inputs)
    run.objective = Poisoned(run.objective, 0, math.nan, "loss")
    with pytest.raises(UserError, match=r"\(images 0, 1, .*, 15 and 4 more of x\); lower"):
        run.go()


def test_weights_that_a_step_spoiled_are_not_saved(clip_folder):
    run, saved = Run(clip_folder, recipe(learning_rate=1e38, warmup_steps=0)), []
    run.objective = Poisoned(run.objective, 0, 1e3, "gradient")  # finite, unlike the step
    with pytest.raises(UserError, match="weights are not finite.*; lower finetune.options.saft"):
        run.go(save=saved.append, every=1)
    assert not saved


def test_another_seed_gives_other_weights(clip_folder):
    first, second = Run(clip_folder, recipe()), Run(clip_folder, recipe(seed=1))
    assert first.go()[0]["loss"] != second.go()[0]["loss"]


def test_log_rows_can_be_written(clip_folder, tmp_path):
    rows = Run(clip_folder, recipe(epochs=1)).go()
    with (tmp_path / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert list(rows[0])[:3] == ["step", "learning_rate", "loss"]


def test_the_optimisers_get_every_value_of_the_recipe():
    weight = [torch.nn.Parameter(torch.ones(2))]
    sgd = make_optimiser(weight, recipe(momentum=0.8, weight_decay=0.3))
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.8, 0.3)
    adamw = make_optimiser(weight, recipe(optimiser="adamw", momentum=0.8, weight_decay=0.3))
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.defaults["betas"], adamw.defaults["weight_decay"]) == ((0.8, 0.999), 0.3)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["saft", "pmg_aft", "fare"])
def test_cuda_repeats_itself_and_starts_where_the_cpu_does(clip_folder, method):
    device = torch.device("cuda")
    enable_determinism()

    def rows() -> list[dict[str, float]]:
        run = Run(clip_folder, recipe(method=method, learning_rate=1e-3))
        run.encoder.to(device)
        inputs = run.inputs._replace(
            texts=run.inputs.texts.to(device), template=run.inputs.template.to(device)
        )
        parts = finetune(
            run.encoder, objective_of(method, inputs), inputs.pixels, inputs.labels,
            run.recipe, device, Resume(None, lambda state: None, lambda step: False),
        )  # fmt: skip
        return [row for part in parts for row in part]

    first = rows()
    assert first == rows()
    # another generator draws other starts, so only the first clean accuracy is comparable
    if "clean_accuracy" in first[0]:
        on_cpu = Run(clip_folder, recipe(method=method, learning_rate=1e-3)).go()
        assert first[0]["clean_accuracy"] == on_cpu[0]["clean_accuracy"]
