"""Oxford-IIIT Pet: photographs of 37 breeds of cats and dogs."""

from pathlib import Path

from torchvision.datasets import OxfordIIITPet

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

FOLDER = "oxford-iiit-pet"
FACTS = Facts(
    title="Oxford-IIIT Pet",
    splits={
        name: Split(images, 37, (f"{FOLDER}/images", f"{FOLDER}/annotations/{name}.txt"))
        for name, images in (("trainval", 3_680), ("test", 3_669))
    },
    split="test",
    resize="crop",
    pixels=None,
    licence="CC BY-SA 4.0",
    citation="Parkhi et al. 2012, Cats and dogs, CVPR",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    disk_gb=0.83,
    templates=("A photo of a {}, a type of pet.",),
    archives=tuple(Archive(url, md5, FOLDER) for url, md5 in OxfordIIITPet._RESOURCES),
    notes=("a few images are CMYK, GIF or PNG files under a name that ends in .jpg",),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """images/<Breed>_<number>.jpg by the list of the split."""
    dataset = tv.run_reader(lambda: OxfordIIITPet(root, split=split), FACTS.title, root)
    return tv.from_files(tv.class_entries(dataset.classes), dataset._labels, dataset._images, root)


open_source = make_open_source(FACTS, listing)
