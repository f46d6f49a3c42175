"""Sizes of images in `saft evaluate`: told before anything starts."""

import pytest

from pipeline.clip.about import FILE, About
from pipeline.clip.folders import record_folder
from pipeline.common.errors import UserError
from pipeline.common.params import read_params
from pipeline.common.tables import write_json
from saft.evaluation import models, sizes
from saft.evaluation.request import requested
from tests.support.evaluate_requests import B32, asked, clip_in, images_in
from tests.support.project import DEMO


@pytest.fixture
def demo():
    return read_params(DEMO)


def test_the_size_of_a_models_images_is_told_by_its_source(demo, tmp_path):
    demo["models"] |= {
        "local": {"source": "local", "options": {"path": clip_in(tmp_path / "clip", 336)}},
        "tagged": models.parse("ViT-B-16-plus-240/laion400m_e31", {}, None).section,
        "hub": models.parse("hf-hub:a/b", {}, None).section,
        "around": {
            "source": "checkpoint",
            "options": {"file": "x", "model": f"local-dir:{tmp_path / 'clip'}", "tag": None},
        },
    }
    expected = {
        "base": 32,
        "finetuned": 32,
        "local": 336,
        "tagged": 240,
        "hub": None,
        "around": 336,
    }
    assert {name: sizes.model_size(name, demo) for name in expected} == expected
    (tmp_path / "weights.pt").touch()
    checkpoint = models.parse(str(tmp_path / "weights.pt"), {}, "ViT-L-14-336/openai")
    demo["models"][checkpoint.name] = checkpoint.section
    assert sizes.model_size(checkpoint.name, demo) == 336


def test_the_size_of_a_model_of_the_hub_is_what_its_stage_wrote(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo["models"]["hub"] = models.parse("hf-hub:a/b", {}, None).section
    about = About(
        name="hub", source="pretrained", origin="o", hub_id=None, defended="false", licence=None,
        citation=None, notes=[], parameters=1, image_size=48, image_tower="a", text_tower="b",
    )  # fmt: skip
    write_json(record_folder("hub") / FILE, about.model_dump())
    assert sizes.model_size("hub", demo) == 48


@pytest.mark.parametrize(
    ("words", "arguments", "message"),
    [
        (["base", B32], {}, f"model 'base' is for 32 pixels, model '{B32.replace('/', '-')}' for"),
        (
            [B32],
            {},
            "224 pixels, image set 'shapes-held-out' for 32: evaluate them in two",
        ),
        ([B32], {"sets": ["digits"]}, "224 pixels, image set 'digits' for 32"),
        ([B32], {"sets": ["{folder}"], "size": 64}, "224 pixels, image set 'flowers-"),
    ],
)
def test_sizes_that_differ_are_refused(demo, tmp_path, words, arguments, message):
    folder = images_in(tmp_path / "flowers")
    if "sets" in arguments:
        arguments = arguments | {"sets": [s.format(folder=folder) for s in arguments["sets"]]}
    with pytest.raises(UserError, match="^[^\n]+evaluate.space: native$") as raised:
        requested(demo, asked(*words, **arguments))
    assert message in str(raised.value)
    demo["evaluate"]["space"] = "native"
    assert requested(demo, asked(*words, **arguments))["evaluate"]["models"]
