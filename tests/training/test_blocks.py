"""Training a part of the image encoder."""

import pytest

from pipeline.common.errors import UserError
from pipeline.training.blocks import block_range, too_many
from tests.support.training_runs import Run, changed, recipe

BEFORE = ("visual.conv1.", "visual.ln_pre.", "visual.class_emb", "visual.positional_emb")
FIRST, SECOND = (f"visual.transformer.resblocks.{i}." for i in range(2))
AFTER = ("visual.ln_post.", "visual.proj")


@pytest.mark.parametrize(
    ("blocks", "part"),
    [
        ("last 1", (SECOND, *AFTER)),
        ("2-2", (SECOND, *AFTER)),
        ("first 1", (*BEFORE, FIRST)),
        ("1-1", (*BEFORE, FIRST)),
        ("first 2", ("visual.",)),
        (None, ("visual.",)),
    ],
)
def test_only_the_named_part_is_trained(clip_folder, blocks, part):
    run = Run(clip_folder, recipe(blocks=blocks))
    before = run.weights()
    run.go()
    expected = {name for name in before if name.startswith(part)}
    names = changed(before, run.weights())
    assert names <= expected
    # the bias of keys has no effect on attention; every other weight moves
    assert all(name.endswith("attn.in_proj_bias") for name in expected - names)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        (None, range(12)),
        ("first 3", range(3)),
        ("last 3", range(9, 12)),
        ("4-6", range(3, 6)),
        ("12-12", range(11, 12)),
        ("last 99", range(12)),
        ("10-99", range(9, 12)),
    ],
)
def test_blocks_are_counted_from_1(blocks, expected):
    assert block_range(blocks, 12) == expected


def test_more_blocks_than_there_are_is_an_error(clip_folder):
    for blocks in ("last 3", "first 3", "2-3", "3-3"):
        message = f"params.yaml: finetune.blocks is '{blocks}', the image encoder has 2 blocks"
        with pytest.raises(UserError, match=message):
            Run(clip_folder, recipe(blocks=blocks))
    assert all(too_many(blocks, 2) is None for blocks in ("last 2", "first 2", "1-2", None))
