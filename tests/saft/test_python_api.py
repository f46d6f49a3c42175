"""`from saft import load, classify, attack, evaluate`, and the examples that show them."""

import os
import runpy
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

import saft
from pipeline.clip.folders import BASE, FINETUNED, clip_folder
from pipeline.common.errors import UserError
from pipeline.results.statistics import wilson
from tests.support.pages import blocks
from tests.support.project import ROOT
from tests.support.tiny_models import LABELS, SIZE, PlainOpenClip, write_image, write_models

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "use_a_model.ipynb"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    write_models()


def test_importing_saft_loads_no_library():
    code = (
        "import sys, saft; print(sorted({'torch', 'open_clip', 'numpy', 'typer'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
    assert set(saft.__all__) == {"attack", "classify", "evaluate", "load"}
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        _ = saft.train


def test_the_four_names_are_functions_whatever_was_imported():
    import saft.app  # noqa: F401  # with all commands, none of which may hide a name

    for name in saft.__all__:
        assert callable(getattr(saft, name)), name


def test_classify_takes_paths_and_open_images_and_texts_of_ones_own():
    file = write_image("image.png")
    model = saft.load(BASE)
    expected = PlainOpenClip(clip_folder(BASE)).of_file(file)
    answer = saft.classify(model, [file, Image.open(file), str(file)], LABELS)
    assert answer.labels == tuple(LABELS)
    assert answer.probabilities.shape == (3, len(LABELS))
    for row in answer.probabilities:
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert answer.predicted == [LABELS[int(expected.argmax())]] * 3
    texts = {name: [f"This is a photo of a {name}"] for name in LABELS}
    again = saft.classify(model, file, texts).probabilities[0]
    np.testing.assert_allclose(again, expected, atol=1e-6)
    of_one = {name: f"This is a photo of a {name}" for name in LABELS}
    assert np.array_equal(saft.classify(model, file, of_one).probabilities[0], again)
    texts[LABELS[0]].append("one more")
    with pytest.raises(UserError, match="give each class as many"):
        saft.classify(model, file, texts)


def test_attack_returns_what_the_command_writes():
    file = write_image("image.png")
    model = saft.load(BASE)
    [seen] = saft.classify(model, file, LABELS).predicted
    done = saft.attack(model, file, seen, LABELS, epsilon_255=8, steps=20, step_255=2, seed=1)
    assert done.fooled
    assert done.label == seen
    assert done.labels[done.before.argmax()] == seen != done.labels[done.after.argmax()]
    assert done.image.shape == done.adversarial.shape == (3, SIZE, SIZE)
    assert np.abs(done.change).max() <= 8 / 255 + 1e-6
    assert np.array_equal(done.rounded, np.rint(done.adversarial * 255).astype(np.uint8))
    expected = PlainOpenClip(clip_folder(BASE)).of_pixels(done.adversarial)
    np.testing.assert_allclose(done.after, expected, atol=1e-5)
    same = saft.attack(model, file, seen, LABELS, epsilon_255=8, steps=20, step_255=2, seed=1)
    assert np.array_equal(done.adversarial, same.adversarial)


def test_numbers_of_numpy_are_taken_as_numbers_are():
    file, model = write_image("image.png"), saft.load(BASE)
    plain = saft.attack(model, file, LABELS[0], LABELS, epsilon_255=8.0, steps=3, step_255=2.0)
    scalars = {"epsilon_255": np.float32(8), "steps": np.int64(3), "step_255": np.float64(2)}
    same = saft.attack(model, file, LABELS[0], LABELS, **scalars)
    assert np.array_equal(plain.adversarial, same.adversarial)


def test_evaluate_counts_images_that_are_right_and_stay_so():
    files = [write_image(f"{seed}.png", seed=seed) for seed in range(12)]
    model = saft.load(BASE)
    seen = saft.classify(model, files, LABELS).predicted
    truth = [LABELS[0] if number < 3 else name for number, name in enumerate(seen)]
    budget = {"epsilon_255": 1.0, "steps": 3, "step_255": 0.5, "seed": 2}
    result = saft.evaluate(model, files, truth, LABELS, **budget)
    right = [a == b for a, b in zip(seen, truth, strict=True)]
    assert result.right.tolist() == right
    assert result.clean_accuracy == wilson(sum(right), 12)
    assert not (result.robust & ~result.right).any()
    assert result.robust_accuracy == wilson(int(result.robust.sum()), 12)
    weak = saft.evaluate(model, files, truth, LABELS, epsilon_255=1e-4, steps=1, step_255=1e-4)
    strong = saft.evaluate(model, files, truth, LABELS, epsilon_255=64, steps=30, step_255=8)
    assert weak.robust.tolist() == right
    assert not strong.robust.any()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda m: saft.classify(m, [], LABELS), "no image is given"),
        (lambda m: saft.classify(m, 3, LABELS), "image 0: int is no image; give a path or a PIL"),
        (lambda m: saft.classify(m, ["image.png", None], LABELS), "image 1: NoneType is no image"),
        (lambda m: saft.classify(m, "", LABELS), "image 0: an empty name"),
        (lambda m: saft.classify(m, "image.png", [1, 2]), "labels: 1 is no text"),
        (lambda m: saft.classify(m, "image.png", 7), "labels: 7 is no list of texts"),
        (lambda m: saft.classify(m, "image.png", ["a", "b\udcff"]), "labels: .* is not UTF-8 text"),
        (lambda m: saft.classify(m, "image.png", LABELS, template=3), "template: 3 is no list"),
        (
            lambda m: saft.classify(m, "image.png", {"a": ["x"], "b": ["y"]}, template="{}"),
            "template: labels with sentences of their own take none",
        ),
        (
            lambda m: saft.classify(m, "image.png", {"a": ["x"], "b": [" "]}),
            "labels: class 'b' has an empty sentence",
        ),
        (
            lambda m: saft.classify(m, "image.png", {"a": [3], "b": [4]}),
            "labels: class 'a': 3 is no text",
        ),
        (
            lambda m: saft.classify(m, "image.png", {"a": None, "b": "x"}),
            "labels: class 'a': None is no list of texts",
        ),
        (lambda m: saft.attack(m, "image.png", 0, LABELS), "label: 0 is no text"),
        (
            lambda m: saft.evaluate(m, ["image.png"], [0], LABELS),
            "label: 0 is no text",
        ),
        (
            lambda m: saft.evaluate(m, ["image.png"], LABELS[0], LABELS),
            "truth: 'red star' is one text; give a list",
        ),
        (lambda m: saft.classify(m, "a.png", LABELS), "a.png: cannot be read as an image: file"),
        (lambda m: saft.classify(m, "image.png", "cat,dog"), "is one text; give a list"),
        (lambda m: saft.classify(m, "image.png", ["cat"]), "name two classes at least"),
        (lambda m: saft.classify(m, "image.png", LABELS, template=[]), "the texts: key 'template'"),
        (lambda m: saft.attack(m, "image.png", "kite", LABELS), "label 'kite' is not one of"),
        (
            lambda m: saft.attack(m, "image.png", LABELS[0], LABELS, epsilon_255=0),
            "key 'epsilon_255': Input should be greater than 0",
        ),
        (
            lambda m: saft.evaluate(m, ["image.png"], LABELS[:2], LABELS),
            "1 images, but 2 labels of them in truth",
        ),
    ],
)
def test_bad_input_is_a_user_error(call, reason):
    write_image("image.png")
    with pytest.raises(UserError, match=reason):
        call(saft.load(BASE))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            {"name": BASE, "device": "gpu"},
            "device=gpu: not a device; use auto, cpu, cuda or cuda:N",
        ),
        ({"name": BASE, "device": "meta"}, "device=meta: not a device"),
        ({"name": BASE, "device": "cuda:99"}, "device=cuda:99: no such CUDA device"),
        ({"name": None}, "model: None is no name"),
        ({"name": BASE, "clip": "ViT-B-32-quickgelu/openai"}, "no model is one; leave it out"),
    ],
)
def test_a_model_that_cannot_be_loaded_so_is_a_user_error(words, reason):
    with pytest.raises(UserError, match=reason):
        saft.load(**words)


def test_a_model_is_loaded_by_its_path_onto_a_device():
    model = saft.load(clip_folder(BASE), device=torch.device("cpu"))
    assert model.device == torch.device("cpu")
    file = write_image("image.png")
    same = saft.classify(saft.load(BASE, device="cpu"), file, LABELS).probabilities
    assert np.array_equal(saft.classify(model, file, LABELS).probabilities, same)


def test_the_code_of_the_page_runs_as_it_stands():
    [code, *_] = blocks(ROOT / "docs/using.md", {"python"})
    for number, name in enumerate(("cat.jpg", "dog.jpg")):
        write_image(name, seed=number)
    names: dict = {}
    exec(code, names)
    assert names["answer"].probabilities.shape == (2, 3)
    assert names["done"].label == "cat"
    assert names["result"].robust_accuracy.images == 2


def test_the_script_runs_as_it_stands(capsys):
    runpy.run_path(str(EXAMPLES / "use_a_model.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [BASE] * 3 + [FINETUNED] * 3
    for name in (BASE, FINETUNED):
        assert Image.open(f"adversarial-{name}.png").size == (SIZE, SIZE)


def test_the_notebook_runs_and_is_stored_without_outputs(tmp_path, monkeypatch):
    """In a folder below the project's, as a notebook starts in its own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    folder = tmp_path / "examples"
    folder.mkdir()
    client = NotebookClient(notebook, timeout=300, kernel_name="python3",
                            resources={"metadata": {"path": str(folder)}})  # fmt: skip
    client.execute()
    printed = "".join(
        output.get("text", "") for cell in code for output in cell.outputs if "text" in output
    )
    for name in (BASE, FINETUNED):
        assert name in printed
    assert any("image/png" in output.get("data", {}) for output in code[4].outputs)
