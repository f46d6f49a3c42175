"""A process that attacks images for another, on a device of its own: its jobs and its loop."""

import importlib
import os
import pickle
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
import torch

from pipeline.clip.device import VARIABLE as ONE_DEVICE
from pipeline.clip.device import enable_determinism, pick_device
from pipeline.common import progress
from pipeline.common.errors import UserError
from pipeline.common.params import Section
from pipeline.distributed.orphans import end_with_parent
from pipeline.evaluation.interface import Outcome, Run, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from pipeline.images.image_set import open_images
from pipeline.images.streaming import Pixels


class Subject(NamedTuple):
    """The classifier and images that a process loads by itself.

    load: device -> the classifier, picklable; images: the set whose images are attacked.
    """

    load: Callable[[torch.device], ZeroShotClassifier]
    images: str


class Job(NamedTuple):
    """What a worker is sent. The worker opens the pixels: a memory map would be sent whole."""

    attack: str
    subject: Subject
    numbers: np.ndarray
    labels: np.ndarray
    options: Section
    settings: Settings


def serve(pipe: Connection, name: str, shows: bool, threads: int) -> None:
    """The loop of a worker: jobs in, outcomes or errors out, until the parent ends."""
    end_with_parent()
    if not shows:
        progress.silence()
    os.environ[ONE_DEVICE] = name
    device = pick_device()
    enable_determinism()
    torch.set_num_threads(threads)
    loaded: tuple[bytes, ZeroShotClassifier, Pixels] | None = None
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            key = pickle.dumps(job.subject)
            if loaded is None or loaded[0] != key:
                loaded = None  # frees the memory of the last one first
                loaded = key, job.subject.load(device), open_images(job.subject.images).pixels
            pipe.send(_attack(job, loaded[1], loaded[2], device))
        except Exception as error:
            if not isinstance(error, UserError):
                error.add_note(traceback.format_exc())
            pipe.send(error)


def _attack(
    job: Job, classifier: ZeroShotClassifier, pixels: Pixels, device: torch.device
) -> Outcome:
    run: Run = importlib.import_module(job.attack).run
    targets = Targets(pixels, job.numbers, job.labels)
    return run(classifier, targets, job.options, job.settings._replace(device=device))
