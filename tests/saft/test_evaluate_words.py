"""The words of `saft evaluate`: models and image sets, and the names that they get."""

import os
import re

import pytest

from pipeline.common.errors import UserError
from saft.evaluation import models, paths, sets
from tests.support.evaluate_requests import B32, DIGITS, clip_in, images_in

BASE = {"base": {"source": "pretrain"}}


def test_a_model_is_a_name_a_tag_a_repository_a_folder_or_a_file(tmp_path):
    clip_in(tmp_path / "FARE eps2")
    checkpoint = tmp_path / "robust.v2.pt"
    checkpoint.touch()
    assert models.parse("base", BASE, None) == ("base", None)
    assert models.parse("finetuned", BASE, None) == ("finetuned", None)
    tagged = models.parse("ViT-B-32-quickgelu/openai", BASE, None)
    assert tagged.name == "ViT-B-32-quickgelu-openai"
    assert tagged.section["options"] == {
        "model": "ViT-B-32-quickgelu", "tag": "openai", "cache_dir": None
    }  # fmt: skip
    hub = models.parse("hf-hub:chs20/fare2-clip", BASE, None)
    assert hub.name == "chs20-fare2-clip"
    assert hub.section["options"]["model"] == "hf-hub:chs20/fare2-clip"
    assert hub.section["options"]["tag"] is None
    folder = models.parse(str(tmp_path / "FARE eps2"), BASE, None)
    assert re.fullmatch(f"FARE-eps2{DIGITS}", folder.name)
    assert folder.section["source"] == "local"
    file = models.parse(f"mine={checkpoint}", BASE, "ViT-B-32/openai")
    assert re.fullmatch(f"mine{DIGITS}", file.name)
    assert file.section["source"] == "checkpoint"
    assert file.section["options"]["file"] == str(checkpoint)
    assert file.section["options"]["model"] == "ViT-B-32"
    assert all(m.section["defended"] == "unknown" for m in (hub, folder, file))
    assert tagged.section["defended"] is False, "what open_clip publishes is a control"


@pytest.mark.parametrize(
    ("text", "clip", "message"),
    [
        ("nowhere", None, "nowhere: no file or folder, no name and tag of open_clip"),
        ("robust.pt", None, "robust.pt: a checkpoint needs the CLIP it was trained from: --clip"),
        ("robust.pt", "ViT-B-32", "ViT-B-32: write open_clip's name and tag"),
        ("base=robust.pt", "a/b", "there is a model 'base' already; write NAME=robust.pt"),
        ("finetuned=a/b", None, "there is a model 'finetuned' already"),
        ("x=base", None, "x=base: 'base' is a name already, of section models; write base"),
        ("x=finetuned", None, "'finetuned' is a name already"),
        ("", None, "an empty MODEL"),
        (" ", None, "an empty MODEL"),
        ("x=", None, "an empty MODEL"),
        ("=robust.pt", None, "'' cannot be a NAME"),
        ("16=ViT-B-32/openai", None, "'16' cannot be a NAME, which begins with a letter"),
        ("robust.pt", "/openai", "--clip /openai: write open_clip's name and tag"),
        ("robust.pt", "ViT-B-32/", "--clip ViT-B-32/: write open_clip's name and tag"),
        ("robust.pt", "hf-hub:", "--clip hf-hub:: write"),
        ("hf-hub:a", None, "MODEL hf-hub:a: write"),
        ("${x}.pt", "a/b", "a path with ${ or an unprintable character"),
        ("empty", None, "open_clip_config.json: not found"),
        ("weightless", None, "weightless: holds no weights: none of model.safetensors"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch, text, clip, message):
    monkeypatch.chdir(tmp_path)
    for name in ("robust.pt", "${x}.pt"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    clip_in(tmp_path / "weightless")
    (tmp_path / "weightless/model.safetensors").unlink()
    with pytest.raises(UserError, match="^[^\n]+$") as raised:
        models.parse(text, BASE, clip)
    assert message in str(raised.value)


def test_a_path_with_a_sign_in_it_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eps=2.pt").touch()
    for text, name in (("eps=2.pt", "eps-2"), ("mine=eps=2.pt", "mine")):
        model = models.parse(text, BASE, B32)
        assert re.fullmatch(name + DIGITS, model.name)
        assert model.section["options"]["file"] == str(tmp_path / "eps=2.pt")


def test_other_content_is_another_name(tmp_path):
    folder = tmp_path / "2024"
    images_in(folder)
    name = sets.parse(str(folder), {}, 224).name
    assert re.fullmatch(f"images-2024{DIGITS}", name), "a name is no number"
    assert sets.parse(str(folder), {}, 224).name == name
    file = folder / "rose/1.png"
    about = file.stat()
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    touched = sets.parse(str(folder), {}, 224).name
    file.rename(folder / "rose/2.png")
    assert len({name, touched, sets.parse(str(folder), {}, 224).name}) == 3
    (folder / "rose/broken.png").symlink_to("nowhere")
    weights = tmp_path / "1e5.pt"
    weights.write_bytes(b"a")
    first = models.parse(str(weights), BASE, B32).name
    weights.write_bytes(b"ab")
    assert first.startswith("model-1e5-")
    assert models.parse(str(weights), BASE, B32).name != first
    clip = clip_in(tmp_path / "clip")
    first = models.parse(clip, BASE, None).name
    (tmp_path / "clip/model.safetensors").write_bytes(b"other weights")
    assert models.parse(clip, BASE, None).name != first
    assert paths.without_fingerprint(first) == "clip"


def test_a_set_is_a_name_or_a_folder_of_images(tmp_path):
    folder = images_in(tmp_path / "my pictures")
    known = {"digits": {"source": "digits"}}
    assert sets.parse("digits", known, 224) == ("digits", None)
    chosen = sets.parse(folder, known, 48)
    assert re.fullmatch(f"my-pictures{DIGITS}", chosen.name)
    assert chosen.section["root"] == folder
    assert chosen.section["size"] == 48
    assert sets.parse(images_in(tmp_path / "digits"), known, 224).name not in known


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "'absent' is no folder and none of the sets digits"),
        ("", "--sets: an empty word"),
        (" ", "--sets: an empty word"),
        ("file", "'file' is no folder"),
        ("one", "one: holds 1 class folders"),
        ("bare", "class 'a' has no image"),
        ("x${y}", "a path with ${ or an unprintable character"),
    ],
)
def test_a_set_that_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    images_in(tmp_path / "one", "rose")
    images_in(tmp_path / "x${y}")
    for empty in ("bare/a", "bare/b"):
        (tmp_path / empty).mkdir(parents=True)
    with pytest.raises(UserError, match="^[^\n]+$") as raised:
        sets.parse(name, {"digits": {"source": "digits"}}, 224)
    assert message in str(raised.value)
