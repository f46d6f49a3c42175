"""Resume state: whose it is, who may write it, and that it is plain data."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.clip import origins
from pipeline.clip.origins import fingerprint, hash_origins
from pipeline.common import scratch
from pipeline.common.errors import UserError
from pipeline.training import checkpoint

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def mark(params: object, *inputs: Path, device: torch.device = CPU) -> str:
    return fingerprint(hash_origins(params, inputs, device))


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    return tmp_path


def test_the_fingerprint_follows_params_and_inputs(project):
    (project / "a").write_bytes(b"1")
    first = mark({"lr": 1}, project / "a")
    assert first == mark({"lr": 1}, project / "a")
    assert first != mark({"lr": 2}, project / "a")
    (project / "a").write_bytes(b"2")
    assert first != mark({"lr": 1}, project / "a")


def test_threads_count_on_the_cpu_and_the_gpus_name_on_cuda(monkeypatch):
    cuda = torch.device("cuda", 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"H{device.index}00")
    marks = {device: mark({}, device=device) for device in (CPU, cuda, torch.device("cuda", 2))}
    assert len(set(marks.values())) == 3
    monkeypatch.setattr("torch.get_num_threads", lambda: 77)
    assert mark({}, device=CPU) != marks[CPU]
    assert mark({}, device=cuda) == marks[cuda]


def test_the_fingerprint_follows_the_code(project):
    command = (
        "import torch; from pipeline.clip import origins as o; "
        "print(o.fingerprint(o.hash_origins({}, [], torch.device('cpu'))))"
    )

    def printed(folder: Path) -> str:
        return subprocess.run(
            [sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, check=True
        ).stdout

    copy = project / "copy"
    for package in ("clip", "common"):
        shutil.copytree(ROOT / "pipeline" / package, copy / "pipeline" / package)
    (copy / "pipeline/__init__.py").touch()
    before = printed(copy)
    assert before == printed(copy)
    scratch_file = copy / "pipeline/common/scratch.py"
    scratch_file.write_text(scratch_file.read_text() + "\nX = 1\n")
    assert before != printed(copy)


def test_large_files_are_sampled_not_skipped(project, monkeypatch):
    monkeypatch.setattr(origins, "BLOCK", 16)
    content = bytearray(range(256)) * 16
    (project / "a").write_bytes(content)
    first = mark({}, project / "a")
    content[5] ^= 1
    (project / "a").write_bytes(content)
    assert first != mark({}, project / "a")


def test_state_survives_and_is_cleared(project):
    with scratch.locked("finetune", "abc") as folder:
        assert folder == project / "main/.scratch/finetune-abc"
        assert checkpoint.load_state(folder) is None
        checkpoint.save_state(
            folder, {"step": 3, "encoder": {"w": torch.ones(2)}, "rows": [{"a": 1.0}]}
        )
    with scratch.locked("finetune", "abc") as folder:
        state = checkpoint.load_state(folder)
        assert state["step"] == 3
        assert state["rows"] == [{"a": 1.0}]
        scratch.clear(folder)
    assert not folder.exists()


def test_a_second_writer_is_refused(project):
    with (
        scratch.locked("finetune", "abc"),
        pytest.raises(UserError, match="another process is running this very finetune"),
        scratch.locked("finetune", "abc"),
    ):
        pass


def test_a_state_that_carries_code_is_not_run(project):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    with scratch.locked("finetune", "abc") as folder:
        torch.save({"step": Evil()}, folder / "state.pt")
        with pytest.raises(UserError, match="state.pt.*delete"):
            checkpoint.load_state(folder)
