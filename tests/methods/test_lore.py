"""What LORE learns beside the encoder: the multiplier of each image."""

import torch

from pipeline.methods.lore import multiplier_network
from pipeline.training.batches import make_batch
from tests.support.training_runs import CPU, N, Run, recipe


def multipliers(run: Run) -> torch.Tensor:
    numbers = torch.arange(N).numpy()
    batch = make_batch(numbers, run.inputs.pixels, run.inputs.labels, CPU)
    return run.objective._multipliers(batch).detach()


def trained(clip_folder, rho: float, **changes) -> Run:
    options = {"rho": rho, "multiplier_learning_rate": 0.05, "steps_per_multiplier_step": 1}
    chosen = recipe(
        method="lore", learning_rate=1e-3, warmup_steps=0, optimiser="adamw", options=options,
        epochs=8, **changes,
    )  # fmt: skip
    run = Run(clip_folder, chosen)
    run.rows = run.go()
    return run


def test_multipliers_rise_where_the_bound_is_broken_and_fall_where_it_is_kept(clip_folder):
    start = multipliers(Run(clip_folder, recipe(method="lore")))
    assert (start > 0).all()
    assert (multipliers(trained(clip_folder, rho=0.0)) > start).all()
    assert (multipliers(trained(clip_folder, rho=1e6)) < start).all()


def test_a_tight_bound_holds_the_clean_images_nearer_to_the_base_model(clip_folder):
    tight, loose = (trained(clip_folder, rho).rows for rho in (0.0, 1e6))
    assert tight[-1]["drift"] < 0.7 * loose[-1]["drift"]


def test_the_network_takes_one_step_after_every_k_of_the_encoder(clip_folder):
    options = {"steps_per_multiplier_step": 4}
    chosen = recipe(method="lore", learning_rate=1e-4, options=options)
    run, steps = Run(clip_folder, chosen), []
    step = run.objective.optimiser.step
    run.objective.optimiser.step = lambda: steps.append(step())
    rows = run.go()
    assert len(rows) == 9  # 3 epochs of 10 images in batches of 4
    assert len(steps) == 2


def test_the_network_starts_from_the_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = multiplier_network(8, seed=1), multiplier_network(8, seed=1)
    other = multiplier_network(8, seed=2)
    assert torch.random.get_rng_state().equal(before)
    assert first[0].weight.equal(second[0].weight)
    assert not first[0].weight.equal(other[0].weight)
