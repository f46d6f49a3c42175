"""What `saft check` says of models: what is there, what is missing and how to get it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from saft.check import dvc, published
from saft.check import parts as checks
from saft.check.part import Part
from saft.check.plan import Plan
from tests.support.check_project import change, entered
from tests.support.project import make

OPENAI = {"model": "ViT-B-32-quickgelu", "tag": "openai", "cache_dir": None}
STAGES = ("pretrain@small", "model@base", "model@other", "describe", "finetune")
FARE = {"model": "hf-hub:someone/clip", "tag": None, "cache_dir": None}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(checkout, monkeypatch):
    """The copy as current folder, of which dvc would run the models, with an empty cache."""
    runs = dvc.Runs(STAGES, "", Path(".dvc/cache"), "copy")
    monkeypatch.setattr(dvc, "stages_to_run", lambda: runs)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(published, "offline", lambda: False)
    yield from entered(checkout, monkeypatch)
    shutil.rmtree(checkout / "data/raw", ignore_errors=True)


def with_model(source: str, options: dict[str, Any], name: str = "other", **about: Any) -> None:
    """Add a model, which alone is evaluated."""
    models = YAML(typ="safe").load(Path("params.yaml").read_text())["models"]
    known = {"defended": True, "licence": None, "citation": None}
    models[name] = {"source": source, "options": options} | known | about
    change(models=models, evaluate__models=[name], report__reference=name)


def checked() -> dict[str, Part]:
    """Every part by its title."""
    parts = {part.title: part for part in checks.run(Plan())}
    assert not any(checks.UNEXPECTED in text for part in parts.values() for text in part.problems)
    return parts


def all_problems() -> list[str]:
    return [text for part in checked().values() for text in part.problems]


def test_the_fine_tuned_model_is_of_the_base_models_sizes(project):
    plan = Plan()
    assert list(plan.models) == ["base", "finetuned"]
    assert plan.models["finetuned"].config == plan.models["base"].config is not None
    part = checked()["models"]
    assert (
        part.lines[0] == "base                    pretrained here (pretrain.small), 3 steps of 16"
    )
    assert part.lines[1] == f"{'':24}not defended; licence: not known"
    assert part.lines[-1] == "finetuned               what finetune makes of base"


def test_only_what_is_evaluated_is_looked_at(project, clip_folder):
    with_model("local", {"path": str(clip_folder)}, licence="MIT", citation="Author 2024")
    change(evaluate__space="native")
    parts = checked()
    assert [text for part in parts.values() for text in part.problems] == []
    assert parts["models"].lines[:2] == [
        f"other                   {clip_folder}: there",
        f"{'':24}defended; licence: MIT; from: Author 2024",
    ]
    assert parts["models"].values["other"]["there"] is True
    unused = [line for line in parts["image data"].lines if line.startswith("not used")]
    assert ["shapes-train" in line for line in unused] == [True]
    assert "not needed: neither 'finetuned' nor text set 'descriptions'" in str(
        parts["descriptions"].lines
    )
    assert "finetune.batch_size" not in parts["memory"].values
    assert set(Plan().models) == {"other"}


def test_descriptions_need_the_base_model_and_a_backend(project, clip_folder):
    with_model("local", {"path": str(clip_folder)})
    change(evaluate__texts=["descriptions"])
    assert list(Plan().models) == ["base", "other"]
    assert "sentences for 40 of 40 classes" in str(checked()["descriptions"].lines)


def test_images_of_another_size_are_one_line_for_each_model(project, clip_folder):
    with_model("local", {"path": str(clip_folder)})
    change(evaluate__models=["base", "other", "finetuned"])
    assert all_problems() == [
        "prepare.sets.shapes-held-out.size is 32, model 'other' takes 16 x 16 pixels; set it to "
        "16, or evaluate.space: native; likewise digits"
    ]
    change(evaluate__models=["other"])
    [line] = all_problems()
    assert line.endswith("set it to 16; likewise digits")
    change(evaluate__space="native")
    assert all_problems() == []


def test_a_tag_that_is_not_in_the_cache(project, monkeypatch):
    with_model("pretrained", OPENAI)
    parts = checked()
    command = '`hf download timm/vit_base_patch32_clip_224.openai --include "open_clip*"`'
    assert (
        parts["models"]
        .lines[0]
        .endswith(
            f"openai: not in the cache: dvc repro downloads it, about 605 MB; {command} does so now"
        )
    )
    assert parts["models"].problems[0].startswith("prepare.sets.shapes-held-out.size is 32")
    assert parts["models"].lines[-1] == "1 of 1 models are not there: other"
    assert parts["disk"].values["downloads"] == pytest.approx(605e6, rel=0.01)
    monkeypatch.setattr(published, "offline", lambda: True)
    missing, *_ = checked()["models"].problems
    assert missing.startswith(
        "models.other: ViT-B-32-quickgelu / openai: not in the cache, and HF_"
    )
    assert f"on a machine with network {command} fetches it, about 605 MB" in missing
    change(models__other__citation="Radford et al. 2021")
    assert checked()["models"].problems[0].endswith("605 MB; from: Radford et al. 2021")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: "/cache/w")
    assert checked()["models"].lines[0].endswith("openai: in the cache, /cache/w")


def test_a_repository_of_which_nothing_is_known(project):
    with_model("pretrained", FARE | {"cache_dir": "/large"})
    parts = checked()
    assert "`hf download someone/clip --cache-dir /large`" in parts["models"].lines[0]
    assert [text for part in parts.values() for text in part.problems] == []
    assert "not counted, for the hub tells no size: download of other" in parts["disk"].lines
    weights = "not counted, for their config is not known: weights of other"
    assert weights in parts["disk"].lines
    assert any("not checked: other, of a config that" in x for x in parts["memory"].lines)


def cached_files(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The hub's cache has what is in a folder."""

    def load(_: str, name: str, **__: Any) -> str | None:
        return str(folder / name) if (folder / name).is_file() else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", load)


def test_a_repository_in_the_cache(project, clip_folder, tmp_path, monkeypatch):
    with_model("pretrained", FARE)
    cached_files(monkeypatch, clip_folder)
    parts = checked()
    line = f"hf-hub:someone/clip: in the cache, {clip_folder}/open_clip_model.safetensors"
    assert parts["models"].lines[0].endswith(line)
    assert "model 'other' takes 16 x 16" in parts["models"].problems[0]
    shutil.copy(clip_folder / "open_clip_config.json", tmp_path)
    cached_files(monkeypatch, tmp_path)
    assert "dvc repro downloads it, about" in checked()["models"].lines[0], "the config alone"


def test_a_repository_of_transformers_in_the_cache(project, tmp_path, monkeypatch):
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
             "num_attention_heads": 1}  # fmt: skip
    config = {
        "model_type": "clip",
        "projection_dim": 32,
        "vision_config": sizes | {"image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu"},
        "text_config": sizes | {"hidden_act": "quick_gelu"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    cached_files(monkeypatch, tmp_path)
    with_model("pretrained", FARE)
    assert "not in the cache: dvc repro downloads it, about" in checked()["models"].lines[0]
    (tmp_path / "model.safetensors").touch()
    parts = checked()
    assert parts["models"].lines[0].endswith(f"in the cache, {tmp_path}/model.safetensors")
    assert "1 blocks of width 64, 17 tokens of 32 x 32" in parts["models"].lines[2]
    assert [text for part in parts.values() for text in part.problems] == []


def test_a_checkpoint_and_the_clip_around_it(project, clip_folder, monkeypatch):
    with_model("checkpoint", OPENAI | {"file": "tecoa.pt"}, citation="Mao et al. 2023")
    missing, *_ = checked()["models"].problems
    assert missing.startswith(
        "models.other.options.file: data/raw/tecoa.pt: not found; put the checkpoint there (below "
        "$SAFT_DATA, data.root or data/raw), or name where it lies; around it ViT-B-32-quickgelu / "
        "openai: not in the cache: dvc repro downloads it"
    )
    assert missing.endswith("; from: Mao et al. 2023")
    Path("data/raw").mkdir(parents=True)
    Path("data/raw/tecoa.pt").touch()
    monkeypatch.setattr(published, "offline", lambda: True)
    around, *_ = checked()["models"].problems
    assert around.startswith("models.other: ViT-B-32-quickgelu / openai: not in the cache, and HF_")
    options = {"model": f"local-dir:{clip_folder}", "tag": None, "cache_dir": None}
    with_model("checkpoint", options | {"file": "tecoa.pt"})
    assert "model 'other' takes 16 x 16 pixels" in all_problems()[0]
    with_model("checkpoint", options | {"file": "tecoa.pt", "model": "local-dir:nowhere"})
    assert "models.other.options.model: data/raw/nowhere: not found" in all_problems()[0]


def test_the_origin_that_a_model_is_compared_with_is_fetched_too(project, clip_folder, monkeypatch):
    options = {"path": str(clip_folder), "origin": "ViT-B-32-quickgelu/openai"}
    with_model("local", options)
    assert "there; its origin ViT-B-32-quickgelu / openai: not in" in checked()["models"].lines[0]
    monkeypatch.setattr(published, "offline", lambda: True)
    assert checked()["models"].problems[0].startswith("models.other: ViT-B-32-quickgelu / openai: ")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("local", {"path": "nowhere"}, "models.other.options.path: data/raw/nowhere: not found; "),
        ("local", {"path": "."}, "models.other: data/raw/open_clip_config.json: not found"),
        ("local", {"path": "robust.pt"}, "models.other: data/raw/robust.pt: is a file; name the f"),
        ("local", {"path": "lfs"}, "models.other: data/raw/lfs/open_clip_config.json: a pointer o"),
        ("local", {"file": "x"}, "params.yaml: models.other.options: missing key 'path'"),
        ("pretrained", OPENAI | {"tag": "magic"}, "models.other: 'ViT-B-32-quickgelu' has no tag"),
        ("pretrained", OPENAI | {"model": "x"}, "models.other: open_clip has no model 'x'"),
        ("pretrained", FARE | {"tag": "x"}, "models.other: model hf-hub:someone/clip has one set"),
        ("elsewhere", {}, "params.yaml: models.other.source: 'elsewhere' is not one of checkpoint"),
        ("pretrain", {"training": "x"}, "params.yaml: models.other.options.training: section pret"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_model_is_one_line(project, source, options, message):
    Path("data/raw/lfs").mkdir(parents=True)
    Path("data/raw/lfs/open_clip_config.json").write_text("version https://git-lfs.github.com/sp")
    Path("data/raw/robust.pt").touch()
    with_model(source, options)
    problems = all_problems()
    assert problems[0].startswith(message)
    assert all("\n" not in text for text in problems)
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("patch_size", 7, "pretrain.small: patches of 7 pixels do not tile images of 32;"),
        ("captions", "x.json", "pretrain.small.captions: x.json: not found; name a file"),
    ],
)  # fmt: skip
def test_a_training_that_cannot_run(project, key, value, message):
    change(**{f"pretrain__small__{key}": value})
    assert all_problems()[0].startswith(message)
