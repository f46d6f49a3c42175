"""Several processes that train together against one: weights, bits, resume states."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pipeline.clip import model as clip
from pipeline.clip.folders import MODEL
from pipeline.distributed.collectives import Unreachable, report_unreachable
from pipeline.distributed.ranks import Ranks
from stages import finetune
from tests.support.launches import environment, lines, wait_for
from tests.support.rank_training import CASES, METHODS
from tests.support.trainable import write_params

ROOT = Path(__file__).parents[2]
SEEN = CASES.keys() | {"resumed"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module", params=[2, 3])
def trained(request, clip_folder, tmp_path_factory) -> tuple[dict, list[dict]]:
    """Every case of `rank_training` on 2 and on 3 processes: batches of 4, 4 and 2 images."""
    out, count = tmp_path_factory.mktemp("ranks"), request.param
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "tests.support.rank_training", str(clip_folder), str(out)]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **shared),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * count, errors
    digests = [json.loads((out / f"digests-{rank}.json").read_text()) for rank in range(count)]
    return json.loads((out / "differences.json").read_text()), digests


def test_several_processes_train_what_one_trains(trained):
    differences, _ = trained
    assert differences.keys() == CASES.keys()
    assert set(METHODS) <= CASES.keys()
    for case, difference in differences.items():
        in_bf16 = case == "bf16"  # a rank rounds its part of a gradient before the sum
        assert difference["weights"] < (2e-3 if in_bf16 else 1e-5), case
        assert difference["loss"] < (2e-2 if in_bf16 else 1e-4), case
        assert difference["moved"] > 100 * difference["weights"], f"{case}: the comparison can fail"


def test_several_processes_validate_as_one_does(trained):
    """10 images in batches of 4, 4 and 2, so that of three processes one has no row of the last."""
    alone, together = trained[0]["validated"]["validation"]
    assert together == alone
    assert len({value for value in alone if value is not None}) > 1, "the comparison can fail"


def test_all_processes_have_the_same_bits(trained):
    _, digests = trained
    assert digests[0].keys() == SEEN
    assert all(other == digests[0] for other in digests)
    assert len(set(digests[0].values())) == len(CASES), "only the resumed run repeats another one"


def test_a_run_resumed_by_as_many_processes_has_the_same_bits(trained):
    _, digests = trained
    assert digests[0]["resumed"] == digests[0]["everything"]


def start(count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "stages.finetune"],
        env=environment(SAFT_PROCESSES=str(count)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(count: int) -> tuple[str, dict[str, bytes]]:
    """Run the stage to its end; what it printed, and the tuned model."""
    process = start(count)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return output, {file.name: file.read_bytes() for file in MODEL.iterdir()}


def children(pid: int) -> list[int]:
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in pids]


def test_the_stage_on_two_processes(trainable, srun):
    write_params(method="tecoa", epochs=30, checkpoint_seconds=0.05)
    output, whole = train(2)
    weights, log = (
        load_file(MODEL / clip.WEIGHTS_FILE),
        pd.read_csv(MODEL / "training.csv"),
    )
    messages = [line.split(" images in ")[0].split(" s")[0] for line in lines(output)]
    assert len(messages) == 3, "one process speaks for both"
    assert messages[0].startswith("finetune: last epoch, mean over its 2 training batches")
    assert messages[1] == "finetune: 480"
    assert messages[2].startswith("[finetune] ")
    assert not list(Path(".scratch").glob("finetune-*/state.pt"))

    killed = start(2)
    wait_for(lambda: list(Path(".scratch").glob("finetune-*/state.pt")))
    for pid in [killed.pid, *children(killed.pid)]:
        os.kill(pid, signal.SIGKILL)
    killed.communicate()
    assert list(Path(".scratch").glob("finetune-*/state.pt"))
    time.sleep(0.5)

    finetune.main()  # alone: the state belongs to two processes
    alone = {file.name: file.read_bytes() for file in MODEL.iterdir()}
    assert alone.keys() == whole.keys()
    assert alone["recipe.json"] == whole["recipe.json"]
    tuned, rows = (
        load_file(MODEL / clip.WEIGHTS_FILE),
        pd.read_csv(MODEL / "training.csv"),
    )
    for name, value in tuned.items():
        assert (value - weights[name]).abs().max() < 1e-5, name
    np.testing.assert_allclose(rows.to_numpy(), log.to_numpy(), atol=1e-4)
    assert list(Path(".scratch").glob("finetune-*/state.pt")), "nor did it clear that state away"

    tasks = subprocess.run(  # under srun as under SAFT_PROCESSES
        [srun, "2", sys.executable, "-m", "stages.finetune"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert tasks.returncode == 0, tasks.stderr
    assert tasks.stdout.count("resuming at step") == 1
    assert {file.name: file.read_bytes() for file in MODEL.iterdir()} == whole


def test_a_bad_number_of_processes_is_one_line(trainable, monkeypatch, capsys):
    write_params(method="tecoa")
    monkeypatch.setenv("SAFT_PROCESSES", "many")
    with pytest.raises(SystemExit) as caught:
        finetune.main()
    assert caught.value.code == 1
    assert lines(capsys.readouterr().err) == [
        "[finetune] error: SAFT_PROCESSES=many: how many processes train together: 1 or more"
    ]
    assert not MODEL.exists()


def test_out_of_memory_in_an_exchange_is_no_lost_process():
    with pytest.raises(torch.OutOfMemoryError), report_unreachable(Ranks(1, 2)):
        raise torch.OutOfMemoryError("CUDA out of memory")
    lost = pytest.raises(Unreachable, match="rank 1 of 2 lost the other processes")
    with lost, report_unreachable(Ranks(1, 2)):
        raise RuntimeError("Connection closed by peer")
