"""The benchmark runs, its numbers hang together, and its equality check can fail."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import training_step
from benchmarks.measure import VARIANTS, Outcome, Worker, first_step
from benchmarks.released import Released
from benchmarks.setting import Setting, make_scene
from benchmarks.training_step import agreement, check

ROOT = Path(__file__).parents[2]
CLASSES, K, BATCH = 5, 2, 4
TINY = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "patch_size": 8,
        "width": 64,
        "layers": 2,
        "head_width": 16,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tiny-benchmark.json"
    file.write_text(json.dumps(TINY))
    return file


@pytest.fixture
def setting(config: Path) -> Setting:
    return Setting(
        model=config.stem,
        model_config=str(config),
        pretrained=None,
        classes=CLASSES,
        captions=K,
        batch_size=BATCH,
        attack_steps=2,
        epsilon_255=1,
        step_255=1.0,
        seed=0,
        device="cpu",
    )


@pytest.fixture
def deterministic_off() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def command(*flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.training_step", *flags],
        cwd=ROOT,
        env=os.environ | {"SAFT_DEVICE": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_checks_measures_and_writes_json(config, tmp_path):
    file = tmp_path / "new" / "result.json"
    flags = f"--model-config {config} --classes {CLASSES} --captions {K} --batch-size {BATCH}"
    flags += f" --repeats 3 --json {file}"
    done = command(*flags.split())
    assert done.returncode == 0, done.stderr
    assert "random weights" in done.stdout
    assert "released_amp: outer step in bfloat16" in done.stdout
    summary = json.loads(file.read_text())
    assert summary["agreement"]["violations"] == []
    assert summary["setting"]["captions"] == K
    for name, difference in summary["agreement"]["difference"].items():
        assert difference <= summary["agreement"]["tolerance"][name]
    for entries in summary["steps"].values():
        assert_consistent(entries, summary["ceiling_tflop_per_second"])
        for ratio in entries["ratio"].values():
            assert ratio["flop"] > 1
    steps = summary["steps"]
    attack = 2 * steps["pgd_step"]["pipeline"]["flop"]
    assert steps["training_step"]["pipeline"]["flop"] > attack


def assert_consistent(entries: dict[str, Any], ceilings: dict[str, float]) -> None:
    assert set(ceilings) == {"float32", "bf16"}  # a CPU has no TF32
    for name in ("released", "released_amp", "pipeline"):
        measured = entries[name]
        seconds = measured["seconds"]
        assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
        assert measured["images_per_second"] == pytest.approx(BATCH / seconds["median"])
        rate = measured["flop"] / seconds["median"] / 1e12
        assert measured["tflop_per_second"] == pytest.approx(rate)
        shares = {key: rate / ceiling for key, ceiling in ceilings.items()}
        assert measured["share_of_ceiling"] == pytest.approx(shares)
        if sys.platform == "linux":
            assert measured["peak_memory_bytes"] > 2**20


def test_a_bad_config_is_one_line_and_exit_status_1(tmp_path):
    done = command("--model-config", str(tmp_path / "missing.json"))
    assert done.returncode == 1
    assert "missing.json: not found" in done.stderr
    assert "Traceback" not in done.stderr


def first_steps(setting: Setting) -> dict[str, Outcome]:
    return {
        name: first_step(build(make_scene(setting), setting), setting.attack_steps)
        for name, build in VARIANTS.items()
    }


class FirstCaptionOnly(Released):
    """A release that forgets all captions but the first."""

    def _cross_entropy(self, logits: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits[0], self.labels)


def test_variants_compute_the_same_and_the_check_tells_when_not(setting, deterministic_off):
    outcomes = first_steps(setting)
    assert check(outcomes["released"], outcomes["pipeline"], setting)["violations"] == []
    broken = FirstCaptionOnly(make_scene(setting), setting)
    outcome = first_step(broken, setting.attack_steps)
    violations = check(outcome, outcomes["pipeline"], setting)["violations"]
    assert any(text.startswith("loss ") for text in violations)


def test_the_amp_variant_computes_the_same_up_to_its_precision(setting, deterministic_off):
    outcomes = first_steps(setting)
    amp, whole = outcomes["released_amp"], outcomes["released"]
    assert np.array_equal(amp.perturbation, whole.perturbation)  # the attack is in float32
    difference = agreement(amp, whole, setting)
    assert 1e-6 < difference["loss"] < 0.02  # bfloat16 has 8 bits
    assert difference["gradient"] < 0.1


def test_a_disagreement_is_measured_written_and_told_at_the_end(
    config, tmp_path, monkeypatch, capsys
):
    alive: list[int] = []

    class Watched(Worker):
        def __init__(self, *arguments: Any) -> None:
            alive.append(len(multiprocessing.active_children()))
            super().__init__(*arguments)

    monkeypatch.setattr(training_step, "Worker", Watched)
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    monkeypatch.setattr(training_step, "LOSS_TOLERANCE", -1.0)  # nothing is below it
    monkeypatch.setattr(training_step, "GRADIENT_TOLERANCE", 1.0)  # signs that flip differ by CPU
    file = tmp_path / "result.json"
    with pytest.raises(SystemExit) as exit_info:
        training_step.main(
            model_config=config, classes=2, captions=1, batch_size=2, repeats=1, warmup=0,
            json_file=file,
        )  # fmt: skip
    assert exit_info.value.code == 1
    told = capsys.readouterr()
    assert "NOT the same result" in told.out
    assert "not compute the same thing: loss" in told.err
    summary = json.loads(file.read_text())
    (violation,) = summary["agreement"]["violations"]
    assert violation.startswith("loss ")
    assert summary["steps"]["pgd_step"]["pipeline"]["seconds"]["median"] > 0
    assert alive == [0] * len(VARIANTS)  # each variant had ended before the next began


def test_a_checkout_is_timed_against_a_commit():
    command = [sys.executable, "-m", "benchmarks.against_commit", "HEAD"]
    sizes = ["--classes", "3", "--captions", "1", "--batch-size", "1", "--repeats", "1"]
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("no git history here to take a commit from")
    done = subprocess.run([*command, *sizes], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # the checkout may hold edits
    assert result["differences"]["pixels perturbed otherwise"] < 0.01
    assert result["training"]["new s"] > 0
    assert result["pgd"]["ratio"] > 0
