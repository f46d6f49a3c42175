"""Where the base model comes from: published names, and the activation that goes with them."""

import open_clip
import pytest
import torch

from pipeline.base_models import pretrained
from pipeline.errors import UserError

CPU = torch.device("cpu")


def build(model: str, tag: str, **changes: object):
    values = {"model": model, "tag": tag, "cache_dir": None} | changes
    return pretrained.build(pretrained.Params.model_validate(values), "any", 0, CPU)


@pytest.mark.parametrize(
    ("model", "tag", "quick_gelu"),
    [
        ("ViT-B-32", "openai", True),
        ("ViT-B-32-quickgelu", "openai", True),
        ("ViT-B-32", "laion2b_s34b_b79k", False),
    ],
)
def test_the_activation_follows_the_weights(monkeypatch, model, tag, quick_gelu):
    asked = []

    def create(name, **options):
        asked.append((name, options["pretrained"], options["force_quick_gelu"]))
        return torch.nn.Identity(), None, None

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    built = build(model, tag)
    assert asked == [(model, tag, quick_gelu)]
    assert built.config["model_cfg"]["quick_gelu"] is quick_gelu
    assert built.config["preprocess_cfg"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)


def test_a_mismatch_that_open_clip_only_warns_about_is_an_error(monkeypatch):
    def create(name, **options):
        import warnings

        warnings.warn("QuickGELU mismatch between final model config", stacklevel=1)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    with pytest.raises(UserError, match="cannot load ViT-B-32 / openai: QuickGELU mismatch"):
        build("ViT-B-32", "openai")


def test_unknown_names_and_missing_weights_are_one_line(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="open_clip has no model 'ViT-Z'"):
        build("ViT-Z", "openai")
    with pytest.raises(UserError, match="'ViT-B-32' has no tag 'magic', only: .*openai"):
        build("ViT-B-32", "magic")

    def unreachable(*args, **options):
        raise FileNotFoundError("Failed to download\nweights")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", unreachable)
    with pytest.raises(UserError, match="cannot load.*Failed to download; download it") as caught:
        build("ViT-B-32", "openai")
    assert "\n" not in str(caught.value)
