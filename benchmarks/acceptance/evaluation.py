"""PGD by precision of the attack, with float32 verdicts: cost in full, and where all fall."""

import copy
from typing import Any, NamedTuple

import numpy as np

from benchmarks import timing
from benchmarks.acceptance import variants
from benchmarks.acceptance.context import Context
from benchmarks.acceptance.models import make_classifier, tiny_folder
from benchmarks.acceptance.report import Result
from benchmarks.project import Project
from benchmarks.setting import make_scene
from pipeline.attacks import pgd
from pipeline.clip import model as clip
from pipeline.clip.model import ImageEncoder
from pipeline.clip.precision import frozen_copy
from pipeline.evaluation.interface import Outcome, Settings, Targets
from pipeline.evaluation.zero_shot_classifier import ZeroShotClassifier
from tests import conftest

STEPS, COMPARED_STEPS = 100, 6
RADIUS = 1 / 255
GUARD_BAND = 0.2  # logits: margins below it are judged in float32, where the attack is not
FALLING_RADIUS = 8 / 255  # a model without adversarial training falls within few steps


class Sizes(NamedTuple):
    """steps: two short budgets, from whose difference the cost of a step follows."""

    classes: int
    images: int
    falling_images: int
    batches: tuple[int, ...]
    steps: tuple[int, int]


FULL = Sizes(classes=200, images=512, falling_images=2048, batches=(128, 256, 512), steps=(5, 25))
TINY = Sizes(classes=10, images=16, falling_images=16, batches=(8,), steps=(2, 30))


def evaluation(context: Context, result: Result) -> None:
    """By variant and batch size; see `_cost` and `_falling` for what is measured."""
    sizes = TINY if context.tiny else FULL
    encoder = _encoder(context)
    judge, targets = make_classifier(
        encoder, sizes.classes, sizes.falling_images, encoder.image_size, context.device
    )
    result["variants"] = {}
    for name in variants.measured(context):
        if name == variants.UNFUSED:
            continue  # layers are compared in training
        try:
            with variants.environment(name):
                _variant(
                    context, result["variants"], name, attacked_classifier(judge, name), targets
                )
        except Exception as error:  # the other variants go on
            context.report.require(False, f"evaluation {name}: {type(error).__name__}: {error}")


def _variant(
    context: Context, by_label: Result, name: str, classifier: ZeroShotClassifier, targets: Targets
) -> None:
    """The batch sizes that the budget allows: of a compiled variant the largest alone, since a
    batch that shrinks compiles again; without graphs the smallest, where the host is the limit."""
    sizes = TINY if context.tiny else FULL
    chosen = {variants.EAGER: sizes.batches[:1]}.get(name, sizes.batches)
    compiled = variants.compiled(name)
    for batch in chosen[-1:] if compiled else chosen:
        label = f"{name}, batch {batch}"
        if context.report.left() < variants.seconds(name):
            by_label[label] = {"skipped": f"{context.report.left():.0f} s left"}
            continue
        measured = by_label[label] = _cost(context, classifier, targets, batch, sizes)
        context.report.write()
        if batch == sizes.batches[-1] and not compiled:
            measured["falling"] = _falling(context, classifier, targets, sizes)
        if context.cuda and name != variants.EAGER and batch == chosen[0]:
            part = _part(targets, batch)
            measured["graph_equals_eager"] = _equals_eager(context, name, classifier, part)
        context.report.write()


def _equals_eager(
    context: Context, name: str, classifier: ZeroShotClassifier, targets: Targets
) -> bool:
    """A short PGD by CUDA graphs and without: the same bits."""
    batch, outcomes = len(targets.labels), []
    for variant in (name, variants.EAGER):
        with variants.environment(variant):
            outcomes.append(_attack(context, classifier, targets, batch, COMPARED_STEPS)[1])
    same = all(
        np.array_equal(graphed, eager, equal_nan=True)
        for graphed, eager in zip(outcomes[0][:6], outcomes[1][:6], strict=True)
    )
    context.report.require(same, f"evaluation {name}: PGD by CUDA graphs is not the eager one")
    return same


def attacked_classifier(judge: ZeroShotClassifier, variant: str) -> ZeroShotClassifier:
    """The classifier whose attacks go through a variant, as `load_classifier` makes one. Verdicts
    stay float32."""
    classifier = copy.deepcopy(judge)
    precision, compiled = variants.precision(variant), variants.compiled(variant)
    if precision != "float32" or compiled:
        classifier.ascended = frozen_copy(judge.encoder, precision, compiled)
    return classifier


def _encoder(context: Context) -> ImageEncoder:
    if context.tiny:
        encoder = clip.image_encoder(clip.load(tiny_folder(context.scratch)))
        assert encoder.image_size == conftest.SIZE
        return encoder
    setting = context.setting(batch=8)
    return Project(make_scene(setting), setting).encoder


def _attack(
    context: Context,
    classifier: ZeroShotClassifier,
    targets: Targets,
    batch: int,
    steps: int,
    **changes: Any,
) -> tuple[float, Outcome]:
    """Seconds of one PGD, and what came of it."""
    count = len(targets.labels)
    values: dict[str, Any] = {"epsilon": RADIUS, "follow": np.ones(count, dtype=bool)}
    settings = Settings(
        **values | changes,
        norm="linf",
        batch_size=batch,
        seed=0,
        examples=np.arange(2),
        device=context.device,
        guard_band=GUARD_BAND if classifier.ascended else 0.0,
    )
    options = pgd.Params(steps=steps, step_255=0.25, restarts=1, random_start=True, momentum=0.0)
    outcomes: list[Outcome] = []
    seconds = timing.seconds_of(
        lambda: outcomes.append(pgd.run(classifier, targets, options, settings)), context.device
    )
    return seconds, outcomes[0]


def _robust_share(outcome: Outcome) -> float:
    return float((outcome.fooled_at < 0).mean())


def _cost(
    context: Context, classifier: ZeroShotClassifier, targets: Targets, batch: int, sizes: Sizes
) -> dict[str, Any]:
    """PGD with no image dropped. Reading, starts and the verdict on the last iterate cost the
    same for any number of steps; the cost of a step is the slope between two short budgets."""
    part = _part(targets, max(sizes.images, batch))
    count = len(part.labels)
    _attack(context, classifier, part, batch, 1)
    context.release_memory()
    short, long = sizes.steps
    (few, _), (many, outcome) = (_attack(context, classifier, part, batch, n) for n in sizes.steps)
    step = (many - few) / (long - short)
    whole = many + (STEPS - long) * step
    return {
        "step_seconds_per_image": step / count,
        "seconds": {str(short): few, str(long): many},
        "robust_share": _robust_share(outcome),
        "judged_again_per_image": outcome.judged / count,
        "largest_margin_difference": outcome.largest_difference,
        "pgd_100_images_per_second": count / whole,
        "peak_gib": context.peak_gib(),
        "held_gib": context.held_gib(),
    }


def _falling(
    context: Context, classifier: ZeroShotClassifier, targets: Targets, sizes: Sizes
) -> dict[str, float]:
    """PGD-100 with dropping on images that nearly all fall within a few steps."""
    none = np.zeros(len(targets.labels), dtype=bool)
    batch = sizes.batches[-1]
    seconds, outcome = _attack(
        context, classifier, targets, batch, STEPS, epsilon=FALLING_RADIUS, follow=none
    )
    return {
        "images_per_second": len(none) / seconds,
        "robust_share": _robust_share(outcome),
        "largest_margin_difference": outcome.largest_difference,
    }


def _part(targets: Targets, count: int) -> Targets:
    return Targets(targets.pixels, targets.numbers[:count], targets.labels[:count])
