"""The recipes of docs/experiments.md for many runs, as they stand there, on a tiny project.

Those that train take minutes each and are not of `make test`: `pytest -m campaign` with this file.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.pages import blocks
from tests.support.project import ROOT, environment, make, run, wait_for_queue

PAGE = ROOT / "docs/experiments.md"
ONE_EVALUATION = {"models": ["base", "finetuned"], "datasets": ["digits"], "attacks": ["pgd"]}
SLURM = "#SBATCH --array"


def recipe(words: str) -> str:
    """The one shell block of the page with these words."""
    [text] = [text for text in blocks(PAGE, {"bash"}) if words in text]
    return text


def shell(folder: Path, script: str, status: int = 0, **extra: str) -> str:
    return run(folder, "bash", "-ec", script, status=status, **extra)


def experiments(folder: Path) -> set[str]:
    return set(run(folder, "dvc", "exp", "list", "--name-only").split())


def seed_of(folder: Path, experiment: str) -> int:
    """What its params.yaml says."""
    listed = run(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps")
    [ref] = [line for line in listed.split() if line.endswith(f"/{experiment}")]
    shown = run(folder, "git", "show", f"{ref}:params.yaml")
    return YAML(typ="safe").load(shown)["finetune"]["seed"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with what comes before the training, as the page says to make it first."""
    folder = make(tmp_path_factory.mktemp("project"))
    yaml, params = YAML(), folder / "params.yaml"
    values = yaml.load(params.read_text())
    values["evaluate"].update(ONE_EVALUATION)
    values["evaluate"]["checks"]["datasets"] = []
    with params.open("w") as stream:
        yaml.dump(values, stream)
    run(folder, "dvc", "repro", "stages/dvc.yaml:embed_training")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "before the training")
    return folder


@pytest.mark.campaign
def test_the_loop_makes_one_experiment_for_each_seed(project: Path) -> None:
    loop = recipe("for seed in")
    assert "0 1 2" in loop
    shell(project, loop.replace("0 1 2", "1"))  # one turn: a minute or more
    assert experiments(project) == {"seed-1"}
    assert seed_of(project, "seed-1") == 1


@pytest.mark.campaign
def test_the_queue_runs_what_compare_lists_and_compare_collects_it(project: Path) -> None:
    queue, _, collect = recipe("--list | xargs").partition("dvc queue status")
    shell(project, queue)
    wait_for_queue(project, 4)
    assert {f"compare-{m}-seed-{s}" for m in ("saft", "tecoa") for s in (0, 1)} <= experiments(
        project
    )
    output = shell(project, collect.partition("\n")[2])
    assert "| SAFT, 2 seeds |" in output
    assert "| TeCoA, seed 1 |" in output
    assert seed_of(project, "compare-tecoa-seed-1") == 1
    numbers = json.loads((project / "reports/comparison/table.json").read_text())
    assert [x["status"] for x in numbers["experiments"]] == ["ok"] * 4
    assert all(x["cost"] for x in numbers["rows"] if x["dataset"] == "mean" and x["seed"])
    assert run(project, "git", "status", "--porcelain") == ""


@pytest.mark.campaign
def test_an_experiment_of_other_params_than_its_name_says_is_none(project: Path) -> None:
    run(project, "dvc", "exp", "rename", "seed-1", "compare-fare")
    output = run(project, "saft", "compare", "fare", "--no-run", status=1)
    assert (
        "experiment compare-fare is another run: finetune.method is saft, not fare; run it without "
        "--no-run"
    ) in output


@pytest.mark.campaign
def test_array_tasks_take_a_line_each_and_bring_the_experiment_back(project: Path) -> None:
    listed = run(project, "saft", "compare", "fare", "agft", "--seeds", "3", "--list")
    (project / "runs.txt").write_text(listed)
    script = recipe(SLURM)
    tasks = [
        subprocess.Popen(
            ["bash", "-c", script],
            cwd=project,
            env=environment() | {"SLURM_ARRAY_TASK_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (1, 2)
    ]
    for task in tasks:
        output, _ = task.communicate(timeout=500)
        assert task.returncode == 0, output
    for name in ("compare-fare-seed-3", "compare-agft-seed-3"):
        assert seed_of(project, name) == 3
    (project / "runs.txt").unlink()
    command = ("saft", "compare", "fare", "agft", "ft_adv", "--seeds", "3", "--no-run")
    output = run(project, *command, status=1)
    assert re.search(r"\| FARE, seed 3 \| (\*\*)?\d", output)
    assert "| FT-Adv, seed 3 | failed |" in output
    assert output.splitlines()[-1] == (
        "error: saft compare: 1 of 3 runs failed: compare-ft-adv-seed-3; the table says so"
    )


def test_every_worker_sees_a_gpu_of_its_own(tmp_path: Path) -> None:
    """The loop over GPUs, on two of them that are not there, with a stage that says what it sees
    and waits until the other one has been there."""
    folder, log = tmp_path / "project", tmp_path / "seen"
    folder.mkdir()
    for command in (("git", "init", "-q", "-b", "main"), ("dvc", "init", "-q")):
        run(folder, *command)
    (folder / "params.yaml").write_text("run: 0\n")
    (folder / "dvc.yaml").write_text(
        "stages:\n  look:\n    params: [run]\n    outs: [seen.txt]\n    cmd: >-\n"
        f"      echo $CUDA_VISIBLE_DEVICES | tee seen.txt >> {log}; sleep 25\n"
    )
    (folder / ".gitignore").write_text("/seen.txt\n")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "a")
    run(folder, "dvc", "exp", "run", "--queue", "-S", "run=1,2,3")
    shell(folder, recipe("for gpu in").replace("0 1 2 3", "0 1"))
    wait_for_queue(folder, 3)
    seen = log.read_text().split()
    assert len(seen) == 3
    assert set(seen) == {"0", "1"}
