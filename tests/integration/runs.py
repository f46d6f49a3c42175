"""Runs of the describe stage in processes of their own, and vLLM's server."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.images.classes import ClassEntry, write_classes
from tests.support.project import DEMO, ROOT


def write_inputs(folder: Path, names: Mapping[str, str]) -> None:
    """What the stage reads of a set "tiny" with these classes, class id -> name."""
    classes = [ClassEntry(class_id, name) for class_id, name in names.items()]
    write_classes(folder / "data/classes/tiny.parquet", classes, ())
    for name in ("prompts", "bundled", "exemplars", "confusions"):
        shutil.copytree(ROOT / "data" / name, folder / "data" / name)


def write_params(
    folder: Path, backend: str, section: dict[str, Any] | None = None, **options: Any
) -> None:
    """The demo's params.yaml with this backend and its options, and other keys of describe."""
    yaml = YAML()
    values = yaml.load(DEMO.read_text())
    values["describe"] |= {"dataset": "tiny", "backend": backend, "prompts": "saft-m"}
    values["describe"] |= section or {}
    values["describe"]["options"][backend] |= options
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(values, stream)


def describe(folder: Path, status: int = 0, timeout: float = 300, **extra: str) -> str:
    """Run the stage; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "stages.describe"],
        cwd=folder, env=environment(folder) | extra, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == status, done.stdout[-4000:]
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests/integration/shim'}"
    return dict(os.environ) | {"PYTHONPATH": paths, "DVC_ROOT": str(folder)}


def error_line(output: str) -> str:
    [line] = [line for line in output.splitlines() if line.startswith("[describe] error:")]
    assert "Traceback" not in output
    return line


def artifact(folder: Path) -> bytes:
    return (folder / "data/descriptions/descriptions.parquet").read_bytes()


def provenance(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "data/descriptions/provenance.json").read_text())


def answers_kept(folder: Path) -> int:
    return sum(len(f.read_bytes().splitlines()) for f in folder.glob(".scratch/*/answers.jsonl"))


def kill_when_some_answers_are_kept(folder: Path, at_least: int, within: float = 180) -> int:
    """Start the stage, SIGKILL it in the middle, return how many answers it left."""
    with (folder / "killed.log").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "stages.describe"],
            cwd=folder, env=environment(folder), stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + within
        while answers_kept(folder) < at_least:
            assert child.poll() is None, (folder / "killed.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    return answers_kept(folder)


@contextmanager
def serving(model: str, name: str, folder: Path, *arguments: str) -> Iterator[str]:
    """vLLM's OpenAI-compatible server for a model under this name; its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--host", "127.0.0.1", "--port", str(port), "--model", model,
        "--served-model-name", name, "--enforce-eager",
        "--max-model-len", "1024", "--max-num-batched-tokens", "1024",
        "--no-enable-chunked-prefill", "--generation-config", "vllm",
        "--structured-outputs-config",
        '{"backend": "xgrammar", "disable_any_whitespace": true}', *arguments,
    ]  # fmt: skip
    log = folder / "log"
    with log.open("w") as stream:
        child = subprocess.Popen(
            command, env=environment(folder), stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", child, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        child.terminate()
        child.wait(60)


def _wait_for(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 480
    while True:
        assert child.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, "the server did not start"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
