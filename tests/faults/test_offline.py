"""A model's config that names parts on the network: loading refuses it and asks nobody."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.clip import model as clip
from pipeline.clip.config import CONFIG_FILE
from pipeline.common.errors import UserError
from pipeline.models import folders

HUB = "hf-hub:someone/something"
HOSTILE: dict[str, dict[str, Any]] = {
    "an image encoder of timm": {"vision_cfg": {"timm_model_name": HUB}},
    "one of timm, pretrained": {
        "vision_cfg": {"timm_model_name": "vit_base_patch16_224", "timm_model_pretrained": True}
    },
    "a text tower of the hub": {"text_cfg": {"hf_model_name": "someone/something"}},
    "that with a flag": {
        "custom_text": True, "text_cfg": {"hf_model_name": "x/y", "hf_model_pretrained": True}
    },
    "a tokenizer of the hub": {"text_cfg": {"hf_tokenizer_name": "someone/something"}},
    "an empty tokenizer": {"text_cfg": {"hf_tokenizer_name": ""}},
    "a tokenizer's file": {"text_cfg": {"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}},
    "a text tower as a module": {"custom_text": True},
    "a third tower": {"multimodal_cfg": {"width": 16}},
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Everything that was asked of the network, which is none; the hub's own switch is open."""
    calls: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        calls.append(arguments)
        raise OSError("the test has no network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return calls


def test_the_fixture_sees_what_asks(asked):
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))
    assert asked


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("load", [clip.load, folders.load])
def test_a_config_cannot_make_a_load_ask_the_network(load, case, clip_folder, tmp_path, asked):
    folder = tmp_path / "model"
    shutil.copytree(clip_folder, folder)
    config = json.loads((folder / CONFIG_FILE).read_text())
    for key, value in HOSTILE[case].items():
        inner = config["model_cfg"].get(key)
        config["model_cfg"][key] = inner | value if isinstance(inner, dict) else value
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert CONFIG_FILE in str(caught.value)
    assert asked == []


def test_a_sound_folder_loads_without_a_question(clip_folder: Path, asked):
    assert clip.load(clip_folder).config
    assert folders.load(clip_folder).config
    assert asked == []


def test_keys_of_other_parts_that_name_none_hinder_nobody(clip_folder: Path, tmp_path: Path, asked):
    folder = tmp_path / "model"
    shutil.copytree(clip_folder, folder)
    config = json.loads((folder / CONFIG_FILE).read_text())
    sound = folders.load(clip_folder).config
    model = config["model_cfg"]
    model["multimodal_cfg"] = None
    model["vision_cfg"]["timm_model_name"] = None
    model["text_cfg"] |= dict.fromkeys(("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs"))
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    assert folders.load(folder).config == sound
    assert asked == []
