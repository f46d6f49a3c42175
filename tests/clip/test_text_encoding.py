"""A text is encoded once for every text tower."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.clip import model as clip
from pipeline.clip.model import Clip
from pipeline.clip.text_encoding import OnceEncoder, encode_texts
from pipeline.common.scratch import loaded_code

CPU = torch.device("cpu")
TEXTS = ["a red ball", "a blue cup"]


@pytest.fixture
def loaded(clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return clip.load(clip_folder)


def test_features_are_kept_and_are_those_of_the_model(loaded, tmp_path):
    first = OnceEncoder(loaded, CPU)
    features = first(TEXTS)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, encode_texts(loaded, TEXTS, CPU).numpy())
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-6)
    second = OnceEncoder(loaded, CPU)
    np.testing.assert_array_equal(second(TEXTS), features)
    assert (first.encoded, second.encoded) == (2, 0)
    [file] = (tmp_path / ".scratch/texts").iterdir()
    assert file.suffix == ".npy"


def test_other_texts_and_another_order_are_encoded(loaded):
    encoder = OnceEncoder(loaded, CPU)
    features = encoder(TEXTS)
    np.testing.assert_allclose(encoder(TEXTS[::-1]), features[::-1], atol=1e-6)
    encoder(TEXTS[:1])
    assert encoder.encoded == 2 + 2 + 1
    assert encoder(TEXTS).shape == (2, 16)
    assert encoder.encoded == 5


def test_a_model_with_other_image_weights_shares_and_with_other_text_weights_does_not(loaded):
    features = OnceEncoder(loaded, CPU)(TEXTS)
    other = copy.deepcopy(loaded)
    with torch.no_grad():
        other.model.visual.proj.mul_(2)
    sharing = OnceEncoder(other, CPU)
    np.testing.assert_array_equal(sharing(TEXTS), features)
    assert sharing.encoded == 0
    with torch.no_grad():
        other.model.text_projection.mul_(torch.linspace(0.5, 2.0, 16))
    other_text_tower = OnceEncoder(other, CPU)
    assert np.abs(other_text_tower(TEXTS) - features).max() > 0.01
    assert other_text_tower.encoded == 2


def test_other_code_of_the_encoder_encodes_again(loaded, tmp_path, monkeypatch):
    OnceEncoder(loaded, CPU)(TEXTS)
    edited = tmp_path / "clip/model.py"
    edited.parent.mkdir()
    edited.write_text("# edited\n")
    for file, encoded in ((tmp_path / "cost/meter.py", 0), (edited, 2)):
        code = [*loaded_code(), file]
        monkeypatch.setattr("pipeline.clip.text_encoding.loaded_code", lambda code=code: code)
        encoder = OnceEncoder(loaded, CPU)
        encoder(TEXTS)
        assert encoder.encoded == encoded


@pytest.mark.parametrize("content", [b"", b"no numbers", None])
def test_what_cannot_be_read_is_encoded_again(loaded, tmp_path, content):
    features = OnceEncoder(loaded, CPU)(TEXTS)
    [file] = (tmp_path / ".scratch/texts").iterdir()
    if content is None:
        np.save(file, features[:1])
    else:
        file.write_bytes(content)
    encoder = OnceEncoder(loaded, CPU)
    np.testing.assert_array_equal(encoder(TEXTS), features)
    assert encoder.encoded == 2
    np.testing.assert_array_equal(np.load(file), features)


@pytest.mark.parametrize("damage", [np.nan, 10, 0])
def test_kept_features_that_are_none_are_encoded_again(loaded, tmp_path, damage):
    features = OnceEncoder(loaded, CPU)(TEXTS)
    [file] = (tmp_path / ".scratch/texts").iterdir()
    np.save(file, features * np.float32(damage))
    encoder = OnceEncoder(loaded, CPU)
    np.testing.assert_array_equal(encoder(TEXTS), features)
    assert encoder.encoded == 2
    np.testing.assert_array_equal(np.load(file), features)
