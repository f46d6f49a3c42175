"""Towers identified by what they compute with."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.clip import model as clip
from pipeline.clip.model import Clip
from pipeline.clip.towers import image_tower_hash, text_tower_hash


@pytest.fixture(scope="module")
def loaded(clip_folder: Path) -> Clip:
    return clip.load(clip_folder)


def moved(name: str) -> Callable[[Clip], None]:
    """One number of a weight is another one."""

    def change(model: Clip) -> None:
        with torch.no_grad():
            model.model.state_dict()[name].view(-1)[0] += 1e-3

    return change


def configured(section: str, **values: Any) -> Callable[[Clip], None]:
    return lambda model: model.config[section].update(values)


def hashes(model: Clip) -> tuple[str, str]:
    return image_tower_hash(model), text_tower_hash(model)


def test_the_same_folder_has_the_same_towers(loaded, clip_folder, tmp_path):
    clip.save(loaded.model, loaded.config, tmp_path / "copy")
    assert hashes(clip.load(tmp_path / "copy")) == hashes(loaded) == hashes(clip.load(clip_folder))
    image, text = hashes(loaded)
    assert image != text
    assert len(image) == len(text) == 64


@pytest.mark.parametrize(
    ("change", "image", "text"),
    [
        (moved("visual.proj"), True, False),
        (moved("visual.conv1.weight"), True, False),
        (moved("token_embedding.weight"), False, True),
        (moved("positional_embedding"), False, True),
        (moved("ln_final.bias"), False, True),
        (moved("text_projection"), False, True),
        (moved("logit_scale"), False, False),
        (configured("model_cfg", quick_gelu=True), True, True),
        (configured("model_cfg", quick_gelu=False), False, False),
        (configured("model_cfg", text_cfg={"heads": 4}), False, True),
        (configured("model_cfg", vision_cfg={"head_width": 8}), True, False),
        (configured("preprocess_cfg", mean=[0.5, 0.5, 0.5]), True, False),
    ],
)
def test_a_tower_changes_with_what_it_computes_with_alone(loaded, change, image, text):
    other = copy.deepcopy(loaded)
    change(other)
    before, after = hashes(loaded), hashes(other)
    assert (before[0] != after[0], before[1] != after[1]) == (image, text)


def test_a_shorter_context_is_another_text_tower(loaded):
    other = copy.deepcopy(loaded)
    other.tokenize.context_length = 8
    assert text_tower_hash(other) != text_tower_hash(loaded)
    assert image_tower_hash(other) == image_tower_hash(loaded)


def test_a_default_that_a_config_spells_out_changes_no_tower(loaded):
    other = copy.deepcopy(loaded)
    for section in ("text_cfg", "vision_cfg"):
        assert "mlp_ratio" not in other.config["model_cfg"][section]
        other.config["model_cfg"][section]["mlp_ratio"] = 4.0
    assert hashes(other) == hashes(loaded)
    other.config["model_cfg"]["text_cfg"]["mlp_ratio"] = 2.0
    assert hashes(other)[1] != hashes(loaded)[1]
