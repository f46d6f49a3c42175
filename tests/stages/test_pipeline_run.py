"""The whole pipeline by the real dvc, on the tiny profile."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import open_clip
import pandas as pd
import pytest

from pipeline.clip.folders import MODEL, RECIPE, clip_folder
from pipeline.clip.model import WEIGHTS_FILE
from pipeline.cost.files import read_cost
from pipeline.results.files import evaluation_folder
from tests.support.built_project import built_project
from tests.support.dvc_stages import FILES, STAGES_FILE
from tests.support.project import SETS, environment, run, stages_run, wait_for_queue

LOCKS = [Path(file).with_suffix(".lock") for file in FILES]

MODELS = ("base", "finetuned")
ATTACKS = ("pgd", "apgd_ce")
TUNED = {
    "embed@finetuned-template",
    *(f"evaluate@{name}-{attack}-template-4-finetuned" for name in SETS for attack in ATTACKS),
    "check@shapes-held-out-finetuned",
    "about@finetuned",
}
ALL = {
    "names",
    "prepare@pairs",
    "prepare@shapes-train",
    "prepare@shapes-train-validation",
    "prepare@shapes-held-out",
    "prepare@digits",
    "pretrain@small",
    "model@base",
    "checked_classes@shapes-held-out",
    *(f"classes@{name}" for name in SETS),
    "describe",
    "filter",
    "texts@template",
    "embed_training",
    "finetune",
    "record",
    *TUNED,
    *(name.replace("-finetuned", "-base").replace("@finetuned", "@base") for name in TUNED),
    "report",
}
RESULTS = ["reports/headline.json", "reports/metrics.json"]
STEPS = 15  # of fine-tuning, on the tiny profile
TRAINING = {"finetune", "record", *TUNED, "report"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project after its first `dvc repro`, committed, and what that printed."""
    shared, output = built_project(tmp_path_factory)
    folder = tmp_path_factory.mktemp("project") / "copy"
    shutil.copytree(shared, folder, symlinks=True)
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "results")
    return folder, output


def test_one_command_runs_every_stage_and_prints_its_time(built):
    folder, output = built
    assert stages_run(output) == ALL
    for name in ALL:
        assert re.search(rf"[\[:]{re.escape(name)}\] \d+\.\d s", output), name
    assert "robust (any)" in output
    assert "robust (last)" in output
    assert (folder / "reports/report.html").stat().st_size > 10_000
    assert not list((folder / ".scratch").glob("*/state.pt"))


def test_git_sees_nothing_but_the_lock_and_the_metrics(built):
    folder, _ = built
    listed = run(folder, "git", "show", "--name-only", "--format=", "HEAD").split()
    assert sorted(listed) == ["dvc.lock", *RESULTS, "stages/dvc.lock"]


def test_what_the_training_cost_is_filed_outside_the_outputs(built):
    folder, _ = built
    cost = read_cost(folder / MODEL / WEIGHTS_FILE, folder)
    assert cost["method"] == "saft"
    assert cost["steps_timed"] == STEPS
    assert 0 < cost["seconds_per_epoch"] < 540
    assert cost["peak_memory_bytes"] > 2**20


def test_a_second_repro_runs_nothing(built):
    output = run(built[0], "dvc", "repro")
    assert stages_run(output) == set()
    assert "up to date" in output


def test_outputs_load_with_public_tools(built):
    folder, _ = built
    for name in MODELS:
        path = folder / clip_folder(name)
        model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{path}")
        assert sum(p.numel() for p in model.parameters()) > 0
    results = folder / evaluation_folder("digits", "template", "pgd", 4, "base")
    rows = pd.read_parquet(results / "predictions.parquet")
    assert len(rows) == 10
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["clean"]["correct"] == (rows.clean_prediction == rows.label).sum()
    assert metrics["robust_any"]["correct"] == rows.robust_any.sum()
    assert metrics["robust_last"]["images"] == 4
    recipe = json.loads((folder / RECIPE).read_text())
    assert recipe["method"] == "saft"
    assert recipe["momentum"] == 0.9, "null in params.yaml: the published value"
    assert recipe["steps"] == STEPS
    training = pd.read_csv(folder / MODEL / "training.csv")
    assert list(training.step) == list(range(STEPS))
    texts = pd.read_parquet(folder / "data/training_embeddings/descriptions.parquet")
    assert (texts.groupby("class_id").slot.apply(list).map(tuple) == (0, 1, 2, 3, 4)).all()


def test_only_the_image_encoder_was_trained(built):
    from safetensors.torch import load_file

    weights = {name: load_file(built[0] / clip_folder(name) / WEIGHTS_FILE) for name in MODELS}
    changed = {k for k, v in weights["finetuned"].items() if not v.equal(weights["base"][k])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)


def test_a_forced_second_run_gives_the_same_bytes_everywhere(built):
    """By an interpreter with another hash seed, whose sets have another order."""
    folder, _ = built
    before = [(folder / name).read_bytes() for name in LOCKS]
    metrics = (folder / "reports/metrics.json").read_bytes()
    assert stages_run(run(folder, "dvc", "repro", "--force", server=1)) == ALL
    assert [(folder / name).read_bytes() for name in LOCKS] == before
    assert (folder / "reports/metrics.json").read_bytes() == metrics


def test_options_of_another_backend_and_rules_of_the_filter_leave_describe_alone(built):
    folder, _ = built
    params = folder / "params.yaml"
    original = params.read_text()
    for old, new in (
        ("      file: descriptions.json\n", "      file: other.json\n"),
        ("      aliases: aliases/none.json\n", "      aliases: aliases/imagenet-cupl.json\n"),
        ("      base_url: http://127.0.0.1:8000/v1\n", "      base_url: http://there/v1\n"),
        ("    min_words: 3\n", "    min_words: 2\n"),
    ):
        assert old in original
        try:
            params.write_text(original.replace(old, new))
            assert "up to date" in run(folder, "dvc", "status", f"{STAGES_FILE}:describe")
        finally:
            params.write_text(original)
    note = folder / "data/descriptions/provenance.json"
    kept = note.read_bytes()
    try:
        note.unlink()  # never write through what may be a link into the cache
        note.write_bytes(kept + b"\n")
        status = run(folder, "dvc", "status", f"{STAGES_FILE}:filter")
        assert "descriptions.parquet" not in status
    finally:
        run(folder, "dvc", "checkout", "-q", "--force", "--allow-missing")


def test_an_experiment_reruns_training_and_never_describe(built):
    folder, _ = built
    output = run(folder, "dvc", "exp", "run", "-n", "two", "-S", "finetune.attack.epsilon_255=2")
    assert stages_run(output) == TRAINING
    shown = json.loads(run(folder, "dvc", "metrics", "diff", "--all", "--json", "HEAD"))
    assert list(shown) == ["reports/headline.json"]
    everything = run(folder, "dvc", "metrics", "diff", "--targets", RESULTS[1])
    assert "beyond.digits.finetuned.margin.clean" in everything
    table = run(folder, "dvc", "exp", "show", "--csv", "--no-pager")
    assert "two" in table
    run(folder, "git", "checkout", "-q", ".")
    run(folder, "dvc", "checkout", "-q", "--allow-missing")
    # going back costs nothing: the run cache knows the old result
    assert stages_run(run(folder, "dvc", "repro")) == set()


def test_a_temporary_experiment_leaves_the_workspace_alone(built):
    folder, _ = built
    locks = [(folder / name).read_bytes() for name in LOCKS]
    change = "-S", "finetune.epochs=1", f"{STAGES_FILE}:finetune"
    output = run(folder, "dvc", "exp", "run", "--temp", "-n", "short", *change)
    assert stages_run(output) - {"names"} == {"finetune"}
    assert [(folder / name).read_bytes() for name in LOCKS] == locks
    assert run(folder, "git", "status", "--porcelain") == ""
    assert "short" in run(folder, "dvc", "exp", "show", "--csv", "--no-pager")


def test_a_queued_grid_runs_the_code_it_was_queued_with(built):
    folder, _ = built
    run(
        folder, "dvc", "exp", "run", "--queue", "-n", "grid",
        "-S", "evaluate.epsilons_255=[1],[2]", "-S", "evaluate.models=[base]",
        "-S", "evaluate.attacks=[pgd]", "-S", "evaluate.datasets=[digits]",
        "-S", "evaluate.checks.datasets=[]",
    )  # fmt: skip
    code = folder / "pipeline/evaluation/evaluate.py"
    original = code.read_text()
    try:
        code.write_text("raise RuntimeError('edited after queueing')\n")
        run(folder, "dvc", "queue", "start", "-j", "1")
        status = wait_for_queue(folder, 2)
    finally:
        code.write_text(original)
    assert status.count("Success") == 2, status
    table = run(folder, "dvc", "exp", "show", "--csv", "--no-pager")
    assert "grid-1" in table
    assert "grid-2" in table


def test_a_killed_finetune_resumes_and_ends_with_the_same_bytes(built):
    folder, _ = built
    command = [sys.executable, "-m", "stages.finetune"]
    params = folder / "params.yaml"
    original = params.read_text()
    try:
        # long enough that the kill comes in the middle
        params.write_text(original.replace("  epochs: 3\n", "  epochs: 24\n"))
        assert "resuming" not in run(folder, *command)
        expected = outputs(folder)
        kill_at_first_checkpoint(folder, command)
        output = run(folder, *command)
    finally:
        params.write_text(original)
    step = re.search(r"resuming at step (\d+) of 120", output)
    assert step, output
    assert 0 < int(step[1]) < 120
    assert outputs(folder) == expected
    assert not list((folder / ".scratch").glob("finetune-*/state.pt"))
    run(folder, "dvc", "checkout", "-q", "--force", "--allow-missing")


def outputs(folder: Path) -> list[bytes]:
    names = ("open_clip_model.safetensors", "training.csv", "recipe.json")
    return [(folder / MODEL / name).read_bytes() for name in names]


def kill_at_first_checkpoint(folder: Path, command: list[str]) -> None:
    child = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while not list((folder / ".scratch").glob("finetune-*/state.pt")):
        assert time.monotonic() < deadline
        assert child.poll() is None, "ended before it could be killed"
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.communicate()
