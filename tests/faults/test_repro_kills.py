"""`dvc repro`, killed at random moments with all that it has started, ends where a run ends that
nobody disturbed: the same bytes of outputs and of both locks, the same `git status`."""

import os
import random
import signal

import pytest

from tests.support.kills import SIGNALS
from tests.support.project import run
from tests.support.repro_kills import REPRO, ReproProject, ended, members, wait_for

KILLS = 60
LONGEST = 8.0  # seconds until a kill
STAGE = 4.0  # seconds that a stage takes, most of them for imports

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return ReproProject(tmp_path_factory.mktemp("repro") / "project")


@pytest.fixture(scope="module")
def undisturbed(project):
    run(project.folder, *REPRO)
    return project.state()


def test_killed_at_random_moments(project, undisturbed):
    moments, killed, ends = random.Random(16), 0, 0
    project.reset()
    while killed < KILLS:
        in_stage = killed % 2 == 1  # the others also hit dvc itself, before and between stages
        seconds = moments.uniform(0, STAGE if in_stage else LONGEST)
        if project.kill(seconds, in_stage, SIGNALS[killed // 2 % len(SIGNALS)]):
            killed += 1
        else:
            ends += 1
            assert project.state() == undisturbed
            project.reset()
    project.finish()
    assert project.state() == undisturbed
    assert list((project.folder / ".scratch/partial").glob("*")) == []
    print(f"kills {killed}/{KILLS}, {ends + 1} runs to the end: all as undisturbed")
    print(f"{project.cut_locks} times dvc was killed while it wrote a lock, which was then removed")


def test_a_stage_that_outlives_its_dvc(project, undisturbed):
    """SIGKILL of dvc alone leaves its stage running: the next run says so and starts no second."""
    command = ("dvc", "repro", "--force", "--single-item", "stages/dvc.yaml:finetune")
    process = project.start(*command)
    resume_states = project.folder / ".scratch"
    wait_for(lambda: list(resume_states.glob("finetune-*/state.pt")) or ended(process))
    left = [pid for pid in members(process.pid) if pid != process.pid]
    for pid in left:
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    process.wait()
    try:
        output = run(project.folder, *command, status=255)
    finally:
        for pid in left:
            os.kill(pid, signal.SIGCONT)
    assert "another process is running this very finetune; wait for it or stop it" in output
    assert "Traceback" not in output
    wait_for(lambda: not members(process.pid))
    run(project.folder, *REPRO)
    assert project.state() == undisturbed
