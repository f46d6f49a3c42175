"""Free space for what the stages that will run write: on the disks of data, DVC's cache and the raw
data sets."""

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.cost import vision_transformer as vit
from pipeline.evaluation.evaluate import EvaluateParams
from pipeline.images.data_root import ROOT_VARIABLE
from pipeline.training.recipe import Recipe
from saft.check.part import Part, size
from saft.check.plan import Plan
from saft.check.sets import SetState, packed_bytes
from saft.check.times import text_count

DATA = Path("data")
PREDICTION = 80  # bytes of a row of predictions.parquet, not compressed
RESUME_SHOWN = 1e9  # bytes of resume state that are worth a line
BLOCK = 512  # bytes, the unit of st_blocks
LINKS = {"hardlink", "symlink"}  # cache types with which a file takes its space once


def written(plan: Plan) -> dict[str, int]:
    """Bytes of the outputs of each stage that will run."""
    runs = plan.runs
    outputs = {
        f"prepare@{name}": packed_bytes(state)
        for name, state in plan.sets.items()
        if runs.includes(f"prepare@{name}")
    }
    for stage in ("base_model", "finetune"):
        if runs.includes(stage):
            outputs[stage] = plan.model.bytes
    if runs.includes("embed"):
        outputs["embed"] = _embeddings(plan)
    evaluated = (plan.sets.get(name) for name in plan.evaluate.datasets)
    outputs["evaluate"] = sum(_predictions(state, plan.evaluate) for state in evaluated)
    return outputs


def _embeddings(plan: Plan) -> int:
    width = plan.model.config["embed_dim"] if plan.model.config else 0
    return text_count(plan) * (vit.FLOAT * width + 60)


def _predictions(state: SetState | None, params: EvaluateParams) -> int:
    """Of one set under every attack and text set: rows of both models, and the examples."""
    if state is None or not state.images:
        return 0
    images = min(state.images, params.images or state.images)
    examples = min(params.examples, images) * 3 * (state.size or 0) ** 2 * vit.FLOAT
    return len(params.attacks) * len(params.texts) * 2 * (images * PREDICTION + examples)


def checkpoint_bytes(recipe: Recipe, encoder: vit.Vit) -> int:
    """Bytes of a resume point, and as many while it is replaced."""
    moments = 2 if recipe.optimiser == "adamw" else 1 if recipe.momentum else 0
    trained = vit.trained_weights(encoder, recipe.last_blocks) * (moments + bool(recipe.averaging))
    return 2 * vit.FLOAT * (vit.weights(encoder) + trained)


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


def downloads(sets: Mapping[str, SetState]) -> dict[Path, float]:
    """Folder -> bytes of archives and content that will be downloaded into it."""
    expected = {state.download for state in sets.values() if state.download is not None}
    totals: dict[Path, float] = defaultdict(float)
    for download in expected:  # sets of one data set share it
        totals[download.folder] += download.disk or 0
    return {folder: count for folder, count in totals.items() if count}


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
    if plan.runs.includes("finetune") and plan.model.config is not None:
        kept = checkpoint_bytes(plan.recipe, plan.model.vit)
        needs[_device(Path("."))] += kept
        part.lines.append(f"resume points: {size(kept)} while finetune runs")
    raw = downloads(plan.sets)
    for folder, count in raw.items():
        needs[_device(folder)] += count
        part.lines.append(f"downloads to {folder}: {size(count)}, archives and what is in them")
    part.lines += _uncounted(plan.sets) + _abandoned()
    part.values = {"outputs": outputs, "times": times, "downloads": sum(raw.values())}
    fetched = {_device(folder) for folder in raw}
    for path in (DATA, cache, Path("."), *raw):
        device = _device(path)
        need = needs.pop(device, None)
        if need is not None:
            _compare(part, path, need, device in fetched)
    return part


def _uncounted(sets: Mapping[str, SetState]) -> list[str]:
    packed = [name for name, state in sets.items() if not packed_bytes(state)]
    fetched = [name for name, state in sets.items() if _of_unknown_size(state)]
    lines = [f"not counted, for their images are missing: {', '.join(packed)}"] if packed else []
    if fetched:
        lines.append(f"not counted, for the hub tells no size: download of {', '.join(fetched)}")
    return lines


def _of_unknown_size(state: SetState) -> bool:
    return state.download is not None and state.download.disk is None


def _abandoned() -> list[str]:
    """A line on the resume state of runs that did not end, where it is much."""
    folder, taken = Path(os.environ.get("DVC_ROOT", ".")) / ".scratch", 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a stage that runs may remove its own
            taken += path.lstat().st_blocks * BLOCK
    if taken <= RESUME_SHOWN:
        return []
    return [f"{folder}: {size(taken)} of runs that did not end; delete it when no stage is running"]


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
