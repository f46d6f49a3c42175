"""Clean predictions are made once, and made again when anything they depend on changes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.clip import model as clip
from pipeline.evaluation import clean_predictions as clean
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from tests.support.classifiers import CPU, fit, make_targets
from tests.support.project import ROOT

N, C, SIZE = 20, 4, 16
CONFIG = {"embed_dim": 16, "quick_gelu": True}


@pytest.fixture
def classifier(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ZeroShotClassifier:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    encoder = clip.image_encoder(clip.load(clip_folder)).eval()
    return fit(encoder, targets())


def targets() -> Targets:
    return make_targets(N, C, size=SIZE)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of `clean_predictions` was given."""
    calls: list[int] = []
    original = clean.clean_predictions

    def counting(classifier, some, batch_size, device):
        calls.append(len(some.labels))
        return original(classifier, some, batch_size, device)

    monkeypatch.setattr(clean, "clean_predictions", counting)
    return calls


def test_they_are_the_classifiers(classifier):
    some = targets()
    images, labels = some.read(slice(None), CPU)
    predictions = clean.clean_predictions(classifier, some, 7, CPU)
    with torch.no_grad():
        logits = classifier(images)
    assert predictions.prediction.tolist() == logits.argmax(1).tolist()
    label_logit = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    np.testing.assert_allclose(predictions.margin, (label_logit - others).numpy(), atol=1e-5)
    probability = np.exp(logits.double().numpy())
    probability /= probability.sum(1, keepdims=True)
    predicted = probability[np.arange(N), predictions.prediction]
    np.testing.assert_allclose(predictions.confidence, predicted, rtol=1e-5)
    assert 1 / C < predictions.confidence.min() < predictions.confidence.max() <= 1
    assert [values.dtype for values in predictions] == [np.int32, np.float32, np.float32]


def test_a_second_attack_reads_them(classifier, encoded):
    first = clean.cached_clean_predictions(classifier, targets(), 7, CPU, "abc", CONFIG)
    second = clean.cached_clean_predictions(classifier, targets(), 7, CPU, "abc", CONFIG)
    assert encoded == [N]
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype


CLASSIFYING_CODE = """
import importlib, sys
import stages.evaluate
from pipeline.evaluation import clean_predictions
importlib.import_module(f"pipeline.attacks.{sys.argv[1]}")
print(*sorted(clean_predictions.classifying_code()), sep="\\n")
"""


def test_they_do_not_depend_on_the_attack():
    """Each stage is a process of its own, which has loaded the code of its attack alone."""
    printed = {
        attack: subprocess.run(
            [sys.executable, "-c", CLASSIFYING_CODE, attack],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for attack in ("pgd", "apgd_t", "autoattack")
    }  # fmt: skip
    files = [Path(line) for line in printed["pgd"].splitlines()]
    assert {"model.py", "zero_shot_classifier.py"} <= {file.name for file in files}
    assert "attacks" not in {file.parent.name for file in files}
    assert len(set(printed.values())) == 1


def test_they_depend_on_the_code_that_classifies(classifier, encoded, monkeypatch, tmp_path):
    clean.cached_clean_predictions(classifier, targets(), 7, CPU, "abc", CONFIG)
    names = {file.name for file in clean.classifying_code()}
    assert {"model.py", "fused.py", "zero_shot_classifier.py", "verdicts.py"} <= names
    other = tmp_path / "classifier.py"
    other.write_text("# other code")
    monkeypatch.setattr(clean, "loaded_code", lambda: [other])
    clean.cached_clean_predictions(classifier, targets(), 7, CPU, "abc", CONFIG)
    assert encoded == [N, N]


def test_whatever_they_depend_on_makes_them_anew(classifier, encoded, clip_folder):
    some = targets()
    clean.cached_clean_predictions(classifier, some, 7, CPU, "abc", CONFIG)
    clean.cached_clean_predictions(classifier, some, 7, CPU, "another set", CONFIG)
    clean.cached_clean_predictions(classifier, some, 8, CPU, "abc", CONFIG)
    clean.cached_clean_predictions(classifier, some, 7, CPU, "abc", CONFIG | {"quick_gelu": False})
    fewer = Targets(some.pixels, some.numbers[:-1], some.labels[:-1])
    clean.cached_clean_predictions(classifier, fewer, 7, CPU, "abc", CONFIG)
    with torch.no_grad():
        classifier.class_features[0, 0] += 1e-3
    clean.cached_clean_predictions(classifier, some, 7, CPU, "abc", CONFIG)
    with torch.no_grad():
        classifier.encoder.visual.proj[0, 0] += 1e-3
    clean.cached_clean_predictions(classifier, some, 7, CPU, "abc", CONFIG)
    classifier.encoder.mean += 0.01
    clean.cached_clean_predictions(classifier, some, 7, CPU, "abc", CONFIG)
    assert encoded == [N, N, N, N, N - 1, N, N, N]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", "short", "no confidence"])
def test_a_damaged_file_is_made_anew(classifier, encoded, tmp_path, damage):
    first = clean.cached_clean_predictions(classifier, targets(), 7, CPU, "abc", CONFIG)
    (file,) = (tmp_path / ".scratch/clean").iterdir()
    if damage == "no confidence":
        np.savez(file, prediction=first.prediction, margin=first.margin)
    elif damage == "short":
        np.savez(file, **{name: values[:3] for name, values in first._asdict().items()})
    else:
        file.write_bytes(damage)
    again = clean.cached_clean_predictions(classifier, targets(), 7, CPU, "abc", CONFIG)
    assert encoded == [N, N]
    assert np.array_equal(first.margin, again.margin)
