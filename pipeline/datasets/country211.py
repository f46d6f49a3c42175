"""Country211: photographs by the country they were taken in."""

from pathlib import Path

from torchvision.datasets import Country211

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.directories import class_folders
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.folders import listing_of

FACTS = Facts(
    title="Country211",
    splits={
        name: Split(images, 211, (f"country211/{name}",))
        for name, images in (("train", 31_650), ("valid", 10_550), ("test", 21_100))
    },
    split="test",
    resize="crop",
    pixels=None,
    licence="Creative Commons licences of the single photographs (YFCC100M)",
    citation="Radford et al. 2021, Learning transferable visual models, ICML",
    homepage="https://github.com/openai/CLIP/blob/main/data/country211.md",
    disk_gb=11,
    archives=(Archive(Country211._URL, Country211._MD5),),
)
Params = CatalogueParams


def country(code: str) -> str:
    """English name of an ISO 3166 code ("XK" too), from Unicode's CLDR."""
    from babel import Locale

    return str(Locale("en").territories.get(code, code))


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """<split>/<ISO code>/*.jpg."""
    folder = root / "country211" / split
    return listing_of(folder, root, tv.class_entries(class_folders(folder), country))


open_source = make_open_source(FACTS, listing)
