"""Two of everything at once: one whole result, and for who comes second the same or one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.common.errors import UserError
from saft.dvc_experiments import alone
from tests.support.kills import Ended, nothing, start
from tests.support.project import environment, run
from tests.support.stage_projects import ALIKE, STAGES, StageProject

WRITING = [stage for stage in STAGES if stage not in ALIKE]
QUICK = ("stages.classes digits", "stages.texts template")
SECONDS = 120
USE = (sys.executable, "-m", "saft.app", "use")
PROFILES = ("demo", "laptop-cifar")
LOSING = ("another process wrote it meanwhile", "another process is running this very")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return StageProject(tmp_path_factory.mktemp("two") / "project")


def together(project: StageProject, *commands: str) -> list[Ended]:
    """Run stages at once."""
    logs = [project.folder.parent / f"{number}.log" for number in range(len(commands))]
    processes = [
        start(project.folder, log, tuple(command.split()), nothing)
        for log, command in zip(logs, commands, strict=True)
    ]
    for process in processes:
        process.join(SECONDS)
    return [
        Ended(process.exitcode, log.read_text())
        for process, log in zip(processes, logs, strict=True)
    ]


@pytest.mark.parametrize(
    "stage",
    [pytest.param(s, marks=[] if s in QUICK else pytest.mark.campaign) for s in WRITING],
)
def test_a_stage_twice(project, stage):
    project.build_until(stage)
    for _ in range(2):
        project.remove(stage)
        ends = together(project, stage, stage)
        assert 0 in [ended.status for ended in ends], ends
        for ended in ends:
            assert ended.status == 0 or any(words in ended.message for words in LOSING)
        assert project.written(stage) == project.reference[stage]
        assert project.partials() == []
        project.check_clean()


def test_stages_with_neighbouring_outputs(project):
    project.build_until("stages.prepare shapes-train")
    commands = ["stages.texts template", "stages.prepare shapes-train", "stages.prepare digits"]
    for command in commands:
        project.remove(command)
    assert [ended.status for ended in together(project, *commands)] == [0, 0, 0]
    for command in commands:
        assert project.written(command) == project.reference[command]
    assert project.partials() == []


def test_saft_use_twice(project):
    """The last one counts, as a whole."""
    params = project.folder / "params.yaml"
    before, alone_written = params.read_bytes(), set()
    try:
        for name in PROFILES:
            run(project.folder, *USE, name)
            alone_written.add(params.read_bytes())
        ends = at_once(project, *([*USE, name] for name in PROFILES * 2))
        assert 0 in [status for status, _ in ends], ends
        assert all(status == 0 or output.count("error: ") == 1 for status, output in ends)
        assert params.read_bytes() in alone_written
        assert project.partials() == []
    finally:
        params.write_bytes(before)


def at_once(project: StageProject, *commands: list[str]) -> list[tuple[int, str]]:
    """Run commands at once; the status and output of each, in which there is no traceback."""
    processes = [
        subprocess.Popen(command, cwd=project.folder, env=environment(), text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for command in commands
    ]  # fmt: skip
    outputs = [process.communicate(timeout=SECONDS)[0] for process in processes]
    assert not any("Traceback" in output for output in outputs), outputs
    return [(p.returncode, output) for p, output in zip(processes, outputs, strict=True)]


def test_a_comparison_beside_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = "another process is running compare in this folder; wait for it or stop it"
    with alone("compare"), pytest.raises(UserError, match=message), alone("compare"):
        pass
    with alone("compare"):
        assert Path(".scratch/compare.lock").exists()


@pytest.mark.campaign
def test_dvc_repro_twice(project):
    """DVC lets one of them run, or both in turn; the second says why it does not."""
    project.build_until(WRITING[-1])
    target = ["dvc", "repro", "stages/dvc.yaml:texts"]
    ends = at_once(project, target, target)
    assert 0 in [status for status, _ in ends], ends
    assert all(status == 0 or "lock" in output for status, output in ends), ends
    assert project.written(QUICK[1]) == project.reference[QUICK[1]]
