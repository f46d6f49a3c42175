"""EuroSAT: satellite images of 64 x 64 pixels, ten kinds of land use."""

from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.directories import class_folders
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.folders import listing_of

FOLDER = "eurosat/2750"
NAMES = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "herbaceous vegetation",
    "Highway": "highway or road",
    "Industrial": "industrial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings",
    "River": "river",
    "SeaLake": "sea or lake",
}
URL = "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip"
FACTS = Facts(
    title="EuroSAT",
    splits={"all": Split(27_000, 10, (FOLDER,))},
    split="all",
    resize="crop",
    pixels=64,
    licence="MIT",
    citation="Helber et al. 2019, EuroSAT, IEEE J-STARS",
    homepage="https://github.com/phelber/eurosat",
    disk_gb=0.11,
    templates=("A centered satellite photo of {}.",),
    archives=(Archive(URL, "c8fa014336c82ac7804f0398fcb19387", "eurosat"),),
    notes=("the whole set, as the reference evaluates it; it has no split of its own",),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """2750/<Class>/<Class>_<number>.jpg."""
    folders = class_folders(root / FOLDER)
    unknown = sorted(set(folders) - set(NAMES))
    if unknown:
        raise UserError(f"{root / FOLDER / unknown[0]}: no class of EuroSAT; remove the folder")
    return listing_of(root / FOLDER, root, tv.class_entries(folders, NAMES.__getitem__))


open_source = make_open_source(FACTS, listing)
