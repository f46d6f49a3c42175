"""What `saft export --format transformers` writes, loaded by transformers itself where it is."""

import json

import ftfy
import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from safetensors.torch import load_file

from pipeline.common.errors import UserError
from saft.export import probe, transformers_reload
from tests.support import tiny_clips
from tests.support.transformers_export import CASES, read, written

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: it is no dependency of this project"
)


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_transformers_itself_loads_them(tmp_path, changes):
    tiny = tiny_clips.make(**changes)
    images_and_texts = probe.make(tiny.model.visual.image_size[0])
    folder = written(tiny, tmp_path / "tiny")
    reloaded = transformers_reload.reload(folder, tiny, images_and_texts)
    assert reloaded.reader == f"transformers {transformers.__version__}"
    difference = probe.largest_difference(reloaded.features, probe.features(tiny, images_and_texts))
    assert difference < probe.TOLERANCE
    loaded = transformers.CLIPModel.from_pretrained(folder).state_dict()
    assert set(loaded) == set(load_file(folder / "model.safetensors"))
    assert loaded["logit_scale"] == tiny.model.logit_scale


def test_its_tokens_differ_only_where_open_clip_rewrites_the_text(tmp_path):
    tiny = tiny_clips.make()
    tokenizer = transformers.AutoTokenizer.from_pretrained(written(tiny, tmp_path / "tiny"))
    rewritten = ["the world’s most popular fruit", "black &amp; white"]

    def equal(texts):
        ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        theirs, ours = ids["input_ids"], tiny.tokenize(texts)
        return torch.equal(
            theirs.masked_fill(theirs == 49407, 0), ours.masked_fill(ours == 49407, 0)
        )

    assert equal([*probe.TEXTS, *open_clip.IMAGENET_CLASSNAMES])
    assert not any(equal([text]) for text in rewritten)
    assert equal([ftfy.fix_text(text) for text in rewritten])


@pytest.mark.parametrize("long", range(32, 44))
def test_its_pixels_are_open_clips_but_for_the_crop(tmp_path, long):
    """The resized image is 32 x `long`; both crop 32 of it, and round half a pixel their way."""
    tiny = tiny_clips.make()
    name = "CLIPImageProcessorPil" if transformers.__version__ >= "5" else "CLIPImageProcessor"
    processor = getattr(transformers, name).from_pretrained(written(tiny, tmp_path / "tiny"))
    pixels = np.random.default_rng(long).integers(0, 256, (2 * long, 64, 3), dtype=np.uint8)
    image, settings = Image.fromarray(pixels), tiny.config["preprocess_cfg"]
    ours = image_transform(32, is_train=False, mean=settings["mean"], std=settings["std"])(image)
    theirs = torch.as_tensor(processor(images=image, return_tensors="pt")["pixel_values"][0])
    assert torch.allclose(ours, theirs, atol=1e-5) == ((long - 32) % 4 != 3)


def test_transformers_refuses_what_is_not_the_model(tmp_path):
    tiny = tiny_clips.make()
    images_and_texts = probe.make(32)
    folder = written(tiny, tmp_path / "tiny")
    config = read(folder / "config.json")
    config["vision_config"]["hidden_act"] = "gelu"
    (folder / "config.json").write_text(json.dumps(config))
    reloaded = transformers_reload.reload(folder, tiny, images_and_texts)
    with pytest.raises(UserError, match="differ from the model's by"):
        probe.check_equal(reloaded, probe.features(tiny, images_and_texts))
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"transformers \S+ cannot load what was written"):
        transformers_reload.reload(folder, tiny, images_and_texts)
