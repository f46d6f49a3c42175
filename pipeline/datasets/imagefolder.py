"""A folder of class folders: <root>/<class_id>/**/*.jpg, with an optional classes.tsv.

The folder's name is the class id. `classes.tsv` (tab separated, "id<TAB>name" per line, a
header line "id<TAB>name" or "class_id<TAB>name" allowed) gives the names for prompts; without
it the name is the id with `_` and `-` read as spaces.

Greyscale, palette, CMYK and alpha images become RGB as PIL converts them (alpha is dropped),
like torchvision's loader, which the reference uses; 16-bit grey is scaled. A truncated or
corrupt file is an error that names it: it is never padded or skipped in silence.
"""

import random
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field

from pipeline.errors import UserError
from pipeline.images import ClassEntry, ImageSource, Item
from pipeline.params import Section
from pipeline.raw import ROOT_VARIABLE, locate

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff"}


class Params(Section):
    """`prepare.<set>` with `source: imagefolder`."""

    source: Literal["imagefolder"]
    root: str
    """Folder of class folders; relative paths start at $SAFT_DATA, or data/raw without it."""
    names: str | None
    """Path of classes.tsv, found like `root`; null: <root>/classes.tsv if it exists."""
    classes: list[str] | str | None
    """Ids to keep, in this order; "a:b" keeps that slice of the sorted ids; null: all."""
    images_per_class: int | None = Field(ge=1)
    """At most this many per class, a sample fixed by the class id; null: all."""
    skip: int = Field(ge=0)
    """Leave out this many files of each class first (for disjoint sets of one folder)."""
    size: int = Field(ge=8)
    """Side of the packed square images, in pixels."""
    resize: Literal["stretch", "crop"]
    """stretch: to size x size; crop: shorter side to `size * 8 / 7` (256 for 224), centre crop."""


def open_source(params: Params) -> ImageSource:
    """List the folder; nothing is decoded yet.

    Raises:
        UserError: the folder is missing or has no class folders, a chosen class is absent
            or empty, or classes.tsv repeats an id.
    """
    root = locate(params.root)
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder (prepare.*.root = '{params.root}'); "
            f"put the images there or set {ROOT_VARIABLE}"
        )
    folders = (entry.name for entry in root.iterdir() if entry.is_dir())
    found = sorted(name for name in folders if not name.startswith("."))
    if len(found) < 2:
        raise UserError(
            f"{root}: holds {len(found)} class folders; is it the folder *of* class folders?"
        )
    ids = choose(found, params.classes, root)
    names = _read_names(locate(params.names) if params.names else root / "classes.tsv", params)
    files, items = [], []
    for label, class_id in enumerate(ids):
        for path in _files(root / class_id, params):
            files.append(path)
            items.append(Item(label, path.relative_to(root).as_posix()))
    classes = [ClassEntry(i, names.get(i, i.replace("_", " ").replace("-", " "))) for i in ids]

    def decode(index: int) -> np.ndarray:
        return load_image(files[index], params.size, params.resize)

    return ImageSource(classes, items, params.size, decode)


def choose(found: list[str], wanted: list[str] | str | None, root: Path) -> list[str]:
    """The class ids to use, out of the sorted ids `found`."""
    if wanted is None:
        return found
    if isinstance(wanted, str):
        first, colon, last = wanted.partition(":")
        if not colon or not (first + last).isdigit():
            raise UserError(f"prepare: classes = '{wanted}': expected a slice such as 0:100")
        chosen = found[int(first or 0) : int(last) if last else None]
        if not chosen:
            raise UserError(f"{root}: the slice {wanted} of {len(found)} classes is empty")
        return chosen
    if not wanted:
        raise UserError(f"{root}: prepare.*.classes is an empty list; null means all")
    absent = [class_id for class_id in wanted if class_id not in set(found)]
    if absent:
        raise UserError(f"{root}: no folder for class '{absent[0]}' ({len(absent)} absent in all)")
    return wanted


def load_image(path: Path, size: int, resize: str) -> np.ndarray:
    """Decode one file to uint8 (3, size, size), RGB, bilinear with antialiasing (PIL)."""
    with Image.open(path) as file:
        image = to_rgb(file)
    if resize == "stretch":
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    else:
        image = _crop(image, size)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB; 16-bit grey is scaled to 8 bits (PIL alone would clip it to white)."""
    if image.mode.startswith("I"):
        grey = np.asarray(image, dtype=np.float64) / 257
        image = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def _crop(image: Image.Image, size: int) -> Image.Image:
    # as torchvision's Resize(256) and CenterCrop(224), whose roundings these are
    short = round(size * 8 / 7)
    width, height = image.size
    if width <= height:
        new = (short, int(short * height / width))
    else:
        new = (int(short * width / height), short)
    image = image.resize(new, Image.Resampling.BILINEAR)
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _files(folder: Path, params: Params) -> list[Path]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not paths:
        raise UserError(f"{folder}: class '{folder.name}' has no image")
    # file names often follow the order of taking; a fixed shuffle makes any prefix a sample
    random.Random(folder.name).shuffle(paths)
    last = None if params.images_per_class is None else params.skip + params.images_per_class
    chosen = sorted(paths[params.skip : last])
    if not chosen:
        raise UserError(f"{folder}: only {len(paths)} images, none left after skip {params.skip}")
    return chosen


def _read_names(path: Path, params: Params) -> dict[str, str]:
    if not path.is_file():
        if params.names:
            raise UserError(f"{path}: not found (prepare.*.names)")
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    names: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        fields = line.split("\t")
        if not line.strip() or (number == 1 and fields[0] in ("id", "class_id")):
            continue
        if len(fields) < 2 or not fields[1].strip():
            raise UserError(f"{path}: line {number}: expected id<TAB>name")
        if fields[0] in names:
            raise UserError(f"{path}: line {number}: class id '{fields[0]}' occurs twice")
        names[fields[0]] = fields[1].strip()
    return names
