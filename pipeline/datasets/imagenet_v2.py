"""ImageNet-V2: a second test set for ImageNet, collected like the first (matched frequency)."""

from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.prepare.catalogue import Listing, make_open_source
from pipeline.prepare.directories import class_folders
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.folders import listing_of
from pipeline.prepare.wnids import WnidParams, all_wnids, class_entries

FOLDER = "imagenetv2-matched-frequency-format-val"
FACTS = Facts(
    title="ImageNet-V2",
    splits={"test": Split(10_000, 1_000, (FOLDER,))},
    split="test",
    resize="crop",
    pixels=None,
    licence="MIT (the collection); images from the web",
    citation="Recht et al. 2019, Do ImageNet classifiers generalize to ImageNet?, ICML",
    homepage="https://github.com/modestyachts/ImageNetV2",
    disk_gb=1.3,
    archives=(
        Archive(
            "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
            None,
        ),
    ),
    notes=("its publisher states no checksum, so it is never downloaded by itself",),
)
Params = WnidParams


def listing(root: Path, split: str, params: WnidParams) -> Listing:
    """<number>/*.jpeg: folder names are ImageNet's labels, as strings they sort otherwise."""
    wnids, folder = all_wnids(), root / FOLDER
    folders, numbers = class_folders(folder), {str(number) for number in range(len(wnids))}
    unknown = [name for name in folders if name not in numbers]
    if unknown:
        raise UserError(
            f"{folder / unknown[0]}: no label of ImageNet, 0 to 999 ({len(unknown)} folders are "
            "none); remove it"
        )
    names = sorted(folders, key=int)
    classes = class_entries([wnids[int(name)] for name in names], params.names, folder)
    return listing_of(folder, root, classes, names)


open_source = make_open_source(FACTS, listing)
