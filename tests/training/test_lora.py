"""LoRA: what is trained, and what is saved."""

import copy

import pytest
import torch

from pipeline.clip import model as clip
from pipeline.training import checkpoint
from pipeline.training.lora import Lora, LowRank, add_lora, merge_lora
from tests.support.training_runs import Run, changed, recipe

LORA = Lora(rank=2, alpha=6.0)
MATRICES = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def matrices(block: int) -> set[str]:
    return {f"visual.transformer.resblocks.{block}.{name}" for name in MATRICES}


@pytest.mark.parametrize(
    ("blocks", "expected"), [(None, matrices(0) | matrices(1)), ("first 1", matrices(0))]
)
def test_the_matrices_of_the_blocks_alone_move_by_a_low_rank(clip_folder, blocks, expected):
    run = Run(clip_folder, recipe(lora=LORA, blocks=blocks))
    before = clip.load(clip_folder).model.state_dict()
    run.go()
    after = run.weights()
    assert after.keys() == before.keys()
    assert changed(before, after) == expected
    for name in expected:
        spectrum = torch.linalg.svdvals((after[name] - before[name]).double())
        assert (spectrum > 1e-3 * spectrum[0]).sum() <= LORA.rank


def test_the_difference_is_alpha_over_rank_times_the_product_of_the_factors(clip_folder):
    encoder = Run(clip_folder).encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = torch.rand(2, 3, 16, 16)
    features = encoder(images).embedding
    add_lora(encoder, LORA, None, seed=3)
    assert encoder(images).embedding.equal(features)
    attention = encoder.visual.transformer.resblocks[0].attn
    low_rank = attention.parametrizations.in_proj_weight[0]
    assert isinstance(low_rank, LowRank)
    with torch.no_grad():
        low_rank.up.normal_()
    moved = encoder(images).embedding
    product = low_rank.up.double() @ low_rank.down.double()
    merge_lora(encoder, 1.0)
    assert encoder(images).embedding.equal(moved)
    difference = attention.in_proj_weight - before[f"visual.{_PATH}"]
    torch.testing.assert_close(difference.double(), 3.0 * product, rtol=1e-4, atol=1e-6)


_PATH = "transformer.resblocks.0.attn.in_proj_weight"


def test_mixing_scales_the_difference_and_none_of_it_leaves_the_base_weights(clip_folder):
    after = {}
    for share in (0.0, 0.25, 1.0):
        run = Run(clip_folder, recipe(lora=LORA, mix_alpha=share))
        run.go()
        after[share] = run.weights()
    base = clip.load(clip_folder).model.state_dict()
    assert not changed(base, after[0.0])
    for name in matrices(0):
        expected = base[name] + 0.25 * (after[1.0][name] - base[name])
        torch.testing.assert_close(after[0.25][name], expected, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_ends_with_the_same_bits(clip_folder, tmp_path):
    chosen = recipe(lora=LORA, averaging=0.6, method="pmg_aft")
    whole, killed, resumed = (Run(clip_folder, chosen) for _ in range(3))
    rows = whole.go()
    killed.go(save=lambda state: checkpoint.save_state(tmp_path, state), every=4)
    assert resumed.go(checkpoint.load_state(tmp_path)) == rows[8:]
    assert not changed(whole.weights(), resumed.weights())


def test_another_seed_draws_other_factors(clip_folder):
    first, second, third = (copy.deepcopy(Run(clip_folder).encoder) for _ in range(3))
    for encoder, seed in ((first, 1), (second, 1), (third, 2)):
        add_lora(encoder, LORA, None, seed)
    drawn = [
        encoder.visual.transformer.resblocks[1].mlp.c_fc.parametrizations.weight[0].down
        for encoder in (first, second, third)
    ]
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_attack_sees_the_difference(clip_folder, precision):
    """In bf16 the ascents go through a copy that is refreshed from the encoder."""
    run = Run(clip_folder, recipe(lora=LORA, precision=precision))
    rows = run.go()
    assert len(rows) == run.recipe.epochs * 3
    assert changed(clip.load(clip_folder).model.state_dict(), run.weights())
