"""A model is tested as it is loaded: its weights and its normalisation."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.clip import model as clip
from pipeline.clip.config import CONFIG_FILE
from pipeline.clip.text_encoding import encode_texts
from pipeline.common.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def folder(clip_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clip_folder, tmp_path / "m")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_weight_that_is_none_is_found_in_any_precision(
    clip_folder: Path, value: float, device: torch.device
) -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        model = copy.deepcopy(clip.load(clip_folder).model).to(device, dtype)
        clip.check_finite(model, "x")
        with torch.no_grad():
            model.token_embedding.weight[-1, -1] = value
        with pytest.raises(UserError, match="^f: 1 weights .* token_embedding.weight; do that$"):
            clip.check_finite(model, "do that", "f: ")


def test_opposite_infinities_are_found_and_a_sum_that_overflows_is_no_fault() -> None:
    layer = torch.nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.fill_(3e38)
    clip.check_finite(layer, "x")
    with torch.no_grad():
        layer.weight[0, 0], layer.weight[1, 1] = torch.inf, -torch.inf
    with pytest.raises(UserError, match="1 weights are not finite, e.g. weight; x"):
        clip.check_finite(layer, "x")


@pytest.mark.parametrize(
    ("key", "values"),
    [("std", [0, 1, 1]), ("std", [1, -1, 1]), ("std", [float("nan"), 1, 1]), ("std", [1, 1]),
     ("std", [True, 1, 1]), ("mean", [float("inf"), 0, 0]), ("mean", [0, 0, "0"])],
)  # fmt: skip
def test_a_normalisation_that_divides_by_nothing_is_neither_read_nor_written(
    folder: Path, tmp_path: Path, key: str, values: list[object]
) -> None:
    loaded, path = clip.load(folder), folder / CONFIG_FILE
    config = json.loads(path.read_text())
    config["preprocess_cfg"][key] = values
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"m/open_clip_config.json: .*preprocess_cfg.{key} must"):
        clip.load(folder)
    with pytest.raises(UserError, match=rf"^{CONFIG_FILE}: .*preprocess_cfg.{key} must"):
        clip.save(loaded.model, config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_text_tower_without_directions_is_named_with_the_text(folder: Path) -> None:
    loaded = clip.load(folder)
    with torch.no_grad():
        loaded.model.text_projection.zero_()
    with pytest.raises(UserError, match=r"/m: the feature of text 'a cup' is zero \(1 of 1 rows"):
        encode_texts(loaded, ["a cup"], CPU)
