"""Clean predictions are made once, and made again when anything they depend on changes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.clip import model as clip
from pipeline.evaluation import clean_predictions as clean
from pipeline.evaluation import interface as attacks
from pipeline.evaluation.interface import Targets
from pipeline.evaluation.zero_shot_classifier import Victim
from tests.support.classifiers import CPU, fit, make_targets

N, C, SIZE = 20, 4, 16
CONFIG = {"embed_dim": 16, "quick_gelu": True}


@pytest.fixture
def victim(clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Victim:
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

    def counting(victim, some, batch_size, device):
        calls.append(len(some.labels))
        return original(victim, some, batch_size, device)

    monkeypatch.setattr(clean, "clean_predictions", counting)
    return calls


def test_they_are_the_classifiers(victim):
    some = targets()
    images, labels = some.read(slice(None), CPU)
    found = clean.clean_predictions(victim, some, 7, CPU)
    with torch.no_grad():
        logits = victim(images)
    assert found.prediction.tolist() == logits.argmax(1).tolist()
    label_logit = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    np.testing.assert_allclose(found.margin, (label_logit - others).numpy(), atol=1e-5)
    assert (found.prediction.dtype, found.margin.dtype) == (np.int32, np.float32)


def test_a_second_attack_reads_them(victim, encoded):
    first = clean.remembered(victim, targets(), 7, CPU, "abc", CONFIG)
    second = clean.remembered(victim, targets(), 7, CPU, "abc", CONFIG)
    assert encoded == [N]
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype


def test_they_do_not_depend_on_the_attack(victim, encoded, monkeypatch):
    """Each stage is a process of its own, which has loaded the code of its attack alone."""
    plugins, helpers = Path(attacks.__file__).parent, Path(clean.__file__).parent
    shared = [f for f in clean.loaded_code() if f.parent not in (plugins, helpers)]
    shared += [helpers / "interface.py", helpers / "verdicts.py"]
    for attack_code in (
        [plugins / "pgd.py", helpers / "fixed_step.py"],
        [plugins / "apgd_t.py", helpers / "apgd.py"],
        [plugins / "autoattack.py", helpers / "autoattack_library.py"],
    ):
        loaded = [*shared, *attack_code]
        monkeypatch.setattr(clean, "loaded_code", lambda loaded=loaded: loaded)
        clean.remembered(victim, targets(), 7, CPU, "abc", CONFIG)
    assert encoded == [N]


def test_they_depend_on_the_code_that_classifies(victim, encoded, monkeypatch, tmp_path):
    clean.remembered(victim, targets(), 7, CPU, "abc", CONFIG)
    names = {file.name for file in clean.classifying_code()}
    assert {"model.py", "fused.py", "zero_shot_classifier.py", "verdicts.py"} <= names
    other = tmp_path / "victim.py"
    other.write_text("# other code")
    monkeypatch.setattr(clean, "loaded_code", lambda: [other])
    clean.remembered(victim, targets(), 7, CPU, "abc", CONFIG)
    assert encoded == [N, N]


def test_whatever_they_depend_on_makes_them_anew(victim, encoded, clip_folder):
    some = targets()
    clean.remembered(victim, some, 7, CPU, "abc", CONFIG)
    clean.remembered(victim, some, 7, CPU, "another set", CONFIG)
    clean.remembered(victim, some, 8, CPU, "abc", CONFIG)
    clean.remembered(victim, some, 7, CPU, "abc", CONFIG | {"quick_gelu": False})
    fewer = Targets(some.pixels, some.numbers[:-1], some.labels[:-1])
    clean.remembered(victim, fewer, 7, CPU, "abc", CONFIG)
    with torch.no_grad():
        victim.classifier[0, 0] += 1e-3
    clean.remembered(victim, some, 7, CPU, "abc", CONFIG)
    with torch.no_grad():
        victim.encoder.visual.proj[0, 0] += 1e-3
    clean.remembered(victim, some, 7, CPU, "abc", CONFIG)
    victim.encoder.mean += 0.01
    clean.remembered(victim, some, 7, CPU, "abc", CONFIG)
    assert encoded == [N, N, N, N, N - 1, N, N, N]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", None])
def test_a_damaged_file_is_made_anew(victim, encoded, tmp_path, damage):
    first = clean.remembered(victim, targets(), 7, CPU, "abc", CONFIG)
    (file,) = (tmp_path / ".scratch/clean").iterdir()
    if damage is None:
        np.savez(file, prediction=first.prediction[:3], margin=first.margin[:3])
    else:
        file.write_bytes(damage)
    again = clean.remembered(victim, targets(), 7, CPU, "abc", CONFIG)
    assert encoded == [N, N]
    assert np.array_equal(first.margin, again.margin)
