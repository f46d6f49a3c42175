"""What a user sees when something is wrong: one line, a status, nothing half-written."""

import errno
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline import clip, embed
from pipeline.atomic import replacing_directory, replacing_file
from pipeline.device import pick_device
from pipeline.errors import UserError
from pipeline.images import IMAGES
from pipeline.prepare import pack
from pipeline.checkpoint import save_state
from pipeline.tables import write_table
from stages import base_model, describe, evaluate, finetune, prepare
from stages import embed as embed_stage
from stages import filter as filter_stage
from stages.runner import stage
from tests.conftest import folder_params
from tests.test_descriptions import fake_encode

ROOT = Path(__file__).parents[1]


def fails(main, *args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(*args)
    return caught.value.code


@pytest.fixture
def project(packed, clip_folder, monkeypatch):
    """A project whose only set is "tiny": images, base model and embeddings are there."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    shutil.copytree(clip_folder, packed / "data/base_model")
    shutil.copytree(clip_folder, packed / "data/model")
    set_params(packed)
    rows = [
        {"class_id": c, "name": c, "text": f"{c} {i}", "source": "s", "rank": i}
        for c in ("n00", "n01", "n02")
        for i in range(2)
    ]

    def encode(texts):
        return np.tile(fake_encode(texts), 6)[:, :16] / 2.3

    columns, schema = embed.description_columns(rows, encode)
    write_table(embed.FOLDER / "descriptions.parquet", columns, schema)
    return packed


def set_params(folder: Path, **changes: object) -> None:
    """The committed params.yaml turned towards the set "tiny"; keys are "section.key"."""
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text())
    defaults = {
        "describe.dataset": "tiny",
        "finetune.dataset": "tiny",
        "finetune.epochs": 1,
        "finetune.batch_size": 4,
        "evaluate.datasets": ["tiny"],
    }
    for key, value in (defaults | changes).items():
        section, name = key.split(".")
        values[section][name] = value
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)


def one_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("data/x: broken; mend it"), 1, "error: data/x: broken; mend it"),
        (OSError(errno.ENOSPC, "No space left on device", "data/y"), 1, "data/y: No space left"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_stage_ends_in_one_line_and_a_status(capsys, monkeypatch, error, status, text):
    monkeypatch.delenv("DVC_STAGE", raising=False)

    @stage("demo")
    def main() -> None:
        raise error

    assert fails(main) == status
    message = capsys.readouterr().err
    assert message.strip().startswith("[demo] error: ")
    assert text in message
    assert "Traceback" not in message


def test_our_own_bugs_keep_their_traceback():
    @stage("demo")
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


def test_outputs_appear_whole_or_not_at_all(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError), replacing_file(tmp_path / "file") as partial:
        partial.write_text("half") and (tmp_path / "no").read_text()
    with pytest.raises(FileNotFoundError), replacing_directory(tmp_path / "folder") as partial:
        (partial / "a").write_text("half") and (tmp_path / "no").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    with replacing_directory(tmp_path / "folder") as partial:
        (partial / "a").write_text("whole")
    assert (tmp_path / "folder/a").read_text() == "whole"


def test_cuda_asked_for_where_there_is_none(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("SAFT_DEVICE", "cuda")
    with pytest.raises(UserError, match="SAFT_DEVICE=cuda: no such CUDA device, torch sees 0"):
        pick_device()
    for name in ("gpu", "mps", "meta", "cuda:x"):
        monkeypatch.setenv("SAFT_DEVICE", name)
        with pytest.raises(UserError, match=f"SAFT_DEVICE={name}: not a device"):
            pick_device()
    monkeypatch.setenv("SAFT_DEVICE", "auto")
    assert pick_device().type == "cpu"


def test_k_larger_than_the_number_of_sentences(project, capsys):
    (project / "d.json").write_text('{"n00": ["a", "b"], "n01": ["c", "d"], "n02": ["e"]}')
    values = {"describe.backend": "file", "filter.top_k": 2}
    set_params(
        project, **values, **{"describe.options": {"file": {"path": "d.json", "fill": None}}}
    )
    describe.main()
    assert fails(filter_stage.main) == 1
    assert "1 of 3 classes have fewer than filter.top_k = 2 sentences: n02 (1)" in one_line(capsys)
    assert not (project / "data/filtered").exists()


def test_stages_before_their_inputs(project, capsys):
    assert fails(filter_stage.main) == 1
    assert "data/descriptions/descriptions.parquet: not found; run `dvc repro`" in one_line(capsys)
    assert fails(embed_stage.main) == 1
    assert "data/filtered/descriptions.parquet: not found" in one_line(capsys)
    assert fails(evaluate.main, "absent") == 1
    assert "data/images/absent/images.npy: not found" in one_line(capsys)


def test_a_nan_loss_leaves_no_model(project, capsys):
    set_params(project, **{"finetune.learning_rate": 1e30, "finetune.epochs": 5})
    shutil.rmtree(project / "data/model")
    assert fails(finetune.main) == 1
    assert "lower finetune.learning_rate" in one_line(capsys)
    assert not (project / "data/model").exists()


def test_a_model_of_another_size_is_named(project, capsys):
    shutil.rmtree(IMAGES / "tiny")
    from pipeline.datasets import imagefolder

    source = imagefolder.open_source(folder_params(project.parent / "raw", size=32))
    pack(source, "tiny", IMAGES / "tiny", Path("data/classes/tiny.parquet"))
    assert fails(finetune.main) == 1
    assert "takes 16 x 16 pixels, the images are 32 x 32" in one_line(capsys)


@pytest.mark.parametrize("kind", ["null", "digits", "[a]", "{digits: x}"])
def test_a_section_of_another_kind_is_one_line(project, capsys, kind):
    (project / "params.yaml").write_text(f"prepare: {kind}\n")
    assert fails(prepare.main, "digits") == 1
    assert "params.yaml: prepare: expected" in one_line(capsys)


def test_pretraining_that_diverges_or_cannot_start_leaves_no_model(project, capsys):
    shutil.rmtree(project / "data/base_model")
    (project / "captions.json").write_text("{}")
    values = YAML(typ="safe").load((ROOT / "params.yaml").read_text())["base_model"]["options"]
    small = {"width": 32, "layers": 1, "patch_size": 4, "steps": 3, "batch_size": 8}
    small |= {"text_width": 32, "text_layers": 1, "captions": "captions.json"}
    for change, message in (
        ({"learning_rate": 1e30}, r"the loss is nan at step \d; lower base_model.options"),
        ({"patch_size": 5}, "patches of 5 pixels do not tile images of 16"),
        ({"templates": []}, "key 'templates'.*at least 1 item"),
        ({"templates": ["hello"]}, r"key 'templates.0'.*needs exactly one \{\}"),
    ):
        changed = values | {"pretrain": values["pretrain"] | small | change}
        set_params(project, **{"base_model.dataset": "tiny", "base_model.options": changed})
        assert fails(base_model.main) == 1
        assert re.search(message, one_line(capsys))
        assert not (project / "data/base_model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["preprocess_cfg"].pop("std"), "KeyError.'std'"),
        (lambda c: c["preprocess_cfg"].update(mean=None), "NoneType"),
        (lambda c: c["model_cfg"]["text_cfg"].update(hf_tokenizer_name="x"), "not supported"),
    ],
)
def test_a_local_model_that_cannot_be_used_is_refused_at_once(project, capsys, change, message):
    config = project / "data/model" / clip.CONFIG_FILE
    values = json.loads(config.read_text())
    change(values)
    config.write_text(json.dumps(values))
    options = {"local": {"path": str(project / "data/model")}}
    set_params(project, **{"base_model.source": "local", "base_model.options": options})
    assert fails(base_model.main) == 1
    assert re.search(f"{clip.CONFIG_FILE}: not an open_clip config.*{message}", one_line(capsys))


def test_a_damaged_checkpoint_is_named(project, capsys):
    (project / "data/base_model" / clip.WEIGHTS_FILE).write_bytes(b"nonsense")
    assert fails(finetune.main) == 1
    assert f"data/base_model/{clip.WEIGHTS_FILE}: " in one_line(capsys)


def test_bad_params_stop_a_stage_before_any_work(project, capsys):
    set_params(project, **{"finetune.momentum": 2.0})
    assert fails(finetune.main) == 1
    assert "params.yaml: finetune: key 'momentum'" in one_line(capsys)
    set_params(project, **{"finetune.method": "magic"})
    assert fails(finetune.main) == 1
    assert "finetune.method: 'magic' is not one of" in one_line(capsys)


@pytest.fixture
def full_disk(tmp_path):
    """A real file system of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system of 200 kB")
    yield folder
    os.chdir("/")
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_leaves_nothing(full_disk, class_folders, clip_folder):
    from pipeline.datasets import imagefolder

    source = imagefolder.open_source(folder_params(class_folders, size=128))
    with pytest.raises(OSError, match="No space left"):
        pack(source, "tiny", full_disk / "images", full_disk / "classes.parquet")
    loaded = clip.load(clip_folder)
    with pytest.raises(UserError, match="No space left on device"):
        clip.save(loaded.model, loaded.config, full_disk / "model")
    with pytest.raises(OSError, match="No space left"):
        save_state(full_disk, loaded.model.state_dict())
    assert list(full_disk.iterdir()) == []
