"""Image sets and their class tables: what is there, what is missing and how to get it.

A source is opened, which lists its images; nothing is decoded, and nothing downloaded.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.classes import ClassEntry, read_own_templates
from pipeline.datasets._catalogue import split_of
from pipeline.datasets._obtaining import absent, fetchable, how_to_get
from pipeline.errors import UserError
from pipeline.images import IMAGES, open_images
from pipeline.matching import normalise
from pipeline.preflight import Part, text_sets
from pipeline.preflight.dvc import Runs
from pipeline.prepare import check_source
from pipeline.raw import downloads_allowed, locate
from pipeline.schema import named_sets, open_params

if TYPE_CHECKING:
    from pipeline.preflight.plan import Plan

SHOWN = 5


@dataclass(frozen=True)
class SetState:
    """An image set. state: packed | there | download (when its stage runs) | missing; images,
    classes, size in pixels: None where they cannot be known; entries: the class table, where
    the images or the packed set are there; remark: what to say of it."""

    name: str
    state: str
    images: int | None = None
    classes: int | None = None
    size: int | None = None
    stream: bool = False
    entries: tuple[ClassEntry, ...] = ()
    templates: tuple[str, ...] = ()
    remark: str = ""


def look(name: str, spec: dict[str, Any], where: str, runs: Runs) -> SetState:
    """The state of one entry of prepare.sets; never raises UserError."""
    try:
        if (IMAGES / name).is_dir() and not runs.will(f"prepare@{name}", otherwise=False):
            return _packed(name)
        module, params = open_params(spec, where)
        side = getattr(params, "size", None)
        if hasattr(module, "FACTS"):
            away = _published(name, module.FACTS, params)
            if away:
                return away
        source = module.open_source(params)
        check_source(source, name)
    except UserError as error:
        pixels = spec.get("size")
        side = pixels if isinstance(pixels, int) else None
        return SetState(name, "missing", size=side, remark=str(error))
    return SetState(
        name,
        "there",
        len(source.items),
        len(source.classes),
        source.size,
        source.stream,
        tuple(source.classes),
        tuple(source.templates),
    )


def _packed(name: str) -> SetState:
    images = open_images(name)
    streamed = not hasattr(images.pixels, "nbytes")
    return SetState(
        name,
        "packed",
        len(images.labels),
        len(images.classes),
        images.pixels.shape[-1],
        streamed,
        tuple(images.classes),
        tuple(read_own_templates(name)),
    )


def _published(name: str, facts: Any, params: Any) -> SetState | None:
    """A published set that is not there, with the published numbers; None where it is there."""
    split, root = split_of(facts, params), locate(params.root or ".")
    if not absent(facts, split, root):
        return None
    fetched = fetchable(facts) and downloads_allowed()
    remark = (
        f"{facts.title} ({split}) will be downloaded to {root}, {facts.disk_gb:g} GB unpacked"
        if fetched
        else how_to_get(facts, split, root)
    )
    published = facts.splits[split]
    classes = len(params.classes) if isinstance(params.classes, list) else published.classes
    most = published.images * classes // published.classes
    images = min(most, classes * params.images_per_class) if params.images_per_class else most
    state = "download" if fetched else "missing"
    return SetState(
        name, state, images, classes, params.size, params.stream, (), facts.templates, remark
    )


def images(plan: "Plan") -> Part:
    """Part 2: every image set, for `dvc repro` prepares them all, used or not."""
    part = Part("image data")
    used = {name for _, name in named_sets(plan.values, {"base_model", "describe", "finetune"})}
    used |= {*plan.evaluate.datasets, *plan.checks.datasets}
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
    return part


def classes(plan: "Plan") -> Part:
    """Part 3: names that two classes share, classes that were trained on, templates and
    descriptions that a text set needs."""
    part = Part("class tables")
    trained = plan.sets.get(plan.finetune.dataset)
    for name, found in plan.sets.items():
        if found.entries:
            part.lines += [f"{name}: warning: {text}" for text in _same_names(found.entries)]
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
    more = f" and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
    listed = ", ".join(f"'{name}' x {counts[name]}" for name in twice[:SHOWN])
    return [f"classes with the same name cannot be told apart: {listed}{more}"] if twice else []


def packed_bytes(found: SetState) -> int:
    """Bytes that `prepare` writes: N x 3 x S x S, and about 64 a row for the tables."""
    if not found.images or not found.size:
        return 0
    return found.images * (64 + (0 if found.stream else 3 * found.size**2))
