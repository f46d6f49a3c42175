"""Food-101: photographs of 101 dishes."""

from pathlib import Path

from torchvision.datasets import Food101

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

FACTS = Facts(
    title="Food-101",
    splits={
        name: Split(images, 101, ("food-101/images", f"food-101/meta/{name}.json"))
        for name, images in (("train", 75_750), ("test", 25_250))
    },
    split="test",
    resize="crop",
    pixels=None,
    licence="images from foodspotting.com, scientific fair use as the authors say",
    citation="Bossard, Guillaumin and Van Gool 2014, Food-101, ECCV",
    homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    disk_gb=5.3,
    templates=("A photo of {}, a type of food.",),
    archives=(Archive(Food101._URL, Food101._MD5),),
    notes=("offered without TLS, so it is never downloaded by itself",),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """images/<class>/<number>.jpg by the JSON list of the split."""
    dataset = tv.run_reader(lambda: Food101(root, split=split), FACTS.title, root)
    return tv.from_files(
        tv.class_entries(dataset.classes), dataset._labels, dataset._image_files, root
    )


open_source = make_open_source(FACTS, listing)
