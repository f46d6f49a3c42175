"""The benchmark runs, its numbers hang together, and its equality check can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import first_step
from benchmarks.project import Project
from benchmarks.released import Released
from benchmarks.setting import Setting, make_scene
from benchmarks.training_step import check
from pipeline.errors import UserError

ROOT = Path(__file__).parents[1]
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
    flags += f" --repeats 3 --product-size 128 --json {file}"
    done = command(*flags.split())
    assert done.returncode == 0, done.stderr
    assert "random weights" in done.stdout
    found = json.loads(file.read_text())
    assert found["setting"]["captions"] == K
    for name, difference in found["agreement"]["difference"].items():
        assert difference <= found["agreement"]["tolerance"][name]
    for entries in found["steps"].values():
        assert_consistent(entries, found["ceiling"]["tflop_per_second"])
        assert entries["ratio"]["flop"] > 1
    steps = found["steps"]
    attack = 2 * steps["pgd_step"]["pipeline"]["flop"]
    assert steps["training_step"]["pipeline"]["flop"] > attack


def assert_consistent(entries: dict[str, Any], ceiling: float) -> None:
    for name in ("released", "pipeline"):
        entry = entries[name]
        seconds = entry["seconds"]
        assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
        assert entry["images_per_second"] == pytest.approx(BATCH / seconds["median"])
        rate = entry["flop"] / seconds["median"] / 1e12
        assert entry["tflop_per_second"] == pytest.approx(rate)
        assert entry["share_of_ceiling"] == pytest.approx(rate / ceiling)
        if sys.platform == "linux":
            assert entry["peak_memory_bytes"] > 2**20


def test_a_bad_config_is_one_line_and_exit_status_1(tmp_path):
    done = command("--model-config", str(tmp_path / "missing.json"))
    assert done.returncode == 1
    assert "missing.json: not found" in done.stderr
    assert "Traceback" not in done.stderr


def test_variants_compute_the_same_and_the_check_tells_when_not(setting, request):
    import torch

    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    outcomes = {
        variant: first_step(variant(make_scene(setting), setting), setting.attack_steps)
        for variant in (Released, Project)
    }
    check(outcomes[Released], outcomes[Project], setting)

    def first_caption_only(self: Released, logits: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits[0], self.labels)

    broken = type("Broken", (Released,), {"_cross_entropy": first_caption_only})
    outcome = first_step(broken(make_scene(setting), setting), setting.attack_steps)
    with pytest.raises(UserError, match="not compute the same thing.*loss"):
        check(outcome, outcomes[Project], setting)
