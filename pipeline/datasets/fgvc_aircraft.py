"""FGVC-Aircraft: photographs of 100 variants of aircraft."""

from pathlib import Path

from torchvision.datasets import FGVCAircraft

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

FOLDER = "fgvc-aircraft-2013b/data"
FACTS = Facts(
    title="FGVC-Aircraft",
    splits={
        name: Split(images, 100, (f"{FOLDER}/images", f"{FOLDER}/images_variant_{name}.txt"))
        for name, images in (("train", 3_334), ("val", 3_333), ("trainval", 6_667), ("test", 3_333))
    },
    split="test",
    resize="crop",
    pixels=None,
    licence="non-commercial research purposes only",
    citation="Maji et al. 2013, Fine-grained visual classification of aircraft",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    disk_gb=2.8,
    templates=("A photo of a {}, a type of aircraft.",),
    archives=(Archive(FGVCAircraft._URL, None),),
    notes=("its publisher states no checksum, so it is never downloaded by itself",),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """images/<number>.jpg with text lists of the variants."""
    dataset = tv.run_reader(lambda: FGVCAircraft(root, split=split), FACTS.title, root)
    classes = tv.class_entries(dataset.classes, str)  # "707-320": the hyphen belongs to the name
    return tv.from_files(classes, dataset._labels, dataset._image_files, root)


open_source = make_open_source(FACTS, listing)
