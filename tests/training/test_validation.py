"""Accuracy on a validation set while training: its numbers, and what follows from them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.training import checkpoint
from pipeline.training.early_stopping import Monitor
from pipeline.training.lora import Lora
from pipeline.training.saved_weights import SavedWeights
from pipeline.training.training_attack import start_seed
from pipeline.training.validation import CLEAN, ROBUST
from pipeline.training.validation_outcome import summary, told
from tests.support.training_runs import (
    N,
    Run,
    changed,
    kill,
    recipe,
    validation,
    validation_images,
)

OPTIONS = [
    {},
    {"averaging": 0.6},
    {"mix_alpha": 0.4, "averaging": 0.5},
    {"lora": Lora(2, 4.0), "mix_alpha": 0.5},
    {"method": "ft_clean", "attack": None},
    {"method": "lore", "learning_rate": 1e-4},
]
IDS = ["plain", "averaging", "mixing", "lora", "no-attack", "lore"]


def script(run: Run, robust: list[float]) -> None:
    """Let the validator of a run measure these values, one after another."""
    values = iter(robust)
    run.validator.measure = lambda: {CLEAN: 1.0, ROBUST: next(values)}


def recomputed(run: Run) -> dict[str, float]:
    """The accuracies of a run's present weights, by plain PGD on each batch of four images."""
    images, chosen = validation_images(), run.recipe.validation
    epsilon, step = chosen.epsilon_255 / 255, chosen.step_255 / 255
    right = {CLEAN: 0, ROBUST: 0}
    for number, start in enumerate(range(0, len(images.numbers), run.recipe.batch_size)):
        index = images.numbers[start : start + run.recipe.batch_size]
        pixels = torch.from_numpy(images.pixels[index]).float() / 255
        labels = torch.from_numpy(images.labels[index])

        def logits(x):
            features = F.normalize(run.encoder(x).embedding, dim=-1)
            return run.inputs.scale * features @ run.inputs.template.T

        generator = torch.Generator().manual_seed(start_seed(run.recipe.seed, number))
        noise = torch.empty_like(pixels).uniform_(-epsilon, epsilon, generator=generator)
        moved = (pixels + noise).clamp(0, 1)
        for _ in range(chosen.steps):
            moved.requires_grad_()
            loss = F.cross_entropy(logits(moved), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            ball = (moved.detach() + step * gradient.sign() - pixels).clamp(-epsilon, epsilon)
            moved = (pixels + ball).clamp(0, 1)
        clean = logits(pixels).argmax(1) == labels
        right[CLEAN] += int(clean.sum())
        right[ROBUST] += int((clean & (logits(moved).argmax(1) == labels)).sum())
    return {name: count / len(images.numbers) for name, count in right.items()}


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
def test_the_last_values_are_those_of_the_saved_weights(clip_folder, options):
    """With averaging, mixing and low-rank adaptation: of what is made of the trained ones."""
    run = Run(clip_folder, recipe(validation=validation(steps=3), **options))
    last = run.go()[-1]
    expected = recomputed(run)
    assert {name: last[name] for name in expected} == pytest.approx(expected)
    assert 0 < expected[CLEAN] < 1, "the comparison can fail"


def test_the_attack_moves_the_robust_accuracy(clip_folder):
    strong = validation(steps=10, epsilon_255=64, step_255=16)
    rows = Run(clip_folder, recipe(validation=strong)).go()
    measured = [row for row in rows if ROBUST in row]
    assert all(row[ROBUST] <= row[CLEAN] for row in measured)
    assert sum(row[ROBUST] for row in measured) < 0.8 * sum(row[CLEAN] for row in measured)


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
def test_validation_changes_no_weight_and_no_other_column(clip_folder, options):
    without = Run(clip_folder, recipe(**options))
    validated = Run(clip_folder, recipe(validation=validation(), **options))
    expected, rows = without.go(), validated.go()
    assert not changed(without.weights(), validated.weights())
    measured = [int(row["step"]) for row in rows if ROBUST in row]
    assert measured == [1, 3, 5, 7, 8], "every two steps, and after the last"
    assert [{k: v for k, v in row.items() if k not in (CLEAN, ROBUST)} for row in rows] == expected


def test_the_values_do_not_depend_on_how_often_it_was_measured(clip_folder):
    often = Run(clip_folder, recipe(validation=validation(every=1))).go()
    seldom = Run(clip_folder, recipe(validation=validation(every=4))).go()
    for row in (row for row in seldom if ROBUST in row):
        assert row == often[int(row["step"])]


def test_training_stops_once_nothing_better_came_for_long_enough(clip_folder):
    chosen = recipe(validation=validation(every=1, patience=2))
    run, whole = Run(clip_folder, chosen), Run(clip_folder, recipe())
    script(run, [0.3, 0.2, 0.4, 0.4, 0.1, 0.9])  # an equal value is no better one
    rows, expected = run.go(), whole.go()
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["learning_rate"] for row in rows] == [row["learning_rate"] for row in expected[:5]]
    assert told(rows, N, chosen) == {"best_step": 2, "saved_step": 4, "planned_steps": 9}
    line = summary(rows, N, chosen)
    assert "robust 40.0 % at best, after 3 of 9 steps; the last weights are saved; " in line
    assert "; stopped after 5 of 9 steps, 2 validations since the warm-up without a better" in line


@pytest.mark.parametrize(("warmup", "steps"), [(0, 3), (2, 3), (4, 5), (9, 9), (20, 9)])
def test_a_validation_within_the_warm_up_does_not_count_against_patience(
    clip_folder, warmup, steps
):
    """The best of all is measured there, and is kept."""
    chosen = validation(every=1, patience=2, keep_best=True)
    run = Run(clip_folder, recipe(validation=chosen, warmup_steps=warmup))
    script(run, [0.9] + [0.1] * 8)
    rows = run.go()
    assert len(rows) == steps
    assert told(rows, N, run.recipe)["saved_step"] == 0


def test_without_patience_training_goes_on(clip_folder):
    run = Run(clip_folder, recipe(validation=validation(every=1)))
    script(run, [0.5] * 9)
    assert len(run.go()) == 9


@pytest.mark.parametrize("options", OPTIONS[:4], ids=IDS[:4])
def test_the_best_weights_are_what_a_training_of_so_many_steps_saves(clip_folder, options):
    """That training ends because its patience is at an end, right there."""
    best = Run(clip_folder, recipe(validation=validation(every=1, keep_best=True), **options))
    script(best, [0.1, 0.2, 0.3, 0.6, 0.5, 0.6, 0.1, 0.2, 0.3])
    stopped = Run(clip_folder, recipe(validation=validation(every=1, patience=3), **options))
    script(stopped, [0.9, 0.2, 0.3, 0.6])
    last = Run(clip_folder, recipe(**options))
    rows, until = best.go(), stopped.go()
    last.go()
    assert len(until) == 4
    assert len(rows) == 9
    assert told(rows, N, best.recipe)["saved_step"] == 3
    assert changed(best.weights(), last.weights())
    for name, value in stopped.weights().items():
        torch.testing.assert_close(best.weights()[name], value, rtol=1e-6, atol=1e-7)


def test_better_weights_overwrite_the_best_ones_where_they_lie(clip_folder):
    run = Run(clip_folder, recipe(validation=validation(every=1, keep_best=True)))
    saved = SavedWeights(run.encoder, run.recipe)
    monitor = Monitor(run.validator, saved, 9)
    script(run, [0.1, 0.2])
    monitor.after_step(0)
    kept, addresses = monitor.kept, [w.data_ptr() for w in monitor.kept]
    with torch.no_grad():
        for weight in saved.trained:
            weight += 0.1
    assert not all(map(torch.equal, kept, saved.trained))
    monitor.after_step(1)
    assert all(map(torch.equal, monitor.kept, saved.trained))
    assert [w.data_ptr() for w in monitor.kept] == addresses


@pytest.mark.parametrize("options", OPTIONS[:4], ids=IDS[:4])
@pytest.mark.parametrize("patience", [None, 3])
def test_a_resumed_run_stops_and_keeps_as_one_that_was_not_killed(
    clip_folder, tmp_path, options, patience
):
    chosen = recipe(validation=validation(every=1, keep_best=True, patience=patience), **options)
    values = [0.1, 0.7, 0.3, 0.6, 0.5, 0.6, 0.1, 0.2, 0.3]
    whole, first, second = (Run(clip_folder, chosen) for _ in range(3))
    script(whole, values)
    script(first, values)
    script(second, values[4:])
    expected = whole.go()
    assert len(expected) == (9 if patience is None else 5)
    kill(lambda save: first.go(save=save), tmp_path, 4)
    assert second.go(checkpoint.load_state(tmp_path)) == expected[4:]
    assert not changed(whole.weights(), second.weights())


@pytest.mark.parametrize("forgotten", ["best", "since", "kept"])
def test_every_part_of_the_state_counts(clip_folder, forgotten):
    """The comparison above can fail."""
    chosen = recipe(validation=validation(every=1, keep_best=True, patience=3))
    run = Run(clip_folder, chosen)
    saved = SavedWeights(run.encoder, chosen)
    monitor, other = (Monitor(run.validator, saved, 9) for _ in range(2))
    script(run, [0.5, 0.2, 0.1])
    for step in range(3):
        monitor.after_step(step)
    state = monitor.state()
    fresh = other.state()
    other.restore(state | {forgotten: fresh[forgotten]})
    script(run, [0.3])
    other.after_step(3)
    assert not (other.stops and other.best_step == 0 and other.kept)


@pytest.mark.parametrize("options", OPTIONS[1:4], ids=IDS[1:4])
def test_measuring_leaves_the_trained_weights_as_they_were(clip_folder, options):
    run = Run(clip_folder, recipe(validation=validation(), **options))
    saved = SavedWeights(run.encoder, run.recipe)
    with torch.no_grad():
        for weight in saved.trained:
            weight += 0.1
    before, places = [w.clone() for w in saved.trained], [w.data_ptr() for w in saved.trained]
    with saved.in_place():
        assert not all(map(torch.equal, before, saved.trained))
    assert all(map(torch.equal, before, saved.trained))
    assert [w.data_ptr() for w in saved.trained] == places


def test_compiled_blocks_train_to_the_same_bits(clip_folder):
    compiled = {"compile": True, "epochs": 1, "method": "tecoa"}
    without, validated = (
        Run(clip_folder, recipe(validation=chosen, **compiled)) for chosen in (None, validation())
    )
    without.go()
    rows = validated.go()
    assert not changed(without.weights(), validated.weights())
    assert np.isfinite(rows[-1][ROBUST])
