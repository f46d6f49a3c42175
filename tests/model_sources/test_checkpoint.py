"""Robust checkpoints of others as base model: what is accepted, and what is never accepted."""

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.clip import model as clip
from pipeline.clip.about import read_about
from pipeline.clip.folders import clip_folder as folder_of
from pipeline.clip.folders import record_folder
from pipeline.common.errors import UserError
from pipeline.model_sources import checkpoint
from stages import model as model_stage
from tests.support.clip_layouts import prefixed
from tests.support.tiny_project import write_params

ROBUST = folder_of("robust")


@pytest.fixture(autouse=True)
def data_root(clip_folder, tmp_path, monkeypatch) -> Path:
    """The data root, with the CLIP that every checkpoint here belongs to; the current folder,
    too, for the project's params.yaml may name another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFT_DATA", str(tmp_path))
    (tmp_path / "clip").symlink_to(clip_folder)
    return tmp_path


def build(file: str = "robust.pt", model: str = "local-dir:clip", tag: str | None = None):
    values = {"file": file, "model": model, "tag": tag, "cache_dir": None}
    return checkpoint.build(checkpoint.Params.model_validate(values))


def refused(file: str = "robust.pt", **options) -> str:
    with pytest.raises(UserError) as caught:
        build(file, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def visual(clip_folder) -> dict[str, torch.Tensor]:
    """Weights of an image encoder of the right shape, unlike those of the CLIP."""
    weights = clip.load(clip_folder).model.visual.state_dict()
    torch.manual_seed(1)
    return {key: torch.randn_like(value) for key, value in weights.items()}


FORMS = {
    "bare": lambda s: s,
    "SAFT": lambda s: {
        "epoch": 9, "best_acc1": np.float64(61.5), "vision_encoder_state_dict": s,
        "state_dict": {"prompt": torch.zeros(2)}, "args": argparse.Namespace(lr=1e-4),
    },
    "state_dict": lambda s: {"state_dict": s, "optimizer": {"state": {}}},
    "model": lambda s: {"model": s, "accuracy": np.float32(3)},
    "model, state_dict": lambda s: {"model": {"state_dict": s}},
    "module.": lambda s: prefixed("module.", s),
    "visual.": lambda s: prefixed("visual.", s),
    "module.visual.": lambda s: prefixed("module.visual.", s),
    "visual.module.": lambda s: prefixed("visual.module.", s),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_of_the_image_encoder_and_no_other_is_the_checkpoints(
    form, visual, data_root, clip_folder
):
    torch.save(FORMS[form](visual), data_root / "robust.pt")
    built, base = build(), clip.load(clip_folder)
    for key, value in built.model.state_dict().items():
        image = key.startswith("visual.")
        weights = visual[key.removeprefix("visual.")] if image else base.model.state_dict()[key]
        assert torch.equal(value, weights), key
    assert built.config == base.config


def test_safetensors_and_half_precision(visual, data_root):
    save_file({k: v.half() for k, v in visual.items()}, data_root / "robust.safetensors")
    loaded = build("robust.safetensors").model.visual.state_dict()
    for key, value in visual.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.half().float())


def whole_clip(clip_folder, visual, prefix: str = "module.") -> dict[str, torch.Tensor]:
    """A CLIP with the text half of `clip_folder`, saved from a DataParallel one."""
    content = clip.load(clip_folder).model.state_dict()
    return prefixed(prefix, content | prefixed("visual.", visual))


def test_of_a_whole_clip_with_the_same_text_half_the_image_half_is_taken_and_that_is_said(
    visual, data_root, clip_folder
):
    state = whole_clip(clip_folder, visual)
    torch.save({"state_dict": {k: v.half() for k, v in state.items()}}, data_root / "robust.pt")
    built, content = build(), clip.load(clip_folder).model.state_dict()
    weights = built.model.state_dict()
    assert torch.equal(weights["visual.proj"], visual["proj"].half().float())
    for key, value in weights.items():
        assert key.startswith("visual.") or torch.equal(value, content[key]), key
    assert built.notes == ["a whole CLIP, whose text half is that of local-dir:clip"]


def test_a_text_half_of_its_own_is_loaded_with_the_image_half_and_that_is_said(
    visual, data_root, clip_folder
):
    state = whole_clip(clip_folder, visual, "")
    for key in state:
        if not key.startswith("visual."):
            state[key] = -state[key]
    torch.save({"state_dict": prefixed("module.", state)}, data_root / "robust.pt")
    built, content = build(), clip.load(clip_folder).model.state_dict()
    weights = built.model.state_dict()
    assert all(torch.equal(weights[key], state[key]) for key in state)
    assert weights["logit_scale"] == -content["logit_scale"]
    [note] = built.notes
    assert note.startswith("a whole CLIP, whose text half differs from that of local-dir:clip (")
    assert "weights of the text tower, by up to " in note
    assert "logit_scale -2.659 for 2.659" in note
    assert note.endswith("both towers and the logit scale are the checkpoint's")


def test_a_text_half_that_does_not_fit_is_refused_with_its_image_half(
    visual, data_root, clip_folder
):
    state = whole_clip(clip_folder, visual, "")
    state["positional_embedding"] = torch.zeros(77, 16)
    state["transformer.resblocks.1.ln_1.bias"] = torch.zeros(16)
    torch.save(state, data_root / "robust.pt")
    assert refused().endswith(
        "robust.pt: is a whole CLIP whose text half does not fit the text tower of "
        "local-dir:clip: 1 unexpected (transformer.resblocks.1.ln_1.bias); 1 of another shape "
        "(positional_embedding (77, 16) for (16, 16)); its image encoder is not taken without "
        "it: name the CLIP that it was trained from"
    )


def test_a_prefix_of_some_keys_only_is_refused(visual, data_root):
    proj = visual.pop("proj")
    torch.save(prefixed("module.", visual) | {"proj": proj}, data_root / "robust.pt")
    count = len(visual)
    assert f"robust.pt: {count} keys begin with 'module.', 1 do not (proj)" in refused()
    torch.save(prefixed("visual.", visual) | {"head": proj}, data_root / "robust.pt")
    assert f"robust.pt: {count} keys begin with 'visual.', 1 do not (head)" in refused()


def test_missing_unexpected_and_wrongly_shaped_keys_are_counted_and_named(visual, data_root):
    for key in [key for key in visual if "resblocks.1." in key]:
        del visual[key]
    count = sum("resblocks.0." in key for key in visual)
    visual["head.weight"] = torch.zeros(2)
    visual["proj"] = torch.zeros(32, 8)
    torch.save(visual, data_root / "robust.pt")
    message = refused()
    assert message.startswith(
        f"{data_root / 'robust.pt'}: does not fit the image encoder of local-dir:clip: "
        f"{count} missing (transformer.resblocks.1.ln_1.weight, "
    )
    assert (
        f" and {count - 3} more); 1 unexpected (head.weight); "
        "1 of another shape (proj (32, 8) for (32, 16))"
    ) in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(visual, data_root, value):
    visual["proj"][0, 0] = value
    torch.save(visual, data_root / "robust.pt")
    assert "robust.pt: 1 weights are not finite (proj); choose another checkpoint" in refused()


class Runs:
    """A pickle of this makes a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_code_in_a_pickle_is_not_run(visual, data_root):
    torch.save(
        {"vision_encoder_state_dict": visual, "args": Runs(data_root / "made")},
        data_root / "robust.pt",
    )
    message = refused()
    assert "robust.pt: holds more than weights" in message
    assert "mkdir" in message
    assert "docs/weights.md" in message
    assert not (data_root / "made").exists()


def test_torchscript_is_refused(data_root):
    torch.jit.script(torch.nn.Linear(2, 2)).save(data_root / "robust.pt")
    assert "robust.pt: a TorchScript archive" in refused()


@pytest.mark.parametrize("name", ["robust.pt", "robust.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello, world\n", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint(data_root, name, content):
    (data_root / name).write_bytes(content)
    assert f"{data_root / name}: not a " in refused(name)


@pytest.mark.parametrize("value", [{}, [1], torch.zeros(2), {"epoch": 3, "model": "ViT"}])
def test_a_checkpoint_without_a_state_dict(data_root, value):
    torch.save(value, data_root / "robust.pt")
    assert "state dict" in refused()


def test_a_cut_off_checkpoint(visual, data_root):
    torch.save(visual, data_root / "robust.pt")
    content = (data_root / "robust.pt").read_bytes()
    (data_root / "robust.pt").write_bytes(content[: len(content) // 2])
    assert "robust.pt: not a checkpoint" in refused()


def test_files_and_models_that_are_not_there(visual, data_root):
    assert "robust.pt: not found; the key file: names a file" in refused()
    torch.save(visual, data_root / "robust.pt")
    assert "nowhere/open_clip_config.json: not found" in refused(model="local-dir:nowhere")
    assert "has one set of weights, but tag is 'openai'" in refused(tag="openai")
    assert "open_clip has no model 'ViT-Z'" in refused(model="ViT-Z", tag="openai")


def test_what_a_model_card_says_of_it():
    def about(model: str, tag: str | None):
        values = {"file": "theirs/robust.pt", "model": model, "tag": tag}
        return checkpoint.about(checkpoint.Params.model_construct(**values))

    assert about("ViT-B-32", "openai") == (
        "checkpoint `robust.pt` in `ViT-B-32 / openai` (open_clip)",
        "timm/vit_base_patch32_clip_224.openai",
    )
    assert about("local-dir:/a/clip", None).text.endswith("in the CLIP folder `clip`")


def test_the_stage_writes_an_open_clip_folder_or_fails_with_one_line(
    visual, data_root, clip_folder, packed, capsys, monkeypatch
):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    options = {"file": "robust.pt", "model": "local-dir:clip", "tag": None, "cache_dir": None}
    about = {"defended": True, "licence": None, "citation": None}
    models = {"robust": {"source": "checkpoint", "options": options, **about}}
    write_params(packed, models=models)
    torch.save(whole_clip(clip_folder, visual), data_root / "robust.pt")
    model_stage.main("robust")
    note = "a whole CLIP, whose text half is that of local-dir:clip"
    assert f"robust: {note}\n" in capsys.readouterr().out
    assert read_about(record_folder("robust")).notes == [note]
    assert torch.equal(clip.load(ROBUST).model.visual.proj, visual["proj"])
    before = (ROBUST / clip.WEIGHTS_FILE).read_bytes()
    visual.pop("proj")
    torch.save(visual, data_root / "robust.pt")
    with pytest.raises(SystemExit) as caught:
        model_stage.main("robust")
    assert caught.value.code == 1
    errors = capsys.readouterr().err
    assert "error: " in errors
    assert "1 missing (proj)" in errors
    assert "Traceback" not in errors
    assert (ROBUST / clip.WEIGHTS_FILE).read_bytes() == before
