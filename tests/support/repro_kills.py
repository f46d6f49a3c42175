"""The real `dvc repro` on a tiny project, killed with all that it has started."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from tests.support.interrupts import hear_interrupts
from tests.support.project import environment, make, run
from tests.support.stage_projects import choose, hashes

# what params.yaml asks for, and the fine-tuned model, which is not evaluated
REPRO = ("dvc", "repro", "dvc.yaml", "stages/dvc.yaml:record")
LOCKS = ("dvc.lock", "stages/dvc.lock")
IN_PLACE = (*LOCKS, ".dvc/tmp/rwlock")  # what dvc does not write to another file first
SECONDS = 120  # in which a process that was told to end surely has


class ReproProject:
    """A project in `folder`, as `git` has it: nothing has been run."""

    def __init__(self, folder: Path) -> None:
        self.folder = make(folder)
        choose(folder / "params.yaml")
        run(folder, "git", "commit", "-qam", "params")
        self.log = folder.parent / "repro.log"
        self.cut_files: Counter[str] = Counter()

    def state(self) -> dict[str, str]:
        """All that a run writes: sha256 of every output and of both locks, and git's status."""
        files = hashes(self.folder, ["data", "reports", *LOCKS])
        return files | {"git status": run(self.folder, "git", "status", "--porcelain")}

    def reset(self) -> None:
        """Back to where nothing has been run and nothing is cached."""
        run(self.folder, "git", "clean", "-qfdx")
        run(self.folder, "git", "checkout", "-q", ".")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, its output to `log`."""
        with self.log.open("wb") as output:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=hear_interrupts,
            )  # fmt: skip

    def kill(self, seconds: float, in_stage: bool, by: signal.Signals) -> bool:
        """Start `dvc repro` and kill it and all that it started; whether it was killed before
        its end.

        Args:
            seconds: after which; counted from the first stage that it runs if `in_stage`.
        """
        process = self.start(*REPRO)
        if in_stage:
            wait_for(lambda: b"Running stage" in self.log.read_bytes() or ended(process))
            if ended(process) and self.removed_cut_file():
                return self.kill(seconds, in_stage, by)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, by)
            process.wait(SECONDS)
            wait_for(lambda: not members(process.pid))
            return True
        if process.returncode and self.removed_cut_file():
            return self.kill(seconds, in_stage, by)
        assert process.returncode == 0, self.log.read_text()
        return False

    def finish(self) -> None:
        """Run `dvc repro` to its end."""
        process = self.start(*REPRO)
        if process.wait(10 * SECONDS) and self.removed_cut_file():
            process = self.start(*REPRO)
        assert process.wait(10 * SECONDS) == 0, self.log.read_text()

    def removed_cut_file(self) -> bool:
        """Whether dvc refused a file of its own that it was killed in the middle of writing, in
        place; that is then removed, as docs/trust.md says. Of what it has run dvc knows from its
        cache, of who else runs from the process ids."""
        cut = re.search(rf"'(?:\./)?({'|'.join(map(re.escape, IN_PLACE))})'", self.log.read_text())
        if cut is None:
            return False
        (self.folder / cut[1]).unlink()
        self.cut_files[cut[1]] += 1
        return True


def ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def members(group: int) -> list[int]:
    """The processes of a group, but for those that have ended."""
    numbers = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == group and state != "Z":
            numbers.append(int(stat.parent.name))
    return numbers


def wait_for(condition, seconds: float = SECONDS) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
