"""Stages on file systems that are full, read-only or without locks, and in strange surroundings:
whole outputs or none, and one line that says what to do."""

import errno
import os
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.kills import Ended, nothing, run_stage
from tests.support.mounts import full, mounted, read_only
from tests.support.stage_faults import (
    clock_backwards,
    fail_at,
    strange_environment,
    without_flock,
    without_flock_die_at,
)
from tests.support.stage_projects import ALIKE, STAGES, StageProject, hashes

WRITING = [stage for stage in STAGES if stage not in ALIKE]
CHEAP = "stages.classes digits"
STAGE_CASES = [
    pytest.param(stage, marks=[] if stage == CHEAP else pytest.mark.campaign) for stage in WRITING
]


@pytest.fixture(scope="module")
def mount(tmp_path_factory):
    with mounted(tmp_path_factory.mktemp("storage") / "mount", "size=256m") as folder:
        yield folder


@pytest.fixture(scope="module")
def project(mount):
    return StageProject(mount / "project")


def refused(project: StageProject, stage: str, prepare=nothing) -> str:
    """Run the stage, which fails and leaves whole outputs or none; its one line."""
    ended = run_stage(project.folder, stage, prepare)
    assert ended.status == 1, ended.output
    project.check_whole(stage)
    return ended.message


def succeeds(project: StageProject, stage: str, prepare=nothing) -> Ended:
    """Run the stage, which writes what it writes undisturbed and leaves nothing else."""
    ended = run_stage(project.folder, stage, prepare)
    assert ended.status == 0, ended.output
    assert project.written(stage) == project.reference[stage]
    assert project.partials() == []
    assert project.git_status() == ""
    return ended


def start_afresh(project: StageProject, stage: str) -> None:
    """Nothing of the stage is there, and nothing in .scratch."""
    project.build_until(stage)
    project.remove(stage)
    shutil.rmtree(project.folder / ".scratch", ignore_errors=True)


@pytest.mark.parametrize("stage", STAGE_CASES)
def test_what_cannot_be_written_is_named_and_then_is_as_undisturbed(project, mount, stage):
    """Disks that are full or read-only and a last rename that fails, one after the other, and then
    the stage as ever, without a home, with the clock going backwards."""
    start_afresh(project, stage)
    fails_on_a_full_disk(project, mount, stage)
    fails_in_its_last_rename(project, stage)
    with read_only(mount):
        message = refused(project, stage)
    assert os.strerror(errno.EROFS) in message
    assert any(name in message for name in (".scratch", "data/", "reports/")), message
    works_or_names_scratch(project, stage)
    ahead = time.time() + 10**6
    for file in (project.folder / "data").rglob("*"):
        os.utime(file, (ahead, ahead))
    succeeds(project, stage, elsewhere)


def fails_on_a_full_disk(project: StageProject, mount: Path, stage: str) -> None:
    for leave in (0, 16384):
        with full(mount, leave):
            ended = run_stage(project.folder, stage)
        project.check_whole(stage)
        if ended.status == 0 and leave:
            project.remove(stage)
            continue
        assert ended.status == 1, ended.output
        assert f"free on {mount}; make room there" in ended.message
        assert ".partial-" not in ended.message


def fails_in_its_last_rename(project: StageProject, stage: str) -> None:
    """Of an output; with the number of a quota."""
    of_outputs = [m for m in project.moments[stage] if any(name in m for name in STAGES[stage])]
    last = [moment for moment in of_outputs if moment.startswith("before ")][-1]
    message = refused(project, stage, partial(fail_at, last, errno.EDQUOT))
    assert os.strerror(errno.EDQUOT) in message
    assert last.removeprefix("before ") in message


def works_or_names_scratch(project: StageProject, stage: str) -> None:
    """Where nothing may be written to .scratch."""
    with mounted(project.folder / ".scratch", "size=1m,ro"):
        ended = run_stage(project.folder, stage)
    project.check_whole(stage)
    if ended.status:
        assert ".scratch" in ended.message
        assert os.strerror(errno.EROFS) in ended.message
    project.remove(stage)


def elsewhere() -> None:
    """Neither home nor a folder for temporary files, and a clock that goes backwards."""
    strange_environment({"HOME": None, "TMPDIR": "/absent", "XDG_CACHE_HOME": None, "USER": None})
    clock_backwards()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize(
    "stage",
    ["stages.prepare digits", pytest.param("stages.finetune", marks=pytest.mark.campaign)],
)
def test_without_flock(project, stage, number):
    """Also after a kill, which leaves the file that stands for a lock."""
    start_afresh(project, stage)
    succeeds(project, stage, partial(without_flock, number))
    project.remove(stage)
    first = project.moments[stage][0]
    killed = run_stage(project.folder, stage, partial(without_flock_die_at, number, first))
    assert killed.status == -9
    assert list((project.folder / ".scratch").glob("*.soft-lock"))
    succeeds(project, stage, partial(without_flock, number))


@pytest.mark.campaign
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hardlink"])
def test_outputs_that_are_links_into_the_cache(project, link):
    """`cache.type` symlink or hardlink: no stage writes through to the cache."""
    project.build_until(WRITING[-1])
    cache = project.folder.parent / f"cache-{link.__name__}"
    cache.mkdir()
    written = {path: digest for of in project.reference.values() for path, digest in of.items()}
    for name, digest in written.items():
        file, cached = project.folder / name, cache / digest
        if not cached.exists():
            shutil.copy(file, cached)
            cached.chmod(0o444)
        file.unlink()
        link(cached, file)
    shutil.rmtree(project.folder / ".scratch")
    for stage in STAGES:
        ended = run_stage(project.folder, stage)  # over the links: nothing is removed before
        assert ended.status == 0, ended.output
        assert project.written(stage) == project.reference[stage]
    assert hashes(cache, written.values()) == {digest: digest for digest in written.values()}
