"""The state of an image set: what of it is there, and what is known of what is not.

A source is opened, which lists its images; nothing is decoded, and nothing downloaded.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pipeline.common.errors import UserError
from pipeline.datasets import webdataset
from pipeline.images.classes import ClassEntry, read_own_templates
from pipeline.images.data_root import downloads_allowed, locate
from pipeline.images.image_set import IMAGES, open_images
from pipeline.images.set_summary import note_lines, told_of
from pipeline.images.streaming import is_streamed
from pipeline.prepare.catalogue import split_of
from pipeline.prepare.download import how_to_get, is_fetchable, missing_paths
from pipeline.prepare.facts import published_facts
from pipeline.prepare.hub_shards import HUB, folder_of, is_whole
from pipeline.prepare.pack import check_source
from pipeline.prepare.summary import said_of
from saft.check.dvc import Runs
from saft.check.part import Download, error_line
from saft.plugin_params import open_params

MIN_PIXELS = 8  # side that every source takes at least


@dataclass(frozen=True)
class SetState:
    """An image set. state: packed | there | download (when its stage runs) | missing; images,
    classes, size in pixels: None where they cannot be known; class_entries: the class table, where
    the images or the packed set are there; remark: what to say of it; warnings: what `prepare` says
    of its files and names."""

    name: str
    state: str
    images: int | None = None
    classes: int | None = None
    size: int | None = None
    stream: bool = False
    class_entries: tuple[ClassEntry, ...] = ()
    templates: tuple[str, ...] = ()
    remark: str = ""
    warnings: tuple[str, ...] = ()
    download: Download | None = None


def inspect_set(name: str, spec: dict[str, Any], where: str, runs: Runs) -> SetState:
    """The state of one set of prepare.sets; raises nothing."""
    try:
        if (IMAGES / name).is_dir() and not runs.includes(f"prepare@{name}", otherwise=False):
            return _packed(name)
        module, params = open_params(spec, where)
        absent_set = _absent_published(name, module, params) or _absent_shards(name, params)
        if absent_set is not None:
            return absent_set
        source = module.open_source(params)
        check_source(source, name)
    except UserError as error:
        return _missing(name, spec, str(error))
    except Exception as error:  # the file system's, or any of a reader's of damaged files
        remark = f"its files cannot be read: {error_line(error)}; fix or replace them"
        return _missing(name, spec, remark)
    return SetState(
        name,
        "there",
        len(source.items),
        len(source.classes),
        source.size,
        source.stream,
        tuple(source.classes),
        tuple(source.templates),
        warnings=tuple(note_lines(said_of(source))),
    )


def _missing(name: str, spec: dict[str, Any], remark: str) -> SetState:
    pixels = spec.get("size")
    known = isinstance(pixels, int) and pixels >= MIN_PIXELS
    return SetState(name, "missing", size=pixels if known else None, remark=remark)


def _packed(name: str) -> SetState:
    images = open_images(name)
    return SetState(
        name,
        "packed",
        len(images.labels),
        len(images.classes),
        images.pixels.shape[-1],
        is_streamed(images.pixels),
        tuple(images.classes),
        tuple(read_own_templates(name)),
        warnings=tuple(told_of(IMAGES / name).get("set_notes", ())),
    )


def _absent_published(name: str, source: ModuleType, params: Any) -> SetState | None:
    """A published set whose files are missing, with the published numbers; None for any other."""
    facts = published_facts(source)
    if facts is None:
        return None
    split, root = split_of(facts, params), locate(params.root or ".")
    if not missing_paths(facts, split, root):
        return None
    fetched = is_fetchable(facts) and downloads_allowed()
    remark = (
        f"{facts.title} ({split}) will be downloaded to {root}, {facts.disk_gb:g} GB unpacked"
        if fetched
        else how_to_get(facts, split, root)
    )
    published = facts.splits[split]
    classes = len(params.classes) if isinstance(params.classes, list) else published.classes
    split_images = published.images * classes // published.classes
    images = split_images
    if params.images_per_class:
        images = min(images, classes * params.images_per_class)
    state = "download" if fetched else "missing"
    download = Download(facts.title, root, 2e9 * facts.disk_gb) if fetched else None
    return SetState(
        name, state, images, classes, params.size, params.stream, (), facts.templates, remark,
        download=download,
    )  # fmt: skip


def _absent_shards(name: str, params: Any) -> SetState | None:
    """Shards of the hub that opening would download; None where it would not."""
    if not isinstance(params, webdataset.Params) or not params.root.startswith(HUB):
        return None
    root = params.root
    if not downloads_allowed() or is_whole(root, params.split) or webdataset.has_some(params):
        return None
    folder = locate(folder_of(root))
    remark = f"{root} ({params.split}) will be downloaded to {folder}"
    return SetState(
        name, "download", size=params.size, stream=params.stream, remark=remark,
        download=Download(root, folder, None),
    )  # fmt: skip


def packed_bytes(state: SetState) -> int:
    """Bytes that `prepare` writes: N x 3 x S x S, and about 64 a row for the tables."""
    if not state.images or not state.size:
        return 0
    return state.images * (64 + (0 if state.stream else 3 * state.size**2))
