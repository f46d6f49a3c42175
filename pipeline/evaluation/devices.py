"""Several devices for an evaluation: one process each, every one attacks some of the images.

Images do not interact and their starts follow from (seed, image number), so no verdict depends on
who attacks which. Nothing here runs where one device is used.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, NamedTuple

import torch

from pipeline.clip.device import VARIABLE as ONE_DEVICE
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.evaluation.interface import Outcome, Run, Settings, Targets
from pipeline.evaluation.outcomes import merge, part_of, positions
from pipeline.evaluation.worker import Job, Subject, serve
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier

VARIABLE = "SAFT_DEVICES"


def device_names() -> list[str]:
    """The devices of SAFT_DEVICES ("cuda:0,cuda:1"), or none where it is unset or names one,
    which then is SAFT_DEVICE for this process. Where both are set, SAFT_DEVICES wins.

    Raises:
        UserError: a name is empty, unknown or no device here; or a GPU is named twice.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return []
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name != "cpu" and not (name.startswith("cuda:") and name[5:].isdecimal()):
            raise UserError(f"{VARIABLE}={text}: '{name}' is not a device; e.g. cuda:0,cuda:1")
        if name != "cpu" and int(name[5:]) >= torch.cuda.device_count():
            raise UserError(
                f"{VARIABLE}={text}: no {name} here, torch sees {torch.cuda.device_count()} CUDA "
                "devices"
            )
        if name != "cpu" and names.count(name) > 1:
            raise UserError(f"{VARIABLE}={text}: {name} is named twice; one process each")
    os.environ[ONE_DEVICE] = names[0]
    return names if len(names) > 1 else []


class Worker(NamedTuple):
    """One process: the device it computes on, the process, and our end of its pipe."""

    device: str
    process: Any
    pipe: Connection


@contextmanager
def workers(names: Sequence[str]) -> Iterator[list[Worker]]:
    """One process per device, killed with the block: they hold nothing that must be written."""
    context = get_context("spawn")
    with ExitStack() as stack:
        team = []
        for rank, name in enumerate(names):
            ours, theirs = context.Pipe()
            threads = max(1, torch.get_num_threads() // len(names))
            arguments = (theirs, name, rank == 0, threads)
            process = context.Process(target=serve, args=arguments, daemon=True)
            with _interrupts_blocked():
                process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            theirs.close()
            team.append(Worker(name, process, ours))
        yield team


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What is started meanwhile never hears Ctrl-C: the parent does, afterwards, and ends it."""
    resource_tracker.ensure_running()  # whose own start would unblock it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def distribute(team: Sequence[Worker], attack: ModuleType, subject: Subject) -> Run:
    """`attack.run` over the devices of `team`, on the classifier that `subject` loads; itself
    without a team.

    Raises (when called): what a worker raises; UserError if one dies.
    """
    if not team:
        return attack.run

    def run(
        _: ZeroShotClassifier, targets: Targets, options: Section, settings: Settings
    ) -> Outcome:
        rows = positions(len(targets.labels), len(team), attack, settings.batch_size)
        busy = [worker for worker, part in zip(team, rows, strict=True) if len(part)]
        rows = [part for part in rows if len(part)]
        for worker, part in zip(busy, rows, strict=True):
            chosen, part_settings = part_of(targets, settings, part)
            images = chosen.numbers, chosen.labels
            _send(worker, Job(attack.__name__, subject, *images, options, part_settings))
        return merge(targets, settings, rows, [_answer(team, worker) for worker in busy])

    return run


def _send(worker: Worker, job: Job) -> None:
    try:
        worker.pipe.send(job)
    except (BrokenPipeError, ConnectionResetError):
        raise _dead(worker) from None


def _answer(team: Sequence[Worker], worker: Worker) -> Outcome:
    """The outcome from `worker`. Raises the error that it sent, or UserError if any worker died
    meanwhile."""
    while not worker.pipe.poll():
        connection.wait([worker.pipe, *(other.process.sentinel for other in team)])
        for other in team:
            if not other.process.is_alive():
                raise _dead(other)
    try:
        answer = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        raise _dead(worker) from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _dead(worker: Worker) -> UserError:
    worker.process.join(5)
    return UserError(
        f"the process on {worker.device} died (exit code {worker.process.exitcode}; out of "
        "memory?); lower evaluate.batch_size or take the device out of SAFT_DEVICES"
    )
