"""Ranks of a stage: started, told apart, and ended without a trace whatever happens."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.distributed import launch
from pipeline.distributed.launch import Failure, adopt_slurm, explain, first_host
from pipeline.distributed.ranks import Ranks, block, blocks, join_ranks, rows_to_compute, wants_cuda
from tests.support.interrupts import hear_interrupts
from tests.support.launches import alive, environment, lines, wait_for


def demo(mode: str, folder: Path, *prefix: str, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "tests.support.ranked_stage", mode, str(folder)]
    return subprocess.run(
        command, env=environment(**extra), capture_output=True, text=True, timeout=120
    )


def test_ranks_see_each_other_and_the_stage_ends_once(tmp_path):
    done = demo("well", tmp_path, SAFT_PROCESSES="2")
    assert done.returncode == 0, done.stderr
    printed = sorted(lines(done.stdout))
    assert re.fullmatch(r"\[demo\] [\d.]+ s", printed[0])
    assert printed[1:] == ["rank 0: 2 processes", "rank 1: 2 processes"]
    assert lines(done.stderr) == []


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("fail", "[demo] error: rank 1 of 2: data/x: not found; get it"),
        ("killed", "[demo] error: rank 1 of 2 was killed by SIGKILL (out of memory?)"),
    ],
)
def test_a_failing_rank_ends_in_one_line_and_status_1(tmp_path, mode, line):
    done = demo(mode, tmp_path, SAFT_PROCESSES="2")
    assert done.returncode == 1
    assert lines(done.stderr) == [line]
    assert lines(done.stdout) == []
    assert not any(alive(pid) for pid in ranks_of(tmp_path))


def ranks_of(folder: Path) -> list[int]:
    return [int(file.read_text().split()[0]) for file in sorted(folder.glob("*.pid"))]


def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A launcher whose two ranks are at work, and no process left behind by a failing test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.ranked_stage", "work", str(folder)],
        env=environment(SAFT_PROCESSES="2"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    try:
        wait_for(lambda: len(list(folder.glob("*.pid"))) == 2 and all(ranks_of(folder)))
        time.sleep(0.5)
        yield process
    finally:
        for pid in [process.pid, *ranks_of(folder)]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait(10)


at_work = pytest.fixture(name="at_work")(lambda tmp_path: (yield from started(tmp_path)))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_ranks(at_work, tmp_path, sent):
    at_work.send_signal(sent)
    assert at_work.wait(40) == 130
    assert lines(at_work.stderr.read()) == ["[demo] error: interrupted; nothing is half-written"]
    assert not any(alive(pid) for pid in ranks_of(tmp_path))


def test_ranks_do_not_outlive_a_launcher_that_is_killed(at_work, tmp_path):
    pids = ranks_of(tmp_path)
    assert len(pids) == 2
    at_work.kill()
    wait_for(lambda: not any(alive(pid) for pid in pids), 20)
    assert not any(alive(pid) for pid in pids)


def test_under_srun_the_ranks_are_slurms(tmp_path, srun):
    done = demo("well", tmp_path, srun, "2")
    assert done.returncode == 0, done.stderr
    assert {"rank 0: 2 processes", "rank 1: 2 processes"} < set(lines(done.stdout))
    assert len([line for line in lines(done.stdout) if line.startswith("[demo]")]) == 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_what_is_no_number_of_processes_is_named(monkeypatch, value):
    monkeypatch.setenv("SAFT_PROCESSES", value)
    with pytest.raises(UserError, match=f"SAFT_PROCESSES={value}: how many processes"):
        launch.processes_to_start()


def test_more_processes_than_cuda_devices_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("SAFT_PROCESSES", "3")
    monkeypatch.delenv("SAFT_DEVICE", raising=False)
    with pytest.raises(UserError, match="SAFT_PROCESSES=3: torch sees 2 CUDA devices"):
        launch.processes_to_start()
    monkeypatch.setenv("SAFT_PROCESSES", "2")
    assert launch.processes_to_start() == 2
    monkeypatch.setenv("SAFT_DEVICE", "cuda:1")
    with pytest.raises(UserError, match="SAFT_DEVICE=cuda:1 names one device"):
        launch.processes_to_start()
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    monkeypatch.setenv("SAFT_PROCESSES", "3")
    assert launch.processes_to_start() == 3


def test_a_given_rank_wins_over_the_number_of_processes(monkeypatch):
    monkeypatch.setenv("SAFT_PROCESSES", "4")
    monkeypatch.setenv("RANK", "1")
    assert launch.processes_to_start() == 1


def test_a_rank_beyond_the_devices_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SAFT_DEVICE", "cuda")
    monkeypatch.setattr("pipeline.common.progress._silent", False)
    with pytest.raises(UserError, match="cuda:1: no such CUDA device, torch sees 1"), join_ranks():
        pass
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(UserError, match="RANK=one: not a number"), join_ranks():
        pass


def test_slurms_variables_become_torchs():
    task = {
        "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_JOB_ID": "20007", "SLURM_STEP_ID": "2",
    }  # fmt: skip
    variables = dict(task)
    assert adopt_slurm(variables)
    added = {key: value for key, value in variables.items() if key not in task}
    assert added == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03", "MASTER_PORT": "10009",
    }  # fmt: skip
    with_address = task | {"MASTER_ADDR": "10.0.0.1"}
    adopt_slurm(with_address)
    assert with_address["MASTER_ADDR"] == "10.0.0.1"


def test_a_batch_script_is_no_task_of_srun(monkeypatch):
    script = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_NODELIST": "gpu1"}
    before = dict(script)
    assert not adopt_slurm(script)
    assert script == before
    for name, value in {**script, "SLURM_STEP_NUM_TASKS": "8"}.items():
        monkeypatch.setenv(name, value)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "x")  # so that they are as before afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAFT_PROCESSES", "8")
    with pytest.raises(UserError, match="SAFT_PROCESSES=8: srun has started the processes"):
        launch.processes_to_start()


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu[03-05,09],big1", "gpu03"), ("gpu7", "gpu7"), ("a1,b2", "a1"), ("n[1,4]-ib", "n1-ib")],
)
def test_the_first_host_of_slurms_list(nodes, host):
    assert first_host(nodes) == host


def test_the_cause_is_told_not_what_followed():
    failure = Failure("data/x: broken", 1)
    assert explain({1: failure, 0: Failure("params", 1)}, {}, 4).message == "params"
    assert explain({2: failure}, {0: 3, 1: 3, 2: 1}, 4).message == "rank 2 of 4: data/x: broken"
    killed = explain({}, {0: 143, 1: -15, 2: 3, 3: -9}, 4).message
    assert killed == "rank 3 of 4 was killed by SIGKILL (out of memory?)"
    assert "rank 1 of 2 ended with status 1" in explain({}, {0: 3, 1: 1}, 2).message


@pytest.mark.parametrize(("count", "size"), [(10, 3), (2, 3), (1, 8), (128, 8), (7, 1)])
def test_every_row_belongs_to_one_rank(count, size):
    parts = blocks(count, Ranks(0, size))
    rows = [row for part in parts for row in range(count)[part]]
    assert rows == list(range(count))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1
    for rank, part in enumerate(parts):
        ranks = Ranks(rank, size)
        assert block(count, ranks) == part
        assert rows_to_compute(count, ranks) == (part if part.stop > part.start else slice(0, 1))


def test_without_cuda_the_ranks_are_on_the_cpu(monkeypatch):
    monkeypatch.delenv("SAFT_DEVICE", raising=False)
    assert wants_cuda() == torch.cuda.is_available()
    monkeypatch.setenv("SAFT_DEVICE", "cpu")
    assert not wants_cuda()
