"""Free space for what the stages that will run write: on the disks of data, DVC's cache, the raw
data sets and the hub's cache."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.clip.folders import BASE, FINETUNED
from pipeline.cost import vision_transformer as vit
from pipeline.evaluation.params import EvaluateParams
from pipeline.images.data_root import ROOT_VARIABLE
from pipeline.training.blocks import block_range
from pipeline.training.recipe import Recipe
from saft.check.model_state import ModelState
from saft.check.part import Download, Part, size
from saft.check.plan import Plan
from saft.check.published import weight_bytes
from saft.check.sets import SetState, packed_bytes
from saft.check.times import embedded

DATA = Path("data")
PREDICTION = 90  # bytes of a row of predictions.parquet, not compressed
RESUME_SHOWN = 1e9  # bytes of resume state that are worth a line
BLOCK = 512  # bytes, the unit of st_blocks
LINKS = {"hardlink", "symlink"}  # cache types with which a file takes its space once


def written(plan: Plan) -> dict[str, int]:
    """Bytes of the outputs of each stage that will run."""
    return {stage: count for stage, count in _outputs(plan) if plan.runs.includes(stage)}


def _outputs(plan: Plan) -> Iterator[tuple[str, int]]:
    for name, state in plan.sets.items():
        yield f"prepare@{name}", packed_bytes(state)
    for name, training in plan.trainings.items():
        yield f"pretrain@{name}", weight_bytes(training.config) if training.config else 0
    for name, state in plan.models.items():
        yield (f"model@{name}" if name != FINETUNED else "finetune"), state.bytes
        for texts in plan.evaluate.texts:
            yield f"embed@{name}-{texts}", _embeddings(state, embedded(plan, texts))
    for item, (dataset, *_) in plan.evaluations.items():
        images = plan.sets.get(dataset)
        yield f"evaluate@{item}", _predictions(images, plan.evaluate)


def _embeddings(state: ModelState, texts: int) -> int:
    """Of one text set: what classifies, and as much again that the attacker sees."""
    width = state.config["embed_dim"] if state.config else 0
    return 2 * texts * (vit.FLOAT * width + 60)


def _predictions(state: SetState | None, params: EvaluateParams) -> int:
    """Of one model on one set under one attack: a row per image, and pairs of images."""
    if state is None or not state.images:
        return 0
    images = min(state.images, params.images or state.images)
    examples = 2 * min(params.examples, images) * 3 * (state.size or 0) ** 2 * vit.FLOAT
    return images * PREDICTION + examples


def checkpoint_bytes(recipe: Recipe, encoder: vit.Vit) -> int:
    """Bytes of a resume point, and as many while it is replaced."""
    moments = 2 if recipe.optimiser == "adamw" else 1 if recipe.momentum else 0
    blocks = block_range(recipe.blocks, encoder.layers)
    rank = recipe.lora.rank if recipe.lora else None
    best = recipe.validation is not None and recipe.validation.keep_best
    copies = moments + bool(recipe.averaging) + best
    trained = vit.trained_weights(encoder, blocks, rank)
    return 2 * vit.FLOAT * (vit.weights(encoder) + copies * trained)


def times_kept(links: str, same_disk: bool) -> tuple[int, str]:
    """How often an output takes its space (workspace and cache), and why."""
    kind = links.split(",")[0].strip()
    if kind in LINKS:
        return 1, f"cache.type {links}: linked, once"
    if kind == "reflink" and same_disk and _reflinks():
        return 1, f"cache.type {links}: reflinks work here, once"
    return 2, f"cache.type {links}: copied, twice (data and cache)"


def _reflinks() -> bool:
    """Whether the disk of this folder shares the blocks of copies; by dvc's code."""
    try:
        from dvc.utils import tmp_fname
        from dvc_objects.fs import LocalFileSystem
        from dvc_objects.fs.generic import test_links
    except ImportError:  # a dvc that names them otherwise: the careful answer
        return False
    fs, folder = LocalFileSystem(), Path(".dvc/tmp").absolute()
    return "reflink" in test_links(["reflink"], fs, str(folder), fs, str(folder / tmp_fname()))


def downloads(plan: Plan) -> dict[Path, float]:
    """Folder -> bytes that will be downloaded into it: archives with their content, and models."""
    expected = {download for _, download in _downloads(plan)}
    totals: dict[Path, float] = defaultdict(float)
    for download in expected:  # sets of one data set share it
        totals[download.folder] += download.disk or 0
    return {folder: count for folder, count in totals.items() if count}


def _downloads(plan: Plan) -> Iterator[tuple[str, Download]]:
    """(image set or model, what its stage fetches)."""
    for name, images in plan.sets.items():
        if images.download is not None:
            yield name, images.download
    for name, model in plan.models.items():
        for download in model.downloads:
            yield name, download


def disk(plan: Plan) -> Part:
    """Part 6: what will be written, against what is free."""
    part, outputs = Part("disk"), written(plan)
    total = sum(outputs.values())
    cache = plan.runs.cache
    times, why = times_kept(plan.runs.links, _device(DATA) == _device(cache))
    needs: dict[int, float] = defaultdict(float)
    needs[_device(DATA)] += total
    needs[_device(cache)] += total * (times - 1)
    large = sorted(outputs.items(), key=lambda item: -item[1])[:6]
    listed = ", ".join(f"{stage} {size(count)}" for stage, count in large if count)
    part.lines.append(f"outputs: {size(total)} ({listed or 'nothing to write'}); {why}")
    base = plan.models.get(BASE)
    trained = plan.trains and plan.runs.includes("finetune")
    if trained and base is not None and base.config is not None:
        kept = checkpoint_bytes(plan.recipe, base.vit)
        needs[_device(Path("."))] += kept
        part.lines.append(f"resume points: {size(kept)} while finetune runs")
    raw = downloads(plan)
    for folder, count in raw.items():
        needs[_device(folder)] += count
        part.lines.append(f"downloads to {folder}: {size(count)}")
    part.lines += _uncounted(plan) + _abandoned()
    part.values = {"outputs": outputs, "times": times, "downloads": sum(raw.values())}
    fetched = {_device(folder) for folder in raw}
    for path in (DATA, cache, Path("."), *raw):
        device = _device(path)
        need = needs.pop(device, None)
        if need is not None:
            _compare(part, path, need, device in fetched)
    return part


def _uncounted(plan: Plan) -> list[str]:
    packed = [name for name, state in plan.sets.items() if not packed_bytes(state)]
    fetched = [name for name, download in _downloads(plan) if download.disk is None]
    lines = [f"not counted, for their images are missing: {', '.join(packed)}"] if packed else []
    unknown = [name for name, state in plan.models.items() if state.config is None]
    if unknown:
        lines.append(f"not counted, for their config is not known: weights of {', '.join(unknown)}")
    if fetched:
        lines.append(f"not counted, for the hub tells no size: download of {', '.join(fetched)}")
    return lines


def _abandoned() -> list[str]:
    """A line on what is kept beside the outputs, where it is much."""
    folder, taken = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch", 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a stage that runs may remove its own
            taken += path.lstat().st_blocks * BLOCK
    if taken <= RESUME_SHOWN:
        return []
    what = "of runs that did not end, encoded texts and clean predictions"
    return [f"{folder}: {size(taken)} {what}; delete it when no stage is running"]


def _compare(part: Part, path: Path, need: float, fetched: bool) -> None:
    free = shutil.disk_usage(_existing(path)).free
    part.lines.append(f"disk of {path}: {size(free)} free, {size(need)} needed")
    elsewhere = f"{ROOT_VARIABLE} or data.root (downloads) or " if fetched else ""
    if need > free:
        part.problems.append(
            f"disk of {path}: {size(need)} needed, {size(free)} free: free {size(need - free)}, "
            f"run `dvc gc -w`, set {elsewhere}`dvc cache dir` to another disk or cache.type to "
            "hardlink,symlink, or stream: true in prepare.sets"
        )


def _device(path: Path) -> int:
    return os.stat(_existing(path)).st_dev


def _existing(path: Path) -> Path:
    """The path or the nearest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())
