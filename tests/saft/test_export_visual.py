"""`saft export --format visual`: the image encoder alone, as harnesses load it."""

from pathlib import Path

import pytest
import torch
from open_clip.model import CLIP

from saft.export import visual_file
from tests.support import tiny_clips
from tests.support.exports import export, refused

VISUAL = ("--format", "visual")


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """A model in data/models, without results: a file of weights tells none."""
    monkeypatch.chdir(tmp_path)
    tiny = tiny_clips.make()
    tiny_clips.save(tiny, Path("data/models/finetuned/clip"))
    return tiny


@pytest.mark.parametrize(("dest", "file"), [("x.pt", "x.pt"), ("tower", "tower/visual.pt")])
def test_open_clips_visual_loads_the_file_strictly(tiny, dest, file):
    output = export(dest, *VISUAL)
    assert f'model.visual.load_state_dict(torch.load("{file}", weights_only=True))' in output
    assert "4 images differ from the model's by at most 0.0e+00 of their norm" in output
    assert "not in the file: QuickGELU, 32 x 32 pixels, mean 0.481" in output
    visual = CLIP(**tiny.config["model_cfg"]).visual
    visual.load_state_dict(torch.load(file, weights_only=True), strict=True)
    for key, value in tiny.model.visual.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(visual.state_dict()[key], value)


def test_a_folder_holds_nothing_else():
    Path("tower").mkdir()
    export("tower", *VISUAL)
    assert [path.name for path in Path("tower").iterdir()] == ["visual.pt"]


def test_the_name_does_not_change_the_bytes():
    export("a.pt", *VISUAL)
    export("other/name.pt", *VISUAL)
    export("tower", *VISUAL)
    assert Path("a.pt").read_bytes() == Path("other/name.pt").read_bytes()
    assert Path("a.pt").read_bytes() == Path("tower/visual.pt").read_bytes()


def test_nothing_is_overwritten():
    Path("x.pt").write_text("mine")
    assert "x.pt: exists; name another" in refused("x.pt", *VISUAL)
    for dest in ("x.pt/y", "x.pt/y.pt"):
        assert f"{dest}: x.pt is not a folder; name another" in refused(dest, *VISUAL)
    assert Path("x.pt").read_text() == "mine"
    Path("folder.pt").mkdir()
    assert "folder.pt: exists; name another" in refused("folder.pt", *VISUAL)
    Path("full").mkdir()
    Path("full/file").write_text("")
    assert "full: exists and is not an empty folder; name another" in refused("full", *VISUAL)


@pytest.mark.parametrize("layout", ["open_clip", "transformers"])
def test_a_file_is_no_name_for_a_folder(layout):
    message = f"x.pt: --format {layout} writes a folder; name one without .pt"
    assert message in refused("x.pt", "--format", layout)


def test_an_unknown_format_lists_the_formats():
    output = export("x", "--format", "keras", status=2)
    for layout in ("open_clip", "transformers", "visual", "onnx"):
        assert layout in output


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_config.json"])
def test_without_a_model_the_command_that_makes_it_is_named(name):
    Path("data/models/finetuned/clip", name).unlink()
    file, stage = f"data/models/finetuned/clip/{name}", "stages/dvc.yaml:finetune"
    assert f"{file}: not found; `dvc repro {stage}` makes it" in refused("x.pt", *VISUAL)


@pytest.mark.parametrize("dest", ["x.pt", "tower"])
def test_a_file_that_is_not_the_model_is_not_left_behind(monkeypatch, dest):
    def scaled(clip, path):
        state = clip.model.visual.state_dict()
        torch.save(state | {"proj": state["proj"] * 1.001}, path)

    monkeypatch.setattr(visual_file, "write", scaled)
    reason = refused(dest, *VISUAL)
    assert "read again by open_clip, features of 4 images differ from the model's" in reason


def test_a_full_disk_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "x.pt: No space left on device" in refused("x.pt", *VISUAL)
