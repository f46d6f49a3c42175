"""Caltech-256: photographs of 256 kinds of objects and one class of clutter."""

from pathlib import Path

from pipeline.images.classes import ClassEntry
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.directories import class_folders
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.folders import listing_of, plain_name

FOLDER = "caltech256/256_ObjectCategories"
FACTS = Facts(
    title="Caltech-256",
    splits={"all": Split(30_607, 257, (FOLDER,))},
    split="all",
    resize="crop",
    pixels=None,
    licence="CC BY 4.0",
    citation="Griffin, Holub and Perona 2007, Caltech-256 object category dataset",
    homepage="https://data.caltech.edu/records/nyy15-4j048",
    disk_gb=1.2,
    templates=("A photo of a {}.",),
    archives=(
        Archive(
            "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar",
            "67b4f42ca05d46448c6bb8ecd2220f6d",
            "caltech256",
        ),
    ),
    notes=(
        "the whole set, as the reference evaluates it; it has no split of its own",
        "257.clutter is a class, as in torchvision; leave it out with classes: '0:256'",
    ),
)
Params = CatalogueParams


def display_name(class_id: str) -> str:
    """ "003.backpack" -> "backpack", "251.airplanes-101" -> "airplanes"."""
    return plain_name(class_id.partition(".")[2].removesuffix("-101"))


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """256_ObjectCategories/<number>.<class>/*.jpg; other files there are ignored."""
    classes = [ClassEntry(name, display_name(name)) for name in class_folders(root / FOLDER)]
    return listing_of(root / FOLDER, root, classes)


open_source = make_open_source(FACTS, listing)
