"""An attack cut into parts of its images, and the parts' outcomes put together again."""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from pipeline.evaluation.interface import Outcome, Settings, Targets, empty_outcome

PER_IMAGE = [
    "fooled_at", "prediction", "margin", "confidence", "last_prediction", "zero_gradient"
]  # fmt: skip


def positions(count: int, parts: int, attack: ModuleType, batch_size: int) -> list[np.ndarray]:
    """For each part the positions of its images among `count`, ascending: every `parts`-th image
    (sets are often sorted by class, and classes fall unequally fast), or every `parts`-th call of
    an attack whose verdicts depend on the other images of a call (`images_per_call`).

    Example, 7 images in 3 parts: [0 3 6], [1 4], [2 5]; with 2 images per call: [0 1 6], [2 3],
    [4 5].
    """
    together = getattr(attack, "images_per_call", None)
    call = np.arange(count) // (together(batch_size) if together else 1)
    return [np.flatnonzero(call % parts == part) for part in range(parts)]


def part_of(targets: Targets, settings: Settings, rows: np.ndarray) -> tuple[Targets, Settings]:
    """Targets and settings for the images at the positions `rows` alone."""
    examples = np.flatnonzero(np.isin(rows, settings.examples))
    chosen = Targets(targets.pixels, targets.numbers[rows], targets.labels[rows])
    return chosen, settings._replace(follow=settings.follow[rows], examples=examples)


def merge(
    targets: Targets,
    settings: Settings,
    rows: Sequence[np.ndarray],
    outcomes: Sequence[Outcome],
) -> Outcome:
    """The outcome on all targets, from those on the `rows` of each part."""
    whole = empty_outcome(targets, settings)
    notes: dict[str, None] = {}
    for part_rows, part in zip(rows, outcomes, strict=True):
        for name in PER_IMAGE:
            getattr(whole, name)[part_rows] = getattr(part, name)
        whole.perturbations[np.isin(settings.examples, part_rows)] = part.perturbations
        notes.update(dict.fromkeys(note for note in part.note.split("; ") if note))
    return whole._replace(
        note="; ".join(notes),
        judged=sum(part.judged for part in outcomes),
        largest_difference=max((part.largest_difference for part in outcomes), default=0.0),
    )
