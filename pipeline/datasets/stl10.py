"""STL-10: images of 96 x 96 pixels in ten classes, from ImageNet."""

from pathlib import Path

from torchvision.datasets import STL10

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

FOLDER = "stl10_binary"
# torchvision checks all of them, whatever the split
FILES = ("class_names.txt", *(name for name, _ in STL10.train_list + STL10.test_list))
NEEDS = tuple(f"{FOLDER}/{name}" for name in FILES)
FACTS = Facts(
    title="STL-10",
    splits={"train": Split(5_000, 10, NEEDS), "test": Split(8_000, 10, NEEDS)},
    split="test",
    resize="stretch",
    pixels=96,
    licence="none stated by the authors; the images are ImageNet's",
    citation="Coates, Ng and Lee 2011, An analysis of single-layer networks, AISTATS",
    homepage="https://cs.stanford.edu/~acoates/stl10/",
    disk_gb=3.1,
    archives=(Archive(STL10.url, STL10.tgz_md5),),
    unlabelled=("unlabeled",),
    notes=("offered without TLS, so it is never downloaded by itself",),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """The binary files that torchvision reads (it checks the md5 of all of them)."""
    dataset = tv.run_reader(lambda: STL10(root, split=split), FACTS.title, root)
    images = dataset.data.transpose(0, 2, 3, 1)
    return tv.from_arrays(tv.class_entries(dataset.classes), dataset.labels, images, split)


open_source = make_open_source(FACTS, listing)
