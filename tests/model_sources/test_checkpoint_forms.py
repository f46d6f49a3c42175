"""A robust image encoder put into a CLIP by name: its activation, its precision."""

import math
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU

from pipeline.clip import model as clip
from pipeline.model_sources import checkpoint
from tests.conftest import MODEL_CFG
from tests.support.training_runs import Run, recipe


def build(file: Path, model: str, tag: str | None):
    values = {"file": str(file), "model": model, "tag": tag, "cache_dir": None}
    return checkpoint.build(checkpoint.Params.model_validate(values))


@pytest.mark.parametrize(("tag", "activation"), [("openai", QuickGELU), ("laion", torch.nn.GELU)])
def test_the_activation_follows_the_tag_and_not_the_name(
    clip_folder, tmp_path, monkeypatch, tag, activation
) -> None:
    """`ViT-B-32` with tag `openai`, as people write it, is a name without "-quickgelu"."""
    weights = {"file": str(clip_folder / clip.WEIGHTS_FILE)}
    tags = {"openai": weights | {"quick_gelu": True}, "laion": weights}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", MODEL_CFG)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", tags)
    visual = clip.load(clip_folder).model.visual.state_dict()
    torch.save({key: -value for key, value in visual.items()}, tmp_path / "robust.pt")
    built = build(tmp_path / "robust.pt", "Tiny", tag)
    activations = {type(m) for m in built.model.modules() if "GELU" in type(m).__name__}
    assert activations == {activation}
    assert built.config["model_cfg"]["quick_gelu"] is (tag == "openai")
    clip.save(built.model, built.config, tmp_path / "saved")
    again = clip.load(tmp_path / "saved").model
    assert {type(m) for m in again.modules() if "GELU" in type(m).__name__} == {activation}
    assert torch.equal(again.visual.proj, -visual["proj"])


def test_a_half_precision_checkpoint_trains_in_float32_and_stays_finite(
    clip_folder, tmp_path
) -> None:
    visual = clip.load(clip_folder).model.visual.state_dict()
    torch.save({key: value.half() for key, value in visual.items()}, tmp_path / "robust.pt")
    built = build(tmp_path / "robust.pt", f"local-dir:{clip_folder}", None)
    clip.save(built.model, built.config, tmp_path / "base")
    run = Run(tmp_path / "base", recipe(epochs=1, batch_size=10, warmup_steps=0))
    assert {value.dtype for value in run.weights().values()} == {torch.float32}
    before = run.weights()
    rows = run.go()
    assert len(rows) == 1, "one step"
    assert all(math.isfinite(value) for value in rows[0].values())
    after = run.weights()
    assert all(value.isfinite().all() for value in after.values())
    assert not after["visual.proj"].equal(before["visual.proj"])
