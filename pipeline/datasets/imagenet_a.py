"""ImageNet-A: natural photographs that ResNet-50 gets wrong, 200 of ImageNet's classes."""

from pathlib import Path

from pipeline.datasets._catalogue import Listing, catalogued
from pipeline.datasets._facts import Archive, Facts, Split
from pipeline.datasets._folders import class_folders, listing_of
from pipeline.datasets._wnids import WnidParams, entries

FACTS = Facts(
    title="ImageNet-A",
    splits={"test": Split(7_500, 200, ("imagenet-a",))},
    split="test",
    resize="crop",
    pixels=None,
    licence="MIT (the collection); images from the web",
    citation="Hendrycks et al. 2021, Natural adversarial examples, CVPR",
    homepage="https://github.com/hendrycks/natural-adv-examples",
    disk_gb=0.7,
    archives=(Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar", None),),
    notes=("its publisher states no checksum, so it is never downloaded by itself",),
)
Params = WnidParams


def listing(root: Path, split: str, params: WnidParams) -> Listing:
    """<wnid>/*, one folder per class."""
    folder = root / "imagenet-a"
    return listing_of(folder, root, entries(class_folders(folder), params.names, folder))


open_source = catalogued(FACTS, listing)
