"""Image sets and their class tables: what is there, what is missing and how to get it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.common.errors import listed
from pipeline.descriptions.matching import normalise
from pipeline.images.classes import ClassEntry
from saft.check import text_sets
from saft.check.part import Part
from saft.references import named_sets

if TYPE_CHECKING:
    from saft.check.plan import Plan

SHOWN = 5
USERS = {"base_model", "describe", "finetune", "evaluate"}  # the sections that name sets


def images(plan: "Plan") -> Part:
    """Part 2: every image set, for `dvc repro` prepares them all, used or not."""
    part = Part("image data")
    used = {name for _, name in named_sets(plan.values, plan.sound)}
    if not USERS.issubset(plan.sound):  # what those use that cannot be read is not known
        used |= set(plan.sets)
    for name, found in plan.sets.items():
        counts = f"{found.images} images, {found.classes} classes" if found.images else "unknown"
        side = f", {found.size} x {found.size} pixels" if found.size else ""
        unused = "" if name in used else "; no stage uses it, prepared all the same"
        streamed = ", streamed" if found.stream else ""
        part.lines.append(f"{name:24}{found.state:10}{counts}{side}{streamed}{unused}")
        if found.state == "missing":
            remark = found.remark
            own = remark.startswith(f"{plan.file}: prepare.sets.{name}")
            part.problems.append(remark if own else f"prepare.sets.{name}: {remark}")
        elif found.remark:
            part.lines.append(f"{'':24}{found.remark}")
        part.values[name] = {"state": found.state, "images": found.images,
                             "classes": found.classes}  # fmt: skip
    part.problems += _too_few_classes(plan)
    return part


def _too_few_classes(plan: "Plan") -> Iterator[str]:
    """What `image_set.check_classes` would say, for finetune only after all the preparing
    and for the others only after the training."""
    for key, name in named_sets(plan.values, plan.sound & {"finetune", "evaluate"}):
        found = plan.sets.get(name)
        if found is not None and found.classes is not None and found.classes < 2:
            yield (
                f"{plan.file}: {key}: set '{name}' has {found.classes} class; an attack needs at "
                "least 2 to tell apart, take the set out of the list"
            )


def classes(plan: "Plan") -> Part:
    """Part 3: names that two classes share, classes that were trained on, templates and
    descriptions that a text set needs."""
    part = Part("class tables")
    for name, found in plan.sets.items():
        if found.entries:
            part.lines += [f"{name}: warning: {text}" for text in _same_names(found.entries)]
    if not USERS.issubset(plan.sound):
        part.lines.append("not compared: a section that names sets cannot be read")
        return part
    trained = plan.sets.get(plan.finetune.dataset)
    away: list[str] = []
    for name in dict.fromkeys([*plan.evaluate.datasets, *plan.checks.datasets]):
        found = plan.sets.get(name)
        if not (found and found.entries and trained and trained.entries):
            away.append(name)
            continue
        both = overlap(found.entries, trained.entries)
        part.values[name] = both
        part.lines.append(
            f"{name}: {both} of {len(found.entries)} classes are fine-tuned on (by id or name)"
        )
    if away:
        part.lines.append(f"not compared, for images are missing: {', '.join(away)}")
    part.problems += text_sets.problems(plan)
    return part


def overlap(entries: Sequence[ClassEntry], trained: Sequence[ClassEntry]) -> int:
    """How many of `entries` are among `trained`, by id or by name but for case and punctuation."""
    ids = {entry.class_id for entry in trained}
    names = {normalise(entry.name) for entry in trained}
    return sum(e.class_id in ids or normalise(e.name) in names for e in entries)


def _same_names(entries: Sequence[ClassEntry]) -> list[str]:
    counts = Counter(entry.name for entry in entries)
    twice = [name for name, count in counts.items() if count > 1]
    names = listed([f"'{name}' x {counts[name]}" for name in twice], SHOWN)
    return [f"classes with the same name cannot be told apart: {names}"] if twice else []
