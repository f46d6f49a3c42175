"""Tiny-ImageNet: 200 of ImageNet's classes at 64 x 64 pixels.

The stock zip keeps the validation images in one folder, with their classes in
`val_annotations.txt`; copies that were sorted into class folders are read as well. A loader
that takes the stock folder for class folders sees one class and reports chance.
"""

from collections import Counter
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.images.decoding import Encoded
from pipeline.prepare.catalogue import Listing, make_open_source
from pipeline.prepare.directories import class_folders, image_names
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.folders import listing_of, read_lines
from pipeline.prepare.wnids import WnidParams, class_entries

FOLDER = "tiny-imagenet-200"
FACTS = Facts(
    title="Tiny-ImageNet",
    splits={
        "train": Split(100_000, 200, (f"{FOLDER}/train",)),
        "val": Split(10_000, 200, (f"{FOLDER}/val",)),
    },
    split="val",
    resize="crop",
    pixels=64,
    licence="ImageNet terms: non-commercial research",
    citation="Le and Yang 2015, Tiny ImageNet visual recognition challenge, Stanford CS231n",
    homepage="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    disk_gb=0.25,
    archives=(
        Archive(
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
        ),
    ),
    unlabelled=("test",),
    notes=("offered without TLS, so it is never downloaded by itself",),
)
Params = WnidParams


def listing(root: Path, split: str, params: WnidParams) -> Listing:
    """<split>/<wnid>/**/*.JPEG, or the stock validation folder."""
    folder = root / FOLDER / split
    images = folder / "images"
    if images.is_dir() and image_names(images):
        return _stock_validation(folder, root, params)
    wnids = [name for name in class_folders(folder) if name != images.name]  # left behind, empty
    return listing_of(folder, root, class_entries(wnids, params.names, folder))


def _stock_validation(folder: Path, root: Path, params: WnidParams) -> Listing:
    table = folder / "val_annotations.txt"
    if not table.is_file():
        raise UserError(
            f"{table}: not found; without it the images in {folder / 'images'} have no classes, "
            "extract the archive again"
        )
    rows = sorted(line.split("\t")[:2] for line in read_lines(table) if line.strip())
    if not rows or any(len(row) < 2 for row in rows):
        raise UserError(f"{table}: expected image<TAB>wnid in every line")
    _check_listed([name for name, _ in rows], table, folder / "images")
    missing = [name for name, _ in rows if not (folder / "images" / name).is_file()]
    if missing:
        raise UserError(
            f"{folder / 'images' / missing[0]}: not found, though {table.name} lists it "
            f"({len(missing)} in all); extract the archive again"
        )
    wnids = sorted({wnid for _, wnid in rows})
    label = {wnid: i for i, wnid in enumerate(wnids)}
    files = [folder / "images" / name for name, _ in rows]
    return Listing(
        class_entries(wnids, params.names, table),
        [label[wnid] for _, wnid in rows],
        [file.relative_to(root).as_posix() for file in files],
        [Encoded(file) for file in files],
    )


def _check_listed(names: list[str], table: Path, images: Path) -> None:
    """Raise UserError unless every image of the folder stands in the table, once."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{table}: {twice[0]} stands there more than once ({len(twice)} in all)")
    unlisted = set(image_names(images)) - set(names)
    if unlisted:
        raise UserError(
            f"{images / min(unlisted)}: {table.name} does not list it ({len(unlisted)} in all); "
            "extract the archive again or remove what does not belong there"
        )


open_source = make_open_source(FACTS, listing)
