"""PatchCamelyon: patches of 96 x 96 pixels of lymph nodes, with or without tumour tissue."""

from pathlib import Path

import numpy as np
from torchvision.datasets import PCAM

from pipeline.images.classes import ClassEntry
from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

RECORD = "https://zenodo.org/records/2546921/files"
CLASSES = (ClassEntry("0", "healthy lymph node tissue"), ClassEntry("1", "lymph node tumor tissue"))


def names(split: str) -> list[tuple[str, str]]:
    """(file, md5 of the compressed file) of a split, as torchvision knows them."""
    return [(file, md5) for file, _, md5 in PCAM._FILES[split].values()]


FACTS = Facts(
    title="PCAM",
    splits={
        name: Split(images, 2, tuple(f"pcam/{file}" for file, _ in names(name)))
        for name, images in (("train", 262_144), ("val", 32_768), ("test", 32_768))
    },
    split="test",
    resize="crop",
    pixels=96,
    licence="CC0",
    citation="Veeling et al. 2018, Rotation equivariant CNNs for digital pathology, MICCAI",
    homepage="https://github.com/basveeling/pcam",
    disk_gb=0.9,
    templates=("This is a photo of {}.",),
    archives=tuple(
        Archive(f"{RECORD}/{file}.gz", md5, "pcam", split)
        for split in ("train", "val", "test")
        for file, md5 in names(split)
    ),
    notes=(
        "the size on disk is that of the test split; all splits are 8 GB",
        "two classes: accuracy of a constant answer is 50 %",
    ),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """HDF5 files, read whole: 0.9 GB for the test split, 7.2 GB for the training split."""
    arrays = tv.run_reader(lambda: _arrays(root, split), FACTS.title, root)
    return tv.from_arrays(CLASSES, arrays[1], arrays[0], split)


def _arrays(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    import h5py

    (images, _), (targets, _) = names(split)
    with h5py.File(root / "pcam" / images) as x, h5py.File(root / "pcam" / targets) as y:
        return x["x"][:], y["y"][:].reshape(-1)


open_source = make_open_source(FACTS, listing)
