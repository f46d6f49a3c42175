"""`saft predict`: the probabilities are open_clip's, and bad input is one line."""

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.clip import model as clip_model
from pipeline.clip.folders import BASE, FINETUNED, clip_folder, record_folder
from pipeline.images.classes import CLASSES, ClassEntry, write_classes
from pipeline.models import named
from pipeline.models.interface import BaseModel
from pipeline.zeroshot.text_tables import DESCRIPTIONS, KEPT, TextTable, write_texts
from saft.inference import images
from saft.inference.models import load
from tests.support import tiny_clips
from tests.support.project import DEMO
from tests.support.saft_command import output_of, refusal
from tests.support.tiny_models import LABELS, PlainOpenClip, write_image, write_models

saft, refused = partial(output_of, "predict"), partial(refusal, "predict")
NAMES = ("--labels", ",".join(LABELS))


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    write_models()
    write_image("image.png")


def probabilities(output: str, model: str, image: int = 0) -> list[float]:
    classes = json.loads(output)["images"][image]["models"][model]["classes"]
    return [entry["probability"] for entry in classes]


@pytest.mark.parametrize("size", [(32, 32), (61, 40), (20, 90), (7, 7)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
def test_probabilities_are_those_of_plain_open_clip(size, mode):
    write_image("image.png", size)
    file = Path("image.tiff" if mode == "CMYK" else "image.png")
    Image.open("image.png").convert(mode).save(file)
    output = saft(file, *NAMES, "--json")
    for name in (BASE, FINETUNED):
        expected = PlainOpenClip(clip_folder(name)).of_file(file)
        assert probabilities(output, name) == pytest.approx(expected, abs=2e-6)
    assert probabilities(output, BASE) != probabilities(output, FINETUNED)


@pytest.mark.parametrize(
    "preprocess",
    [
        {"resize_mode": "squash", "interpolation": "bilinear"},
        {"resize_mode": "longest", "fill_color": 90},
        {"mean": [0.1, 0.2, 0.3]},
    ],
)
def test_images_are_preprocessed_as_the_models_own_config_says(preprocess):
    tiny_clips.save(tiny_clips.make(preprocess=preprocess), Path("other"))
    output = saft("image.png", *NAMES, "--model", "other", "--json")
    expected = PlainOpenClip(Path("other")).of_file(Path("image.png"))
    assert probabilities(output, "other") == pytest.approx(expected, abs=2e-6)
    assert probabilities(output, "other") != probabilities(
        saft("image.png", *NAMES, "--json"), BASE
    )


def test_the_table_has_both_models_the_likeliest_first_and_remarks():
    wide = np.asarray(Image.open("image.png").convert("L")).astype(np.uint16) * 257
    Image.fromarray(wide).save("wide.png")
    lines = saft("image.png", "wide.png", *NAMES, "--top", 3).splitlines()
    assert [line.split()[:1] for line in lines if not line.startswith(" ")] == [
        ["image.png"], ["wide.png"],
    ]  # fmt: skip
    assert "wide.png (16-bit grey scaled to 8 bits)" in lines
    assert lines[1].split() == [BASE, FINETUNED]
    assert len(lines) == 2 * (2 + 3)
    expected = {name: PlainOpenClip(clip_folder(name)).of_file(Path("image.png"))
                for name in (BASE, FINETUNED)}  # fmt: skip
    best = LABELS[int(np.maximum(expected[BASE], expected[FINETUNED]).argmax())]
    assert lines[2].startswith(f"  {best} ")
    assert f"{100 * expected[BASE].max():.1f} %*" in "\n".join(lines[2:5])


def test_several_templates_classify_by_their_mean():
    two = ("--template", "a {}", "--template", "the {} here")
    shown = probabilities(saft("image.png", *NAMES, *two, "--json"), BASE)
    model = clip_model.load(clip_folder(BASE))
    pixels = PlainOpenClip(clip_folder(BASE)).preprocess(Image.open("image.png"))[None]
    with torch.no_grad():
        texts = [
            torch.nn.functional.normalize(
                model.model.encode_text(model.tokenize([t.format(n) for n in LABELS])), dim=-1
            )
            for t in two[1::2]
        ]
        head = torch.nn.functional.normalize(torch.stack(texts).mean(0), dim=-1)
        image = torch.nn.functional.normalize(model.model.encode_image(pixels), dim=-1)
        expected = (clip_model.logit_scale(model) * image @ head.T).softmax(1)[0].numpy()
    assert shown == pytest.approx(expected, abs=2e-6)


def write_trained(classes: list[ClassEntry]) -> None:
    write_classes(record_folder(FINETUNED) / "classes.parquet", classes, [])


def test_without_labels_the_classes_of_the_training_are_taken_with_ids_where_names_are_shared():
    write_trained([ClassEntry("n1", "crane"), ClassEntry("n2", "crane"), ClassEntry("n3", "owl")])
    [image] = json.loads(saft("image.png", "--json"))["images"]
    classes = image["models"][BASE]["classes"]
    assert [(entry["id"], entry["name"]) for entry in classes] == [
        ("n1", "crane (n1)"), ("n2", "crane (n2)"), ("n3", "owl"),
    ]  # fmt: skip


def test_classes_and_templates_of_params_yaml():
    Path("params.yaml").write_text(DEMO.read_text())
    write_classes(CLASSES / "digits.parquet", [ClassEntry("0", "zero"), ClassEntry("1", "one")], [])
    texts = json.loads(saft("image.png", "--set", "digits", "--texts", "unseen", "--json"))["texts"]
    assert texts["name"] == "unseen"
    assert texts["templates"][0] == "a drawing of the number {}."
    default = json.loads(saft("image.png", *NAMES, "--texts", "unseen", "--json"))["texts"]
    assert default["templates"][0] == "a drawing of a {}."
    assert "embed.texts: 'other' is not one of" in refused("image.png", *NAMES, "--texts", "other")
    write_classes(CLASSES / "one.parquet", [ClassEntry("0", "zero")], [])
    assert "labels: zero: name two classes at least" in refused("image.png", "--set", "one")
    assert "data/classes/pets.parquet: not found" in refused("image.png", "--set", "pets")


def test_kept_descriptions_classify_by_their_mean_logit():
    write_trained([ClassEntry("s", "star"), ClassEntry("r", "ring"), ClassEntry("x", "cross")])
    ids, slots = ["r", "r", "s", "s"], [0, 1, 0, 1]
    sentences = ["a round thing", "a ring has a hole", "it has spikes", "a star has five points"]
    write_texts(KEPT, TextTable(DESCRIPTIONS, [], ids, slots, sentences))
    words = ("--labels", "star,ring", "--texts", "descriptions", "--json")
    shown = probabilities(saft("image.png", *words), BASE)
    plain = PlainOpenClip(clip_folder(BASE))
    model = clip_model.load(clip_folder(BASE))
    with torch.no_grad():
        pixels = plain.preprocess(Image.open("image.png"))[None]
        order = [sentences[n] for n in (2, 3, 0, 1)]
        logits = plain.model.get_logits(pixels, model.tokenize(order))[0]
        expected = logits.view(2, 2).mean(1).softmax(0).numpy()
    assert shown == pytest.approx(expected, abs=2e-6)
    words = ("--labels", "star,cross", "--texts", "descriptions")
    assert "class 'cross' has no description (1 have none)" in refused("image.png", *words)
    words = ("--labels", "star,kite", "--texts", "descriptions")
    assert "label 'kite' is not one of the labels star, ring, cross" in refused("image.png", *words)


def test_folders_of_both_layouts_and_names_of_ones_own():
    words = ("--model", f"mine={clip_folder(BASE)}", "--model", BASE)
    output = saft("image.png", *NAMES, *words, "--json")
    assert probabilities(output, "mine") == probabilities(output, BASE)
    twice = ("--model", str(clip_folder(BASE)), "--model", str(clip_folder(FINETUNED)))
    assert "two models are named 'clip'; name each once" in refused("image.png", *NAMES, *twice)


def test_a_checkpoint_in_the_clip_around_it(monkeypatch):
    tuned = clip_model.load(clip_folder(FINETUNED))
    torch.save({"state_dict": tuned.model.visual.state_dict()}, "robust.pt")
    around = clip_model.load(clip_folder(BASE))
    monkeypatch.setattr(named, "load", lambda _: BaseModel(around.model, around.config))
    words = ("--model", "robust.pt", "--clip", "ViT-B-32-quickgelu/openai")
    shown = probabilities(saft("image.png", *NAMES, *words, "--json"), "robust")
    expected = probabilities(saft("image.png", *NAMES, "--json"), FINETUNED)
    assert shown == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("cat,dog,cat", "labels: 'cat' stands there twice"),
        ("cat,Cat", "labels: 'cat' stands there twice"),
        ("cafe\u0301,caf\u00e9", "labels: 'caf\u00e9' stands there twice"),
        (
            "\ufb01sh,owl,fish",
            "'\ufb01sh' stands there twice, which CLIP does not tell from 'fish'",
        ),
        ("a&b,a&amp;b", "'a&b' stands there twice, which CLIP does not tell from 'a&amp;b'"),
        ("dog\u2019s,dog's", "'dog\u2019s' stands there twice, which CLIP does not tell from"),
        ("cat,&nbsp;", "labels: an empty name"),
        ("cat,dog\udcff", "labels: 'dog\\udcff' is not UTF-8 text"),
        ("cat", "labels: cat: name two classes at least"),
        ("cat,,dog", "labels: an empty name"),
        ("", "labels: an empty name"),
    ],
)
def test_bad_labels_are_one_line(labels, reason):
    assert reason in refused("image.png", "--labels", labels)


def test_bad_images_are_one_line():
    Path("text.png").write_text("no image")
    Path("empty.png").touch()
    Path("cut.png").write_bytes(Path("image.png").read_bytes()[:100])
    Image.new("F", (9, 9)).save("float.tiff")
    Image.new("L", (1, 20_000_000)).save("strip.png")
    for file, reason in [
        ("text.png", "not an image file"),
        ("none.png", "file not found"),
        ("empty.png", "empty file"),
        ("cut.png", ""),
        ("float.tiff", "floating-point pixels"),
        (".", "is a directory"),
    ]:
        message = f"{file}: cannot be read as an image: {reason}"
        assert message in refused("image.png", file, *NAMES)
    assert "1 x 20000000 pixels are too long and thin" in refused("strip.png", *NAMES)


def test_a_pipe_or_device_is_not_read():
    os.mkfifo("pipe.png")
    for file in ("pipe.png", "/dev/zero"):
        message = f"{file}: cannot be read as an image: a pipe or device, not a file"
        assert message in refused("image.png", file, *NAMES)
    assert "image 1: an empty name; name an image file" in refused("image.png", "", *NAMES)


def test_missing_and_broken_models_are_one_line():
    words = ("image.png", *NAMES, "--model")
    assert "nothing: no file or folder, no name and tag" in refused(*words, "nothing")
    assert "none of the models base, finetuned" in refused(*words, "nothing")
    Path("robust.pt").write_bytes(b"weights")
    assert "robust.pt: a checkpoint needs the CLIP" in refused(*words, "robust.pt")
    (clip_folder(BASE) / "open_clip_model.safetensors").write_bytes(b"weights")
    assert "open_clip_model.safetensors: does not fit" in refused(*words, BASE)
    for file in clip_folder(FINETUNED).iterdir():
        file.unlink()
    clip_folder(FINETUNED).rmdir()
    made = "data/models/finetuned/clip: not found; `dvc repro stages/dvc.yaml:finetune` makes it"
    assert made in refused(*words, FINETUNED)
    Path("params.yaml").write_text("models: {fare: {source: local}}")
    made = "data/models/fare/clip: not found; `dvc repro stages/dvc.yaml:model@fare` makes it"
    assert made in refused(*words, "fare")


@pytest.mark.parametrize(
    ("key", "value"), [("interpolation", "nearest"), ("resize_mode", "crop"), ("resize_mode", 3)]
)
def test_a_config_whose_resizing_open_clip_does_not_know_is_one_line(key, value):
    file = clip_folder(BASE) / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["preprocess_cfg"][key] = None
    file.write_text(json.dumps(config))
    saft("image.png", *NAMES)
    config["preprocess_cfg"][key] = value
    file.write_text(json.dumps(config))
    reason = refused("image.png", *NAMES)
    assert "open_clip_config.json: not an open_clip config" in reason
    assert f"preprocess_cfg.{key} must be one of " in reason
    assert f", not {value}" in reason


def test_clip_is_for_checkpoints_alone():
    reason = refused("image.png", *NAMES, "--clip", "ViT-B-32-quickgelu/openai")
    assert "--clip ViT-B-32-quickgelu/openai: is of checkpoint files, and no model is one" in reason


def test_options_that_exclude_each_other_and_bad_templates_are_one_line():
    assert "--labels and --set both" in refused("image.png", *NAMES, "--set", "digits")
    both = ("--template", "a {}", "--texts", "unseen")
    assert "--template and --texts both" in refused("image.png", *NAMES, *both)
    for template in ("a photo", "{} and {}"):
        reason = refused("image.png", *NAMES, "--template", template)
        assert "needs exactly one {}" in reason
    assert "--labels 'cat,dog'" in refused("image.png")


def test_an_image_that_is_open_already_is_taken(tmp_path):
    [opened], [file] = (images.read_all(image) for image in (Image.open("image.png"), "image.png"))
    model = load(BASE)
    assert np.array_equal(*(images.preprocessed([picture], model) for picture in (opened, file)))
    assert opened.name == "image 0"
