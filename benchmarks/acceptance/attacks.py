"""Every attack in the norms of the run, on images of the model's size and of a native one."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from benchmarks.acceptance.context import Context
from benchmarks.acceptance.models import make_classifier, tiny_folder
from benchmarks.acceptance.report import Result
from pipeline.clip import model as clip
from pipeline.clip.model import ImageEncoder
from pipeline.evaluation import autoattack_library
from pipeline.evaluation.interface import Outcome, Settings
from tests import conftest
from tests.support import classifiers

CPU = torch.device("cpu")
CLASSES, IMAGES, NATIVE_SIZE = 5, 24, 12
EPSILON = {"linf": 4 / 255, "l2": 0.2}
SAME_VERDICTS = 0.9  # share: a margin near zero may fall either way


def attacks(context: Context, result: Result) -> None:
    """Twice the same bits; on a GPU, the verdicts of the CPU."""
    encoder = clip.image_encoder(clip.load(tiny_folder(context.scratch)))
    library = importlib.util.find_spec("pyautoattack") is not None
    with _short_library():
        for native in (False, True):
            for name in classifiers.NAMES:
                if name in classifiers.LIBRARY and (native or not library):
                    continue
                for norm in context.norms:
                    label = f"{name} {norm} {'native' if native else 'model'}"
                    _attack(context, result, label, encoder, name, norm, native)


def _attack(
    context: Context,
    result: Result,
    label: str,
    encoder: ImageEncoder,
    name: str,
    norm: Any,
    native: bool,
) -> None:
    """One attack, twice on the device and, where that is a GPU, once on the CPU."""
    try:
        first, second = (_run(encoder, name, norm, native, context.device) for _ in range(2))
        cpu = _run(encoder, name, norm, native, CPU) if context.cuda else first
    except Exception as error:  # the other attacks go on
        reason = f"{type(error).__name__}: {str(error)[:160]}"
        context.report.require(False, f"attack {label}: {reason}")
        return
    same = all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(first[:6], second[:6], strict=True)
    )
    context.report.require(same, f"attack {label}: two runs differ")
    verdicts = float(((first.fooled_at < 0) == (cpu.fooled_at < 0)).mean())
    good = verdicts >= SAME_VERDICTS
    context.report.require(good, f"attack {label}: {verdicts:.0%} of the verdicts are the CPU's")
    result[label] = {
        "fooled": int((first.fooled_at >= 0).sum()),
        "share_with_cpu_verdict": verdicts,
        "share_with_cpu_iterate": float((first.fooled_at == cpu.fooled_at).mean()),
    }


def _run(
    encoder: ImageEncoder, name: str, norm: Any, native: bool, device: torch.device
) -> Outcome:
    size = NATIVE_SIZE if native else conftest.SIZE
    classifier, targets = make_classifier(encoder, CLASSES, IMAGES, size, device, native)
    module, options = classifiers.attack(name)
    settings = Settings(
        norm=norm,
        epsilon=EPSILON[norm],
        batch_size=8,
        seed=0,
        follow=np.zeros(IMAGES, dtype=bool),
        examples=np.arange(2),
        device=device,
    )
    return module.run(classifier, targets, options, settings)


@contextmanager
def _short_library() -> Iterator[None]:
    """The library's attacks with budgets of seconds instead of minutes."""
    library: Any = autoattack_library
    whole = library._make_adversary

    def short(*arguments: Any) -> Any:
        adversary = whole(*arguments)
        adversary.square.n_queries, adversary.fab.n_iter = 20, 3
        adversary.apgd.n_iter = adversary.apgd_targeted.n_iter = 5
        return adversary

    library._make_adversary = short
    try:
        yield
    finally:
        library._make_adversary = whole
