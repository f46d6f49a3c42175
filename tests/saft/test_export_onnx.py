"""`saft export --format onnx`: ONNX Runtime gives what open_clip gives."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.clip.folders import FINETUNED, clip_folder, record_folder
from pipeline.images.classes import CLASSES, ClassEntry, write_classes
from saft.export import onnx_folder, onnx_graph
from tests.support.exports import export, refused
from tests.support.pages import blocks
from tests.support.project import DEMO, ROOT
from tests.support.tiny_models import LABELS, SIZE, PlainOpenClip, write_image, write_models

onnxruntime = pytest.importorskip("onnxruntime")
ONNX = ("--format", "onnx")
NAMES = ("--labels", ",".join(LABELS))


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """Models without results: an ONNX folder tells none."""
    monkeypatch.chdir(tmp_path)
    write_models()


def run(folder: str, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name."""
    session = onnxruntime.InferenceSession(
        f"{folder}/model.onnx", providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"pixels": pixels}), strict=True))


def about(folder: str):
    return json.loads(Path(folder, "model.json").read_text())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_images_gives_open_clips_probabilities(count):
    output = export("served", *ONNX, *NAMES)
    assert f"run by onnxruntime {onnxruntime.__version__} on 4 images, 1, 3, 4 at once" in output
    assert sorted(path.name for path in Path("served").iterdir()) == ["model.json", "model.onnx"]
    plain = PlainOpenClip(clip_folder(FINETUNED))
    pixels = np.random.default_rng(count).random((count, 3, SIZE, SIZE), dtype=np.float32)
    outputs = run("served", pixels)
    expected = np.stack([plain.of_pixels(image) for image in pixels])
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(outputs["features"], axis=1), 1, atol=1e-5)
    softmax = np.exp(outputs["logits"]) / np.exp(outputs["logits"]).sum(1, keepdims=True)
    np.testing.assert_allclose(softmax, expected, atol=1e-5)


def test_the_json_beside_it_says_all_that_one_needs():
    export("served", *ONNX, *NAMES)
    said = about("served")
    assert [(entry["id"], entry["name"]) for entry in said["classes"]] == [(n, n) for n in LABELS]
    assert said["input"]["shape"] == ["batch", 3, SIZE, SIZE]
    assert said["input"]["range"] == [0, 1]
    preprocessing = said["preprocessing"]
    assert preprocessing["size"] == [SIZE, SIZE]
    assert preprocessing["std"] == [0.3, 0.2, 0.25]
    assert (preprocessing["resize_mode"], preprocessing["interpolation"]) == ("shortest", "bicubic")
    # by these words alone an image becomes the input
    file = write_image("image.png", (48, SIZE))
    image = Image.open(file).crop((8, 0, 8 + SIZE, SIZE))
    pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] / 255
    expected = PlainOpenClip(clip_folder(FINETUNED)).of_file(file)
    np.testing.assert_allclose(run("served", pixels)["probabilities"][0], expected, atol=1e-5)


def test_the_code_of_the_page_gives_the_class(capsys):
    export("clip-onnx", *ONNX, *NAMES)
    expected = PlainOpenClip(clip_folder(FINETUNED)).of_file(write_image("cat.jpg", (90, 64)))
    [_, code] = blocks(ROOT / "docs/using.md", {"python"})
    names: dict = {}
    exec(code, names)
    assert capsys.readouterr().out == f"{LABELS[int(expected.argmax())]}\n"
    np.testing.assert_allclose(names["probabilities"][0], expected, atol=0.02)


def test_classes_and_texts_of_params_yaml():
    Path("params.yaml").write_text(DEMO.read_text())
    classes = [ClassEntry("0", "zero"), ClassEntry("1", "one")]
    write_classes(CLASSES / "digits.parquet", classes, [])
    export("served", *ONNX, "--set", "digits", "--texts", "unseen")
    said = about("served")
    assert [entry["id"] for entry in said["classes"]] == ["0", "1"]
    assert said["texts"]["name"] == "unseen"
    assert said["texts"]["templates"][0] == "a drawing of the number {}."


def test_without_labels_the_classes_are_those_of_the_training():
    classes = [ClassEntry("n1", "crane"), ClassEntry("n2", "crane")]
    write_classes(record_folder(FINETUNED) / "classes.parquet", classes, [])
    export("served", *ONNX)
    assert [entry["id"] for entry in about("served")["classes"]] == ["n1", "n2"]


def test_same_model_same_bytes_and_no_path_of_this_machine():
    export("first", *ONNX, *NAMES)
    export("elsewhere/second", *ONNX, *NAMES)
    for name in ("model.onnx", "model.json"):
        content = Path("first", name).read_bytes()
        assert content == Path("elsewhere/second", name).read_bytes()
        for path in (Path.cwd(), Path(onnx_graph.__file__).parents[2], Path(sys.prefix)):
            assert str(path).encode() not in content
        assert b"onnx_graph.py" not in content


def test_large_weights_stand_beside_the_graph(monkeypatch):
    monkeypatch.setattr(onnx_folder, "MOST_INSIDE", 1000)
    export("served", *ONNX, *NAMES)
    names = sorted(path.name for path in Path("served").iterdir())
    assert names == ["model.json", "model.onnx", "model.onnx.data"]
    moved = Path("served").rename("moved")
    pixels = np.full((1, 3, SIZE, SIZE), 0.5, dtype=np.float32)
    expected = PlainOpenClip(clip_folder(FINETUNED)).of_pixels(pixels[0])
    np.testing.assert_allclose(run(str(moved), pixels)["probabilities"][0], expected, atol=1e-5)


@pytest.mark.parametrize("part", ["mean", "class_features"])
def test_a_file_that_is_not_the_model_is_not_left_behind(monkeypatch, part):
    program = onnx_graph.program

    def shifted(graph, side):
        getattr(graph, part).add_(0.05)
        return program(graph, side)

    monkeypatch.setattr(onnx_folder, "program", shifted)
    reason = refused("served", *ONNX, *NAMES)
    assert "features, cosines or probabilities differ from the model's by" in reason
    assert "nothing is written" in reason


def test_without_a_package_one_line_says_which(monkeypatch):
    find = importlib.import_module

    def missing(name):
        if name == "onnxscript":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return find(name)

    monkeypatch.setattr(onnx_graph, "import_module", missing)
    assert "--format onnx needs the package onnxscript: pip install" in refused("x", *ONNX, *NAMES)


def test_bad_requests_are_one_line():
    assert "--labels, --set, --template and --texts belong to --format onnx" in refused("x", *NAMES)
    assert "labels: cat: name two classes at least" in refused("x", *ONNX, "--labels", "cat")
    assert "labels: 'a' stands there twice" in refused("x", *ONNX, "--labels", "a,b,a")
    assert "x.pt: --format onnx writes a folder" in refused("x.pt", *ONNX, *NAMES)
    Path("full").mkdir()
    Path("full/file").touch()
    assert "full: exists and is not an empty folder" in refused("full", *ONNX, *NAMES)
    (clip_folder(FINETUNED) / "open_clip_config.json").unlink()
    assert "`dvc repro stages/dvc.yaml:finetune` makes it" in refused("x", *ONNX, *NAMES)
