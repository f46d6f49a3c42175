"""Image sets and their class tables: what is there, what is missing and how to get it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.common.errors import listed
from pipeline.images.classes import ClassEntry
from pipeline.results.seen_classes import training_overlap
from saft.check import text_sets
from saft.check.part import Part
from saft.check.plan import Plan
from saft.check.sets import SetState
from saft.references import NAME_SETS, named_sets

SHOWN = 5


def images(plan: Plan) -> Part:
    """Part 2: the image sets that `dvc repro` prepares."""
    part = Part("image data")
    for name, state in plan.sets.items():
        part.lines += _set_lines(state)
        if state.state == "missing":
            in_params = state.remark.startswith(f"{plan.file}: prepare.sets.{name}")
            part.problems.append(
                state.remark if in_params else f"prepare.sets.{name}: {state.remark}"
            )
        part.values[name] = {"state": state.state, "images": state.images,
                             "classes": state.classes}  # fmt: skip
    if unused := [name for name in plan.prepare.sets if name not in plan.sets]:
        part.lines.append(f"not used, so not prepared: {', '.join(unused)}")
    attacking = {"finetune", "evaluate"} if plan.trains else {"evaluate"}
    attacked = named_sets(plan.values, plan.sound & attacking)
    part.problems += _too_few_classes(attacked, plan.sets, str(plan.file))
    return part


def _set_lines(state: SetState) -> list[str]:
    counts = f"{state.images} images, {state.classes} classes" if state.images else "unknown"
    side = f", {state.size} x {state.size} pixels" if state.size else ""
    streamed = ", streamed" if state.stream else ""
    lines = [f"{state.name:24}{state.state:10}{counts}{side}{streamed}"]
    if state.remark and state.state != "missing":  # then it is a problem of its own
        lines.append(f"{'':24}{state.remark}")
    return [*lines, *(f"{'':24}warning: {warning}" for warning in state.warnings)]


def _too_few_classes(
    attacked: Iterable[tuple[str, str]], sets: Mapping[str, SetState], file: str
) -> Iterator[str]:
    """What `image_set.check_classes` would say, for finetune only after all the preparing
    and for the others only after the training.

    Args:
        attacked: (key of params.yaml, image set).
    """
    for key, name in attacked:
        state = sets.get(name)
        if state is not None and state.classes is not None and state.classes < 2:
            yield (
                f"{file}: {key}: set '{name}' has {state.classes} class; an attack needs at "
                "least 2 to tell apart, take the set out of the list"
            )


def classes(plan: Plan) -> Part:
    """Part 3: names that two classes share, classes that were trained on, templates and
    descriptions that a text set needs."""
    part = Part("class tables")
    for name, state in plan.sets.items():
        part.lines += [f"{name}: warning: {text}" for text in _same_names(state.class_entries)]
    if not plan.sound >= NAME_SETS:
        part.lines.append("not compared: a section that names sets cannot be read")
        return part
    evaluated = dict.fromkeys([*plan.evaluate.datasets, *plan.checks.datasets])
    if plan.trains:
        _compare(part, plan.sets, plan.finetune.dataset, list(evaluated))
    part.problems += text_sets.problems(plan)
    return part


def _compare(
    part: Part, sets: Mapping[str, SetState], trained_set: str, evaluated: Sequence[str]
) -> None:
    """How many classes of each evaluated set are trained on, as `evaluate` will count them."""
    tables = {name: state.class_entries for name, state in sets.items() if state.class_entries}
    trained, unknown = tables.get(trained_set), []
    for name in evaluated:
        if name not in tables or trained is None:
            unknown.append(name)
            continue
        part.values[name] = training_overlap(tables[name], trained)
        part.lines.append(
            f"{name}: {part.values[name]} of {len(tables[name])} classes are fine-tuned on "
            "(by id, or known as the same class)"
        )
    if unknown:
        part.lines.append(f"not compared, for images are missing: {', '.join(unknown)}")


def _same_names(class_entries: Sequence[ClassEntry]) -> list[str]:
    counts = Counter(class_entry.name for class_entry in class_entries)
    repeated = [name for name, count in counts.items() if count > 1]
    names = listed([f"'{name}' x {counts[name]}" for name in repeated], SHOWN)
    return [f"classes with the same name cannot be told apart: {names}"] if repeated else []
