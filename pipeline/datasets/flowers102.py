"""Flowers-102: photographs of 102 flowers common in the United Kingdom."""

from pathlib import Path

from torchvision.datasets import Flowers102

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

FOLDER = "flowers-102"
NEEDS = (f"{FOLDER}/jpg", f"{FOLDER}/imagelabels.mat", f"{FOLDER}/setid.mat")
FACTS = Facts(
    title="Flowers-102",
    splits={
        "train": Split(1_020, 102, NEEDS),
        "val": Split(1_020, 102, NEEDS),
        "test": Split(6_149, 102, NEEDS),
    },
    split="test",
    resize="crop",
    pixels=None,
    licence="none stated by the authors; images from the web",
    citation="Nilsback and Zisserman 2008, Automated flower classification, ICVGIP",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    disk_gb=0.35,
    templates=("A photo of a {}, a type of flower.",),
    archives=tuple(
        Archive(Flowers102._download_url_prefix + name, md5, FOLDER)
        for name, md5 in Flowers102._file_dict.values()
    ),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """jpg/image_<number>.jpg with MATLAB files for labels and splits."""
    dataset = tv.run_reader(lambda: Flowers102(root, split=split), FACTS.title, root)
    return tv.from_files(
        tv.class_entries(dataset.classes), dataset._labels, dataset._image_files, root
    )


open_source = make_open_source(FACTS, listing)
