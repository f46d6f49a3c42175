"""A stage that is killed before or after any of its renames leaves whole outputs or none, and run
again it writes the bytes of a run that nobody disturbed."""

import random
import shutil
import signal
from collections import Counter
from functools import partial

import pytest

from tests.support.kills import SIGNALS, run_stage
from tests.support.stage_faults import die_at
from tests.support.stage_projects import ALIKE, STAGES, StageProject

WRITING = [stage for stage in STAGES if stage not in ALIKE]
QUICK = ["stages.prepare digits", "stages.classes digits", "stages.texts template"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return StageProject(tmp_path_factory.mktemp("kills") / "project")


def test_every_stage_of_dvc_that_writes_is_killed():
    from tests.support.dvc_stages import STAGES as DVC_STAGES

    names = {stage.split()[0].removeprefix("stages.") for stage in WRITING}
    assert names == set(DVC_STAGES) - {"names"}, "which writes nothing"


@pytest.mark.parametrize("stage", QUICK)
def test_a_sample_of_kills(project, stage):
    project.build_until(stage)
    moments = numbered(project.moments[stage])
    chosen = random.Random(stage).sample(moments, min(2, len(moments)))
    kill_and_check(project, stage, [(moment, by) for moment in chosen for by in SIGNALS])


@pytest.mark.campaign
@pytest.mark.parametrize("stage", WRITING)
def test_killed_at_every_rename(project, stage):
    """By SIGKILL, and by one of the other signals in turn."""
    project.build_until(stage)
    moments = numbered(project.moments[stage])
    kills = [
        (moment, by)
        for number, moment in enumerate(moments)
        for by in (signal.SIGKILL, SIGNALS[1 + number % 3])
    ]
    kill_and_check(project, stage, kills)
    print(f"{stage}: {len(kills)} kills at {len(moments)} moments, outputs as undisturbed")


def numbered(names: list[str]) -> list[tuple[str, int]]:
    """(name, how many of that name came before it) of every moment."""
    counted: Counter[str] = Counter()
    moments = []
    for name in names:
        moments.append((name, counted[name]))
        counted[name] += 1
    return moments


def kill_and_check(project, stage, kills) -> None:
    """Kill the stage at these moments by these signals, each run on what the one before left, and
    let it run to its end."""
    project.remove(stage)
    for (name, count), by in kills:
        die = partial(die_at, name, count, by)
        ended = run_stage(project.folder, stage, die)
        if ended.status == 0:  # with what earlier runs left, it does not come to that rename
            shutil.rmtree(project.folder / ".scratch")
            project.remove(stage)
            ended = run_stage(project.folder, stage, die)
        assert ended.status != 0, f"{stage}: not killed at {name} {count}"
        if by is signal.SIGKILL:
            assert ended.status == -by
        else:
            assert "interrupted" in ended.message
        project.check_whole(stage)
    ended = run_stage(project.folder, stage)
    assert ended.status == 0, ended.output
    assert project.written(stage) == project.reference[stage]
    assert project.partials() == []
    assert project.git_status() == ""
