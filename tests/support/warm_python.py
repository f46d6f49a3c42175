"""A `python` that has torch and open_clip imported already, for the stages of tests that run dvc.

Most of what a stage does on the tiny profile is to import. Here one server process has done it;
every `python -m stages.<name>` that dvc starts is forked from it, and has the caller's arguments,
environment, folder, input and outputs. Whatever else `python` is called with runs as ever, and so
does a stage whose environment says something that is read at import (`OMP_*` ...).

What such a stage does not show: that its own imports are complete (`.ci/run` has a `make run` for
that), that its interpreter can be torn down (it ends at once, which saves most of a second), and
that its bytes do not depend on the order of a set, for every fork has the server's hash
seed: a test of bytes asks two servers.

The client `warm_python_client.py` tells how a call is sent.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import random
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).with_name("warm_python_client.py")
MODULES = (
    "open_clip", "pandas", "pyarrow.parquet", "pydantic", "ruamel.yaml", "typer",
    "jinja2", "matplotlib.figure", "scipy.stats",
)  # fmt: skip
# variables that Python or a library of MODULES reads when it starts
AT_START = (
    "PYTHON", "OMP_", "MKL_", "OPENBLAS_", "TORCH", "CUDA", "CUBLAS", "HF_", "LD_", "KMP_",
    "MPL", "MATPLOTLIBRC", "SCIPY_", "TYPER_", "PYDANTIC_", "FORCE_COLOR", "TERMINAL_WIDTH",
)  # fmt: skip


@functools.cache
def folder_with_python(server_number: int = 0) -> Path:
    """A folder for PATH whose `python` asks a server of this process, started here if it must be.

    Args:
        server_number: another one is another server, with another hash seed.
    """
    folder = Path(tempfile.mkdtemp(prefix="warm-python-"))
    server = subprocess.Popen(
        [sys.executable, __file__, str(folder / "socket")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_variables(),
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    client = folder / "python"
    client.write_text(f"#!{sys.executable} -IS\n{CLIENT.read_text()}")
    client.chmod(0o755)
    return folder


def _variables() -> dict[str, str]:
    """What `project.run` sets of AT_START."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def serve(address: str) -> None:
    """Fork a program for each call; returns, in the program, as soon as there is one."""
    started_with = at_start(os.environ)  # importing torch adds to them
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # or every fork copies those pages, and takes seconds to end
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        # standard input ends when whoever started this server is gone
        ready, _, _ = select.select([listener, sys.stdin], [], [], 1.0)
        _reap()
        if sys.stdin in ready:
            shutil.rmtree(Path(address).parent, ignore_errors=True)
            sys.exit()
        if listener in ready and _accept(listener, started_with):
            return


def _reap() -> None:
    """Collect the supervisors that have ended."""
    with contextlib.suppress(ChildProcessError):  # there is none
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _accept(listener: socket.socket, started_with: dict[str, str]) -> bool:
    """Fork a supervisor, and it the program; True in the program, ready to run."""
    connection, _ = listener.accept()
    if os.fork():
        connection.close()
        return False
    listener.close()
    header, files, _, _ = socket.recv_fds(connection, 4, 3)
    call = json.loads(_receive(connection, *struct.unpack("!I", header)))
    if at_start(call["environment"]) != started_with:
        connection.sendall(b"real")
        os._exit(0)
    program = os.fork()
    if program:
        _supervise(connection, program)
    connection.close()
    _become(call, files)
    return True


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            os._exit(1)  # the client is gone
        parts += part
    return bytes(parts)


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


def _supervise(connection: socket.socket, program: int) -> None:
    """Send the exit status when the program ends; kill it when the client is gone. No return."""
    ended = os.pidfd_open(program)
    ready, _, _ = select.select([ended, connection], [], [])
    if ended not in ready:
        os.kill(program, signal.SIGKILL)
    _, status = os.waitpid(program, 0)
    if ended in ready:
        connection.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _become(call: dict[str, Any], files: list[int]) -> None:
    """Take the caller's folder, environment, arguments, input and outputs."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv = ["-m", *call["arguments"]]
    sys.path[0] = call["folder"]
    random.seed()  # as an interpreter's start does


def _run() -> None:
    """Run the program, and where it succeeds leave without tearing the interpreter down.

    A failure is left to Python, and so is a program that has a thread to wait for.
    """
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code:
            raise
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if all(thread.daemon for thread in others):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
    del sys.argv[0]
    _run()
