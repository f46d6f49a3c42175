"""Folders that the transformers library itself wrote, against its own features.

The library comes with the extra `vllm`; without it these tests are skipped.
"""

import pytest
import torch

from pipeline.model_sources import local
from tests.conftest import SIZE
from tests.support.clip_layouts import into_clip, transformers_config, transformers_state

TOLERANCE = 1e-6  # of features of about 1: another order of the same sums


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_features_are_those_of_the_library(tmp_path, activation):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.CLIPConfig(**transformers_config(activation))
    theirs = transformers.CLIPModel(config).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    theirs.save_pretrained(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "several", max_shard_size="500KB")
    images = torch.rand(2, 3, SIZE, SIZE)
    tokens = torch.tensor([[49406, 320, 1125, 49407] + [0] * 12])
    with torch.no_grad():
        # scores do not depend on how a version of the library returns features
        scores = theirs(input_ids=tokens, pixel_values=images).logits_per_image
    for name in ("one", "several"):
        model = local.build(local.Params(path=str(tmp_path / name))).model
        with torch.no_grad():
            image = model.encode_image(images, normalize=True)
            text = model.encode_text(tokens, normalize=True)
            ours = model.logit_scale.exp() * image @ text.T
        assert (ours - scores).abs().max() < TOLERANCE * model.logit_scale.exp()
    # the names that the miniatures are written with are the library's
    assert transformers_state(model.state_dict()).keys() == theirs.state_dict().keys()


def test_an_image_encoder_that_the_library_saved_alone(tmp_path, clip_folder):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.CLIPVisionConfig(**transformers_config("gelu")["vision_config"])
    theirs = transformers.CLIPVisionModelWithProjection(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    model = into_clip(tmp_path / "theirs", clip_folder).model
    images = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = theirs(pixel_values=images).image_embeds
        assert (model.encode_image(images) - expected).abs().max() < TOLERANCE
