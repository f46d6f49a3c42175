"""`saft attack`: the image stays in the ball, open_clip agrees, the maps are cosines."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pipeline.clip.folders import BASE, FINETUNED, clip_folder
from pipeline.images.classes import CLASSES, ClassEntry, write_classes
from saft.inference import models, pictures
from saft.inference.attacking import attacked, budget
from saft.inference.classifying import classifier
from saft.inference.images import preprocessed, read_all
from saft.inference.labels import filled, typed
from saft.inference.models import load
from tests.support.saft_command import output_of, refusal
from tests.support.tiny_models import LABELS, SIZE, PlainOpenClip, write_image, write_models

saft, refused = partial(output_of, "attack"), partial(refusal, "attack")
NAMES = ("--labels", ",".join(LABELS))
FILES = [
    "adversarial.npy", "adversarial.png", "attention-after.png", "attention-before.png",
    "difference.png", "image.png",
]  # fmt: skip


@pytest.fixture(autouse=True)
def label(tmp_path, monkeypatch) -> str:
    """Two models, and what the first takes image.png for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    write_models()
    write_image("image.png")
    return LABELS[int(PlainOpenClip(clip_folder(BASE)).of_file(Path("image.png")).argmax())]


def pixels(path: Path) -> np.ndarray:
    """float32 (3, S, S) in [0, 1] of a picture."""
    return np.asarray(Image.open(path), dtype=np.float32).transpose(2, 0, 1) / 255


@pytest.mark.parametrize("epsilon", [8, 9.5])
def test_the_adversarial_image_is_in_the_ball_and_open_clip_misclassifies_it(label, epsilon):
    output = saft("image.png", "--label", label, *NAMES, "--epsilon", epsilon, "--step", 2)
    about = json.loads(Path("attack-image/attack.json").read_text())
    assert about["attack"] == {
        "name": "pgd", "norm": "linf", "epsilon_255": epsilon, "steps": 100, "step_255": 2.0,
        "seed": 0,
    }  # fmt: skip
    for name in (BASE, FINETUNED):
        folder, said = Path("attack-image") / name, about["models"][name]
        clean, moved = pixels(folder / "image.png"), np.load(folder / "adversarial.npy")
        assert moved.dtype == np.float32
        assert moved.shape == (3, SIZE, SIZE)
        assert 0 <= moved.min() <= moved.max() <= 1
        largest = 255 * np.abs(moved - clean).max()
        assert 0 < largest <= epsilon + 1e-3
        assert said["largest_change_255"] == pytest.approx(largest, abs=1e-3)
        plain = PlainOpenClip(clip_folder(name))
        for key, values in [("before", clean), ("after", moved),
                            ("adversarial.png", pixels(folder / "adversarial.png"))]:  # fmt: skip
            probabilities = [entry["probability"] for entry in said[key]["classes"]]
            assert probabilities == pytest.approx(plain.of_pixels(values), abs=1e-5)
        assert said["before"]["name"] == label
        assert said["after"]["name"] != label
        assert f"{name}: {label} " in output
        assert f"misclassified after {said['fooled_at']} of 100 steps" in output


def test_the_folder_holds_these_pictures_and_a_sheet(label):
    output = saft("image.png", "--label", label, *NAMES, "--out", "made/here")
    assert "made/here: overview.png, attack.json, and a folder of pictures" in output
    names = sorted(path.name for path in Path("made/here").iterdir())
    assert names == ["attack.json", BASE, FINETUNED, "overview.png"]
    for name in (BASE, FINETUNED):
        assert sorted(path.name for path in Path("made/here", name).iterdir()) == FILES
        for file in FILES[1:]:
            assert Image.open(Path("made/here", name, file)).size == (SIZE, SIZE)
    width, height = Image.open("made/here/overview.png").size
    assert width > 1000
    assert height > 400


def test_the_difference_is_magnified_around_grey(label):
    saft("image.png", "--label", label, *NAMES, "--epsilon", 8, "--model", BASE)
    folder = Path("attack-image", BASE)
    change = np.load(folder / "adversarial.npy") - pixels(folder / "image.png")
    expected = np.clip(0.5 + 15 * change, 0, 1)
    assert np.abs(pixels(folder / "difference.png") - expected).max() < 0.51 / 255 + 1e-6


def test_same_seed_same_bytes_another_seed_others(label):
    words = ("image.png", "--label", label, *NAMES, "--model", BASE)
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        saft(*words, "--out", out, "--seed", seed)
    first, again, other = (
        [path.read_bytes() for path in sorted(Path(out, BASE).iterdir())] for out in "abc"
    )
    assert first == again
    assert first[0] != other[0]
    assert Path("a/overview.png").read_bytes() == Path("b/overview.png").read_bytes()


def test_a_model_that_withstands_and_one_that_is_wrong_already(label):
    output = saft("image.png", "--label", label, *NAMES, "--epsilon", 0.001, "--model", BASE)
    assert "withstands 100 steps" in output
    wrong = next(name for name in LABELS if name != label)
    output = saft("image.png", "--label", wrong, *NAMES, "--model", BASE, "--out", "wrong")
    assert "misclassified without an attack" in output


def test_a_perturbation_that_8_bits_undo_is_told(label):
    """0.4/255 rounds to nothing: the file shows the image itself."""
    for seed in range(40):
        write_image("image.png", seed=seed)
        probabilities = PlainOpenClip(clip_folder(BASE)).of_file(Path("image.png"))
        seen = LABELS[int(probabilities.argmax())]
        words = ("image.png", "--label", seen, *NAMES, "--epsilon", 0.4, "--step", 0.1)
        output = saft(*words, "--model", BASE, "--out", f"out{seed}")
        if "misclassified after" in output:
            assert f"but as a file of 8 bits it is {seen} " in output
            return
    pytest.fail("no image near a boundary was found")


def test_attention_is_the_scaled_cosine_of_patches_with_the_text_of_the_label():
    model, labels = load(BASE), filled(typed(LABELS), ["a {}"])
    image = preprocessed(read_all("image.png"), model)[0]
    done = attacked(classifier(model, labels), image, 2, budget(8, 5, 2, 0))
    visual = model.encoder.visual
    for attention, shown in [
        (done.attention_before, image.astype(np.float32) / 255),
        (done.attention_after, done.adversarial),
    ]:
        with torch.no_grad():
            normal = (torch.from_numpy(shown)[None] - model.encoder.mean) / model.encoder.std
            patches = visual(normal)[1][0] @ visual.proj
            text = model.clip.model.encode_text(model.clip.tokenize([f"a {LABELS[2]}"]))[0]
            cosines = F.cosine_similarity(patches, text[None], dim=-1).view(1, 1, 8, 8)
        scaled = (cosines - cosines.min()) / (cosines.max() - cosines.min())
        expected = F.interpolate(scaled, size=SIZE, mode="bilinear")[0, 0].numpy()
        np.testing.assert_allclose(attention, expected, atol=1e-4)
    moved = np.sqrt(((done.attention_before - done.attention_after) ** 2).mean())
    assert done.attention_moved == pytest.approx(moved)
    assert moved > 0


def test_an_overlay_is_darker_where_attention_is_none():
    image = np.full((3, SIZE, SIZE), 128, dtype=np.uint8)
    ramp = np.tile(np.linspace(0, 1, SIZE, dtype=np.float32), (SIZE, 1))
    brightness = pictures.overlaid(image / 255, ramp).mean((0, 2))
    assert (np.diff(brightness) > -0.6).all()
    assert brightness[-1] - brightness[0] > 100


@pytest.mark.parametrize("typed_so", [str.upper, str.title, "  {}\u00a0".format])
def test_the_label_is_found_however_it_is_written(label, typed_so):
    saft("image.png", "--label", typed_so(label), *NAMES, "--model", BASE, "--steps", 1)
    about = json.loads(Path("attack-image/attack.json").read_text())
    assert about["label"]["name"] == label


def test_a_set_of_one_class_is_told_of_as_such():
    write_classes(CLASSES / "one.parquet", [ClassEntry("0", "zero")], [])
    reason = refused("image.png", "--label", "zero", "--set", "one")
    assert "labels: zero: name two classes at least" in reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--epsilon", 0), "key 'epsilon_255': Input should be greater than 0"),
        (("--epsilon", -1), "key 'epsilon_255': Input should be greater than 0"),
        (("--epsilon", "nan"), "key 'epsilon_255': "),
        (("--step", 0), "key 'step_255': Input should be greater than 0"),
        (("--steps", 0), "key 'steps': Input should be greater than or equal to 1"),
        (("--seed", -1), "key 'seed': Input should be greater than or equal to 0"),
        (("--label", "kite"), f"label 'kite' is not one of the labels {', '.join(LABELS)}"),
        (("--labels", "red star"), "labels: red star: name two classes at least"),
        (("--labels", "red star,ring,red star"), "labels: 'red star' stands there twice"),
        (("--model", "nothing"), "nothing: no file or folder"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words, reason):
    assert reason in refused("image.png", "--label", LABELS[0], *NAMES, *words)


def test_bad_files_and_folders_are_one_line():
    words = ("--label", LABELS[0], *NAMES)
    Path("text.png").write_text("no image")
    assert "text.png: cannot be read as an image: not an image" in refused("text.png", *words)
    Path("full").mkdir()
    Path("full/mine").touch()
    message = "full: exists and is not an empty folder; name another with --out"
    assert message in refused("image.png", *words, "--out", "full")
    assert message.replace("full", "image.png") in refused(
        "image.png", *words, "--out", "image.png"
    )


def test_a_folder_that_cannot_be_made_is_told_of_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr(models, "load_all", lambda *_: pytest.fail("a model is loaded"))
    reason = refused("image.png", "--label", LABELS[0], *NAMES, "--out", "image.png/x")
    assert "image.png/x: image.png is not a folder; name another with --out" in reason


def test_labels_in_another_script_are_drawn_without_a_warning(recwarn):
    words = ("--label", "猫", "--labels", "猫,犬", "--model", BASE, "--steps", 1)
    output = saft("image.png", *words)
    assert f"{BASE}: " in output
    assert "Glyph" not in output
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
    assert json.loads(Path("attack-image/attack.json").read_text())["label"]["name"] == "猫"


def test_an_interrupted_drawing_leaves_nothing(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "overview.png")

    monkeypatch.setattr(pictures, "write_sheet", full)
    output = saft("image.png", "--label", LABELS[0], *NAMES, status=1)
    assert output.splitlines()[-1].startswith("error: saft attack: attack-image: No space left")
    assert not Path("attack-image").exists()
    assert not list(Path().rglob(".partial-*"))
