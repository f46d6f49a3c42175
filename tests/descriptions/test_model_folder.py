"""A chat model in a local folder: what identifies it, and what is wrong with half of one."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from pipeline.descriptions import model_folder
from pipeline.descriptions.model_folder import check_chat_template, check_model, model_hashes
from tests.support.model_folders import write_model_folder


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return write_model_folder(tmp_path / "model")


def test_files_that_an_engine_reads_are_hashed_and_no_others(model):
    for name in ("README.md", ".gitattributes", "training_args.bin", "optimizer.pt"):
        (model / name).write_text("x")
    (model / "original").mkdir()
    (model / "original/consolidated.pth").write_text("x")
    hashes = model_hashes(model)
    assert list(hashes) == [
        "chat_template.jinja", "config.json", "model.safetensors", "tokenizer_config.json",
    ]  # fmt: skip
    for name, sha256 in hashes.items():
        assert sha256 == hashlib.sha256((model / name).read_bytes()).hexdigest()


def test_a_copy_has_the_same_hashes_and_a_changed_file_others(model, tmp_path):
    first = model_hashes(model)
    assert model_hashes(shutil.copytree(model, tmp_path / "copy")) == first
    write_model_folder(model, weight=2.0)
    second = model_hashes(model)
    assert {name for name in first if first[name] != second[name]} == {"model.safetensors"}


def test_what_was_hashed_is_not_hashed_again(model, monkeypatch):
    first = model_hashes(model)
    hashed: list[Path] = []
    real = model_folder._sha256

    def counted(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(model_folder, "_sha256", counted)
    assert model_hashes(model) == first
    assert hashed == []
    (model / "config.json").write_text('{"model_type": "another"}')
    model_hashes(model)
    assert hashed == [model / "config.json"]


def test_missing_parts_are_named(model):
    names = [f"model-0000{number}-of-00005.safetensors" for number in range(1, 6)]
    index = {"weight_map": {f"w{number}": name for number, name in enumerate(names)}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.move(model / "model.safetensors", model / names[0])
    message = (
        r"model.safetensors.index.json: 4 of its 5 files are not there: model-00002-of-00005"
        r".*00004-of-00005.safetensors and 1 more; fetch the model again"
    )
    with pytest.raises(UserError, match=message):
        model_hashes(model)
    (model / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match="has no weight_map"):
        check_model(model)
    (model / "model.safetensors.index.json").write_text("{")
    with pytest.raises(UserError, match="index.json: not valid JSON"):
        check_model(model)


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_weight_file_that_is_cut_off_is_named(model, keep):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"model\.safetensors: .*fetch it again"):
        check_model(model)


def test_a_file_that_is_no_weights_is_named(model):
    (model / "model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="no safetensors file, or cut off"):
        check_model(model)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "vocab.json", "merges.txt"]
)
def test_a_pointer_of_git_lfs_is_named_whatever_it_stands_for(model, name):
    (model / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(
        UserError, match=f"{name}: a pointer of Git LFS, not the file; run `git lfs"
    ):
        check_model(model)


def test_a_file_with_another_hash_than_the_hubs_is_named(model):
    sha256 = model_hashes(model)["model.safetensors"]
    notes = model / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    note = notes / "model.safetensors.metadata"
    (notes / "config.json.metadata").write_text(
        "commit\n" + "a" * 40 + "\n1.0\n"
    )  # git's, not ours
    note.write_text(f"commit\n{sha256}\n1.0\n")
    assert model_hashes(model)["model.safetensors"] == sha256
    note.write_text("commit\n" + "0" * 64 + "\n1.0\n")
    with pytest.raises(UserError, match="not the file that was downloaded") as caught:
        model_hashes(model)
    assert sha256[:12] in str(caught.value)


def test_a_template_is_found_in_every_place_that_it_can_have(model):
    check_chat_template(model)
    (model / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"no chat template .* such as Qwen/Qwen2.5-1.5B-Instruct"):
        check_chat_template(model)
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    check_chat_template(model)
    (model / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="no chat template"):
        check_chat_template(model)
    (model / "chat_template.json").write_text("{}")
    check_chat_template(model)
