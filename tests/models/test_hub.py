"""Where the base model comes from: published names, repositories of the hub, and the activation
that goes with the weights. Everything is read from files; nothing asks the network."""

import json
import shutil
import warnings
from pathlib import Path

import huggingface_hub.constants
import open_clip
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from open_clip.transformer import QuickGELU

from pipeline.clip import model as clip
from pipeline.common.errors import UserError
from pipeline.common.tables import write_json
from pipeline.model_sources import local, pretrain, pretrained
from pipeline.models import hub, repository_files
from pipeline.models.pretraining import FOLDER, ORIGIN, PretrainParams, origin
from tests.conftest import MODEL_CFG, SIZE
from tests.support.clip_layouts import (
    transformers_config,
    transformers_state,
    write_transformers,
)

REPOSITORY = "hf-hub:someone/robust-clip"


def build(model: str, tag: str | None, cache: Path | None = None):
    values = {"model": model, "tag": tag, "cache_dir": cache and str(cache)}
    return pretrained.build(pretrained.Params.model_validate(values))


def refused(model: str, tag: str | None, cache: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        build(model, tag, cache)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def tiny(clip_folder, monkeypatch):
    """A name of open_clip's, "Tiny", published under two tags with the weights of `clip_folder`:
    trained with OpenAI's activation, and with the usual one."""
    weights = {"file": str(clip_folder / clip.WEIGHTS_FILE), "mean": (0.4, 0.5, 0.6)}
    tags = {"openai": weights | {"quick_gelu": True, "resize_mode": "squash"}, "laion": weights}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny", MODEL_CFG)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", tags)


@pytest.fixture
def cache(clip_folder, tmp_path, monkeypatch):
    """A cache of the hub with one repository, and a hub that is out of reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "cache/models--someone--robust-clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("0" * 40)
    shutil.copytree(clip_folder, repository / "snapshots" / ("0" * 40))
    return tmp_path / "cache"


def change_config(cache: Path, change) -> None:
    [path] = cache.rglob(clip.CONFIG_FILE)
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def activations(model) -> set[type]:
    return {type(module) for module in model.modules() if "GELU" in type(module).__name__}


def features(model) -> torch.Tensor:
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.eval().encode_image(images)


def test_openai_weights_get_their_activation_and_the_exported_folder_keeps_it(tiny, tmp_path):
    quick, usual = build("Tiny", "openai"), build("Tiny", "laion")
    assert quick.config["model_cfg"]["quick_gelu"] is True
    assert usual.config["model_cfg"]["quick_gelu"] is False
    assert activations(quick.model) == {QuickGELU}
    assert activations(usual.model) == {torch.nn.GELU}
    assert not torch.allclose(features(quick.model), features(usual.model), atol=1e-3)
    clip.save(quick.model, quick.config, tmp_path / "saved")
    again = clip.load(tmp_path / "saved").model
    assert activations(again) == {QuickGELU}
    assert torch.equal(features(again), features(quick.model))
    theirs, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'saved'}")
    assert torch.equal(features(theirs), features(quick.model))


def test_preprocessing_is_the_published_one_and_clips_where_none_is(tiny):
    quick, usual = build("Tiny", "openai"), build("Tiny", "laion")
    assert quick.config["preprocess_cfg"]["mean"] == [0.4, 0.5, 0.6]
    assert quick.config["preprocess_cfg"]["std"] == list(open_clip.OPENAI_DATASET_STD)
    assert quick.config["preprocess_cfg"]["resize_mode"] == "squash"
    assert usual.config["preprocess_cfg"]["resize_mode"] == "shortest"


@pytest.mark.parametrize(
    ("model", "tag", "quick_gelu"),
    [
        ("ViT-B-32", "openai", True),
        ("ViT-B-32-quickgelu", "openai", True),
        ("ViT-B-32", "laion2b_s34b_b79k", False),
    ],
)
def test_the_activation_of_real_names_follows_the_weights(monkeypatch, model, tag, quick_gelu):
    requests = []

    def create(name, **options):
        requests.append((name, options["pretrained"], options["force_quick_gelu"]))
        return torch.nn.Identity()

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", create)
    built = build(model, tag)
    assert requests == [(model, tag, quick_gelu)]
    assert built.config["model_cfg"]["quick_gelu"] is quick_gelu
    assert built.config["preprocess_cfg"] == clip.preprocess_config()


def test_a_mismatch_that_open_clip_only_warns_about_is_an_error(monkeypatch):
    def create(name, **options):
        warnings.warn("QuickGELU mismatch between final model config", stacklevel=1)

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", create)
    assert "cannot load ViT-B-32 / openai: QuickGELU mismatch" in refused("ViT-B-32", "openai")


def test_unknown_names_and_missing_weights_are_one_line(monkeypatch):
    assert "open_clip has no model 'ViT-Z'" in refused("ViT-Z", "openai")
    assert "'ViT-B-32' has no tag 'magic', only: openai" in refused("ViT-B-32", "magic")
    assert "'ViT-B-32' has no tag 'None', only: openai" in refused("ViT-B-32", None)

    def unreachable(*args, **options):
        raise FileNotFoundError("Failed to download\nweights")

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", unreachable)
    assert "Failed to download; download it once" in refused("ViT-B-32", "openai")


@pytest.mark.parametrize("quick", [True, False])
def test_a_repository_of_the_hub_comes_from_the_cache_with_its_own_config(
    cache, clip_folder, quick
):
    change_config(cache, lambda config: config["model_cfg"].update(quick_gelu=quick))
    change_config(cache, lambda config: config["preprocess_cfg"].update(interpolation="bilinear"))
    built = build(REPOSITORY, None, cache)
    assert built.config["model_cfg"] == MODEL_CFG | {"quick_gelu": quick}
    assert built.config["preprocess_cfg"]["interpolation"] == "bilinear"
    assert activations(built.model) == {QuickGELU if quick else torch.nn.GELU}
    expected = clip.load(clip_folder).model.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in built.model.state_dict().items())


def test_half_precision_weights_become_float32(cache, clip_folder):
    weights = clip.load(clip_folder).model.half().state_dict()
    [path] = cache.rglob(clip.WEIGHTS_FILE)
    path.unlink()
    torch.save(weights, path.with_name("open_clip_pytorch_model.bin"))
    built = build(REPOSITORY, None, cache)
    assert {weight.dtype for weight in built.model.state_dict().values()} == {torch.float32}


def test_a_repository_without_weights_is_no_random_model(cache):
    [path] = cache.rglob(clip.WEIGHTS_FILE)
    path.unlink()
    assert (
        f"cannot load {REPOSITORY}: it has none of open_clip_model.safetensors, "
        "open_clip_pytorch_model.bin; download it once"
    ) in refused(REPOSITORY, None, cache)


def test_a_repository_that_is_not_in_the_cache_says_what_to_do(cache):
    message = refused("hf-hub:someone/else", None, cache)
    assert "cannot load hf-hub:someone/else: " in message
    assert "download it once on a machine with network, or use source: local" in message


def test_a_repository_without_any_config_is_no_matter_of_the_network(monkeypatch):
    def not_found(*args, **options):
        raise EntryNotFoundError("404 Client Error")

    monkeypatch.setattr(hub, "hf_hub_download", not_found)
    assert refused(REPOSITORY, None) == (
        f"{REPOSITORY} cannot be used: it has neither open_clip_config.json nor config.json; "
        "choose another model"
    )


def test_a_tag_beside_a_repository_is_refused(cache):
    assert f"model {REPOSITORY} has one set of weights, but tag is 'openai'; set tag: null" in (
        refused(REPOSITORY, "openai", cache)
    )


@pytest.mark.parametrize(
    ("section", "change", "reason"),
    [
        ("text_cfg", {"tokenizer_kwargs": {"strip": True}}, "its tokenizer is one of the Hugging"),
        ("text_cfg", {"hf_tokenizer_name": "org/bert"}, "its tokenizer is one of the Hugging"),
        ("text_cfg", {"vocab_path": "bert.txt"}, "its tokenizer is a vocabulary of its own (text_"),
        ("text_cfg", {"magic": 1}, "its config has keys that open_clip does not know (magic)"),
        ("text_cfg", {"hf_model_name": "xlm"}, "its tokenizer is one of the Hugging Face hub"),
        (None, {"custom_text": True}, "its text tower is a module of its own (CustomTextCLIP)"),
        ("vision_cfg", {"timm_model_name": "eva02"}, "its image encoder is eva02, only"),
        ("vision_cfg", {"layers": [3, 4, 6, 3]}, "its image encoder is a ResNet, only"),
    ],
)
def test_layouts_that_are_not_supported_name_model_and_reason(cache, section, change, reason):
    change_config(
        cache, lambda c: (c["model_cfg"][section] if section else c["model_cfg"]).update(change)
    )
    message = refused(REPOSITORY, None, cache)
    assert f"{REPOSITORY} cannot be used: {reason}" in message
    assert "download it once" not in message


@pytest.mark.parametrize(
    ("model", "tag", "reason"),
    [
        ("ViT-B-16-SigLIP", "webli", "ViT-B-16-SigLIP / webli cannot be used: its tokenizer"),
        ("RN50", "openai", "RN50 / openai cannot be used: its image encoder is a ResNet"),
    ],
)
def test_published_models_that_are_not_supported_are_refused_before_any_download(
    model, tag, reason
):
    assert reason in refused(model, tag)


@pytest.mark.parametrize(
    ("section", "change", "reason"),
    [
        ("vision_cfg", {"width": "wide"}, "open_clip cannot build its config: "),
        ("vision_cfg", {"layers": 3}, "missing (visual.transformer.resblocks.2.ln_1.weight"),
        ("vision_cfg", {"image_size": 24}, "has 17 positional embeddings, its config 37: image_"),
        ("text_cfg", {"context_length": 8}, "of another shape (positional_embedding (16, 16) for"),
    ],
)
def test_a_config_that_contradicts_its_weights_is_no_matter_of_the_network(
    cache, section, change, reason
):
    change_config(cache, lambda config: config["model_cfg"][section].update(change))
    message = refused(REPOSITORY, None, cache)
    assert reason in message
    assert "download it once" not in message


def test_a_tag_whose_config_open_clip_cannot_build_is_no_matter_of_the_network(monkeypatch):
    def create(name, **options):
        raise TypeError("CLIPTextCfg.__init__() got an unexpected keyword argument 'vocab_path'")

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", create)
    message = refused("ViT-B-32", "openai")
    assert message.endswith("'vocab_path'; config and weights contradict each other")


@pytest.mark.parametrize("form", ["safetensors", "sharded bin"])
def test_a_repository_of_the_transformers_layout(cache, clip_folder, form):
    [snapshot] = (cache / "models--someone--robust-clip/snapshots").iterdir()
    state = clip.load(clip_folder).model.state_dict()
    for file in snapshot.iterdir():
        file.unlink()
    write_transformers(snapshot, transformers_state(state), transformers_config("gelu"), form)
    built = build(REPOSITORY, None, cache)
    assert all(torch.equal(v, state[k]) for k, v in built.model.state_dict().items())
    assert built.config["model_cfg"]["quick_gelu"] is False
    for file in snapshot.glob("*0000*" if "sharded" in form else "model*"):
        file.unlink()
    message = refused(REPOSITORY, None, cache)
    assert ("which it names, is not there" if "sharded" in form else "has none of") in message


def test_an_activation_that_open_clip_publishes_otherwise_is_said(cache, monkeypatch):
    settings = {"hf_hub": "someone/robust-clip/", "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Tiny", {"openai": settings})
    [note] = build(REPOSITORY, None, cache).notes
    assert note == "its config has quick_gelu false, open_clip publishes these weights with true"
    change_config(cache, lambda config: config["model_cfg"].update(quick_gelu=True))
    assert build(REPOSITORY, None, cache).notes == []


def test_a_broken_config_of_a_repository_is_one_line(cache):
    change_config(cache, lambda config: config.pop("model_cfg"))
    assert f"{REPOSITORY}: {clip.CONFIG_FILE} is not usable: KeyError('model_cfg')" in refused(
        REPOSITORY, None, cache
    )


def test_what_a_model_card_says_of_each_source():
    def about(module, **options):
        return module.about(module.Params.model_construct(**options))

    tagged = about(pretrained, model="ViT-B-32", tag="openai")
    assert tagged == ("`ViT-B-32 / openai` (open_clip)", "timm/vit_base_patch32_clip_224.openai")
    repository = about(pretrained, model=REPOSITORY, tag=None)
    assert repository == (f"`{REPOSITORY}` (open_clip)", "someone/robust-clip")
    assert about(local, path="/home/me/clip") == ("the CLIP folder `clip`", None)


def test_what_a_model_card_says_of_a_model_pretrained_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = PretrainParams.model_construct(dataset="pairs", steps=4, batch_size=8)
    write_json(FOLDER / "small" / ORIGIN, {"origin": origin(params)})
    text, hub_id = pretrain.about(pretrain.Params(training="small"))
    assert text.endswith("on image set `pairs` (4 steps of 8 image-text pairs)")
    assert hub_id is None


def test_a_single_file_of_a_repository_comes_from_the_cache(cache):
    snapshot = next(Path(cache).glob("models--someone--robust-clip/snapshots/*"))
    (snapshot / "more").mkdir()
    (snapshot / "more/robust.pt").write_bytes(b"weights")
    path = repository_files.repository_file(f"{REPOSITORY}/more/robust.pt", cache)
    assert path.read_bytes() == b"weights"
    with pytest.raises(UserError, match=r"cannot load hf-hub:someone/robust-clip/absent.pt: .*"):
        repository_files.repository_file(f"{REPOSITORY}/absent.pt", cache)


@pytest.mark.parametrize("spec", ["hf-hub:a/b", "hf-hub:a", "hf-hub:a/b/", "hf-hub://x"])
def test_what_names_no_file_of_a_repository_is_refused(spec):
    with pytest.raises(UserError, match="write hf-hub:<organisation>/<repository>/<file>"):
        repository_files.repository_file(spec, None)
