"""A throw-away copy of this repository with a tiny profile, driven by the real dvc command.

`python -m tests.support.project` writes the tiny profile over params.yaml of the current folder,
for a `make run` of minutes.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.warm_python import folder_with_python

ROOT = Path(__file__).parents[2]
# the demo's parameters: params.yaml is the user's, and need not be the demo's
DEMO = ROOT / "profiles/demo.yaml"
SETS = ["shapes-held-out", "digits"]
STEPPED = ("pgd", "cw_linf", "semantic_ensemble", "apgd_ce", "apgd_dlr")
CHANGES: dict[str, dict[str, Any]] = {
    "pretrain.small": {
        "width": 32,
        "layers": 1,
        "text_width": 32,
        "text_layers": 1,
        "embed_dim": 32,
        "steps": 3,
        "batch_size": 16,
    },
    "finetune": {"epochs": 3, "batch_size": 16, "checkpoint_seconds": 0},
    "finetune.attack": {"steps": 1},
    "finetune.validation": {"every": 4, "steps": 1, "images": 8},
    "evaluate": {"datasets": SETS, "images": 10, "last_images": 4},
    "evaluate.checks": {"images": 4, "steps": 4, "epsilons_255": [2, 8]},
    **{f"evaluate.options.{name}": {"steps": 3} for name in STEPPED},
    "evaluate.options.apgd_t": {"steps": 3, "targets": 2},
    "prepare.sets.pairs": {"images": 250},
    "prepare.sets.shapes-train": {"letters": False, "images_per_class": 2},
    "prepare.sets.shapes-train-validation": {"letters": False, "images_per_class": 1},
    "prepare.sets.shapes-held-out": {"images_per_class": 1},
    "prepare.sets.digits": {"skip": 0, "images": 10},
}


def environment() -> dict[str, str]:
    """The caller's, with this interpreter's folder first and one thread per process."""
    scripts = str(Path(sys.executable).parent)
    variables = dict(os.environ)
    variables.update(
        PATH=f"{scripts}{os.pathsep}{variables['PATH']}",
        OMP_NUM_THREADS="1",
        DVC_NO_ANALYTICS="1",
        GIT_AUTHOR_NAME="t",
        GIT_AUTHOR_EMAIL="t@example.invalid",
        GIT_COMMITTER_NAME="t",
        GIT_COMMITTER_EMAIL="t@example.invalid",
    )
    # a stage must not see that pytest itself may run below another dvc
    for name in ("DVC_ROOT", "DVC_STAGE", "SAFT_DATA"):
        variables.pop(name, None)
    return variables


def run(folder: Path, *command: str, status: int = 0, server: int = 0, **extra: str) -> str:
    """Run a command in `folder`, insist on its exit status, return its output.

    Args:
        server: which one of `warm_python` starts dvc's stages.
        extra: variables of the environment.
    """
    variables = environment()
    # else every stage compiles the project's modules once more
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables["PATH"] = f"{folder_with_python(server)}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables | extra,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == status, f"{command} exited {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


def stages_run(output: str) -> set[str]:
    """The stages that `dvc repro` ran, without the pipeline files they are of."""
    return set(re.findall(r"Running stage '(?:[^':]+:)?([^']+)'", output))


def wait_for_queue(folder: Path, jobs: int) -> str:
    """The queue's status once `jobs` jobs succeeded; fails early when one failed."""
    deadline = time.monotonic() + 900
    status = ""
    while time.monotonic() < deadline and status.count("Success") < jobs:
        status = run(folder, "dvc", "queue", "status")
        assert "Failed" not in status, status
        time.sleep(2)
    return status


def make(folder: Path) -> Path:
    """Copy this working tree's code, write the tiny profile, commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not _is_of_a_run(name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    write_tiny_profile(folder / "params.yaml")
    _drop_remotes(folder / ".dvc/config")
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "tiny")
    return folder


def _is_of_a_run(name: str) -> bool:
    """Whether a file that git lists is a test, or what runs and users write."""
    if name.startswith("reports/"):
        return not name.endswith(".gitignore")
    written = ("dvc.lock", "stages/dvc.lock", "params.yaml")
    return name.startswith("tests/") or name in written or name.endswith(".dvc")


def _drop_remotes(config: Path) -> None:
    """Keep the project's settings and no storage of the user's, which a test might push to."""
    settings = ConfigParser()
    settings.read(config)
    for section in settings.sections():
        if section != "core":
            settings.remove_section(section)
    settings.remove_option("core", "remote")
    with config.open("w") as stream:
        settings.write(stream)


def write_tiny_profile(file: Path) -> None:
    """The demo's params.yaml with a tiny model, few images and few steps."""
    yaml = YAML()  # keeps the comments, as dvc does
    values = yaml.load(DEMO.read_text())
    for section, changes in CHANGES.items():
        target = values
        for part in section.split("."):
            target = target[part]
        assert set(changes) <= set(target), section
        target.update(changes)
    for name in ("shapes-seen", "shapes-validation", "digits-validation"):
        del values["prepare"]["sets"][name]
    with file.open("w") as stream:
        yaml.dump(values, stream)


if __name__ == "__main__":
    write_tiny_profile(Path("params.yaml"))
