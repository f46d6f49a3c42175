"""DTD, describable textures: photographs of 47 kinds of texture."""

from pathlib import Path

from torchvision.datasets import DTD

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

FACTS = Facts(
    title="DTD",
    splits={
        name: Split(1_880, 47, ("dtd/dtd/images", f"dtd/dtd/labels/{name}1.txt"))
        for name in ("train", "val", "test")
    },
    split="test",
    resize="crop",
    pixels=None,
    licence="research purposes only, as the authors say",
    citation="Cimpoi et al. 2014, Describing textures in the wild, CVPR",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    disk_gb=0.63,
    templates=("A surface with a {} texture.",),
    archives=(Archive(DTD._URL, DTD._MD5, "dtd"),),
    notes=("the first of its ten partitions",),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """images/<class>/*.jpg by the list of the split."""
    dataset = tv.run_reader(lambda: DTD(root, split=split, partition=1), FACTS.title, root)
    return tv.from_files(
        tv.class_entries(dataset.classes), dataset._labels, dataset._image_files, root
    )


open_source = make_open_source(FACTS, listing)
