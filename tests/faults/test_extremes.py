"""Extremes of every key of params.yaml: `saft check` and the stage that reads it agree.

Both refuse a value, with one line that names the key, or both accept it, and then the stage ends
without a traceback (or computes until it is stopped). `pytest -m "" -s` prints how
many of each.
"""

import collections
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.faults import extreme_project, extreme_runs
from tests.faults.extreme_values import Keys, changed, extremes, leaves, stages_of

SAMPLE, SEED = 60, 16  # of `make test`
TRACEBACK = "Traceback (most recent call last)"
# ends of a process: of a stage that is done, that said why it cannot, that was stopped
# what the project has not: published data and weights, a server, vLLM
NOT_THERE = {("prepare", "shards"), ("prepare", "cifar"), ("prepare", "imagenet"),
             *(("model", name) for name in extreme_project.MODELS)}  # fmt: skip
GOOD = (0, 1, *extreme_runs.STILL_RUNNING)


@pytest.fixture(scope="module")
def projects(tmp_path_factory, clip_folder):
    """The project, and that of the report."""
    root = tmp_path_factory.mktemp("extremes")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SAFT_DATA", "DVC_ROOT", "DVC_STAGE"):
            patch.delenv(name, raising=False)
        patch.setenv("SAFT_DEVICE", "cpu")
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        for stage, *_ in {stages_of(keys)[0] for keys, _ in leaves(extreme_project.parameters())}:
            extreme_runs.main_of(stage)  # imported here, and not in every process of its own
        project = root / "project"
        project.mkdir()
        patch.chdir(project)
        Path("params.yaml").write_text("placeholder: 1\n")
        extreme_runs.hold(extreme_project.parameters(), patch)
        extreme_project.make(project, clip_folder)
        extreme_project.describe_and_filter()
        shutil.rmtree(project / ".scratch", ignore_errors=True)
        report = extreme_project.make_report(root / "report")
        yield project, report


def cases() -> list[tuple[Keys, Any]]:
    values = extreme_project.parameters()
    return [(keys, value) for keys, now in leaves(values) for value in extremes(now)]


def disagreement(projects: Any, keys: Keys, value: Any, monkeypatch: Any, counts: Any) -> str:
    """What is wrong with how a value is treated; "" if nothing is."""
    project, report = projects
    values = changed(extreme_project.parameters(), keys, value)
    problems = extreme_runs.check(values, monkeypatch)
    stages = stages_of(keys)
    if problems:
        counts["refused"] += 1
        if any("\n" in problem for problem in problems):
            return f"saft check: more than one line: {problems}"
        if not any(str(key) in problem for key in keys[-2:] for problem in problems):
            return f"saft check: does not name the key: {problems}"
        ends = [extreme_runs.refused(stage) for stage in stages]
        lines = [end.line for end in ends if end.status == 1]
        named = {*map(str, keys[-2:]), ".".join(map(str, keys[:2]))}
        if not any(name in line for name in named for line in lines):
            return f"saft check refuses ({problems[0][:200]}), the stages do not: {ends}"
        return ""
    counts["accepted"] += 1
    if stages[0] == ("report",):
        project = report
        extreme_runs.hold(extreme_project.of_report(values), monkeypatch)
    end = extreme_runs.run(stages[0], project)
    counts[f"accepted, status {end.status}"] += 1
    if TRACEBACK in end.text or end.status not in GOOD:
        return f"traceback, status {end.status}: {end.text[-1500:]}"
    if end.status == 1 and not end.line:
        return f"not one line: {end.text[-1500:]}"
    if end.status == 1 and "key '" in end.line:
        return f"saft check accepts, the stage does not: {end.line}"
    return ""


def findings(projects: Any, chosen: list[tuple[Keys, Any]], monkeypatch: Any) -> list[str]:
    counts: Any = collections.Counter()
    monkeypatch.chdir(projects[0])
    lines = []
    for keys, value in chosen:
        wrong = disagreement(projects, keys, value, monkeypatch, counts)
        if wrong:
            lines.append(f"{'.'.join(keys)} = {repr(value)[:60]}: {wrong}")
    print(f"{len(chosen)} extreme values of {len({keys for keys, _ in chosen})} keys: {counts}")
    return lines


@pytest.mark.campaign
def test_the_parameters_themselves_are_accepted_by_check_and_stages(projects, monkeypatch):
    project, report = projects
    monkeypatch.chdir(project)
    values = extreme_project.parameters()
    assert extreme_runs.check(values, monkeypatch) == []
    stages = {stages_of(keys)[0] for keys, _ in leaves(values)}
    for stage in sorted(stages):
        of_report = stage == ("report",)
        extreme_runs.hold(extreme_project.of_report(values) if of_report else values, monkeypatch)
        end = extreme_runs.run(stage, report if of_report else project)
        assert end.status in GOOD, (stage, end)
        assert end.status != 1 or stage in NOT_THERE, (stage, end)


def test_a_sample_of_extremes(projects, monkeypatch):
    chosen = random.Random(SEED).sample(cases(), SAMPLE)
    assert findings(projects, chosen, monkeypatch) == []


@pytest.mark.campaign
def test_every_extreme_of_every_key(projects, monkeypatch):
    wrong = findings(projects, cases(), monkeypatch)
    assert wrong == [], "\n".join(wrong)
