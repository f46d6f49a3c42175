"""Caltech-101: photographs of 101 kinds of objects.

The folder of background clutter, `BACKGROUND_Google`, is not a class. The two face classes stay
apart under names that say what differs: how the face fills the picture.
"""

from pathlib import Path

from pipeline.images.classes import ClassEntry
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.directories import class_folders
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.folders import listing_of, plain_name

FOLDER = "caltech101/101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"
NAMES = {
    "Faces": "face",
    "Faces_easy": "centered face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "car_side": "side of a car",
}
FACTS = Facts(
    title="Caltech-101",
    splits={"all": Split(8_677, 101, (FOLDER,))},
    split="all",
    resize="crop",
    pixels=None,
    licence="CC BY 4.0",
    citation="Fei-Fei, Fergus and Perona 2004, Learning generative visual models, CVPR workshop",
    homepage="https://data.caltech.edu/records/mzrjq-6wc02",
    disk_gb=0.15,
    archives=(
        Archive(
            "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
            "3138e1922a9193bfa496528edbbc45d0",
            "caltech101",
        ),
    ),
    finish=("tar xf caltech101/caltech-101/101_ObjectCategories.tar.gz -C caltech101",),
    notes=(
        "the whole set, as the reference evaluates it; it has no split of its own",
        "the zip holds a second archive, so it is never downloaded by itself",
    ),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """101_ObjectCategories/<class>/image_<number>.jpg, whatever the numbers (torchvision
    expects them without a gap)."""
    ids = [name for name in class_folders(root / FOLDER) if name != BACKGROUND]
    classes = [ClassEntry(name, NAMES.get(name, plain_name(name))) for name in ids]
    return listing_of(root / FOLDER, root, classes)


open_source = make_open_source(FACTS, listing)
