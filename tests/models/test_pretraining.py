"""A small CLIP trained from scratch: its config, its captions, its loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP

from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.images.image_set import open_images
from pipeline.models.pretraining import (
    PretrainParams,
    class_captions,
    model_config,
    origin,
    pretrain,
)
from tests.support.project import DEMO

CPU = torch.device("cpu")


def params(**changes: Any) -> PretrainParams:
    """The demo's entry, for set "tiny" and a captions.json in the current folder."""
    small = {"dataset": "tiny", "width": 32, "layers": 1, "patch_size": 4, "text_width": 32}
    small |= {"text_layers": 1, "embed_dim": 16, "batch_size": 8, "captions": "captions.json"}
    return PretrainParams.model_validate(
        read_params(DEMO)["pretrain"]["small"] | small | {"steps": 3} | changes
    )


@pytest.fixture
def project(packed: Path) -> Path:
    (packed / "captions.json").write_text('{"n01": ["one of many", "another"]}')
    return packed


def test_the_config_is_one_that_open_clip_builds():
    config = model_config(params(width=64, text_width=96, context_length=20), image_size=24)
    model = CLIP(**config)
    assert model.visual.image_size == (24, 24)
    assert model.visual.grid_size == (6, 6)
    assert model.visual.transformer.width == 64
    assert model.transformer.resblocks[0].attn.num_heads == 3, "heads are 32 wide"
    assert model.positional_embedding.shape == (20, 96)


@pytest.mark.usefixtures("project")
def test_a_class_has_the_templates_its_images_captions_and_the_files_sentences():
    pools = class_captions(open_images("tiny"), params(templates=["a {}", "{}!"]))
    assert [list(pool) for pool in pools] == [
        ["a n00", "n00!"], ["a n01", "n01!", "one of many", "another"], ["a n02", "n02!"],
    ]  # fmt: skip


@pytest.mark.usefixtures("project")
def test_the_model_comes_back_trained_on_the_cpu_with_its_log():
    first, second, other = (pretrain("m", params(seed=seed), CPU) for seed in (0, 0, 1))
    assert [step for step, _ in first.log] == [0, 1, 2]
    assert all(np.isfinite(loss) for _, loss in first.log)
    assert not first.model.training
    states = [trained.model.state_dict() for trained in (first, second, other)]
    assert all(value.equal(states[1][name]) for name, value in states[0].items())
    assert not states[0]["visual.proj"].equal(states[2]["visual.proj"])
    assert first.config["model_cfg"] == model_config(params(), 16)


@pytest.mark.usefixtures("project")
def test_the_loss_falls():
    losses = [loss for _, loss in pretrain("m", params(steps=40, warmup_steps=0), CPU).log]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.05


@pytest.mark.usefixtures("project")
def test_what_cannot_be_trained_is_named_with_its_entry():
    with pytest.raises(UserError, match=r"pretrain\.m: patches of 5 pixels do not tile images of"):
        pretrain("m", params(patch_size=5), CPU)
    with pytest.raises(UserError, match=r"pretrain\.m: the loss is nan at step \d; lower its lear"):
        pretrain("m", params(learning_rate=1e6, warmup_steps=0), CPU)


def test_a_model_card_says_size_and_training():
    assert origin(params(steps=7)) == (
        "a small CLIP trained from scratch on image set `tiny` (7 steps of 8 image-text pairs)"
    )
