"""ImageNet-1k (ILSVRC 2012): 1.28 million photographs of 1,000 classes."""

from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.prepare.catalogue import Listing, make_open_source
from pipeline.prepare.directories import check_folder, class_folders, subfolders
from pipeline.prepare.facts import Facts, Split
from pipeline.prepare.folders import listing_of
from pipeline.prepare.wnids import WnidParams, class_entries

FACTS = Facts(
    title="ImageNet",
    splits={
        "train": Split(1_281_167, 1_000, ("imagenet/train",)),
        "val": Split(50_000, 1_000, ("imagenet/val",)),
    },
    split="val",
    resize="crop",
    pixels=None,
    licence="ImageNet terms: non-commercial research",
    citation="Russakovsky et al. 2015, ImageNet large scale visual recognition challenge, IJCV",
    homepage="https://image-net.org/download.php",
    disk_gb=145,
    manual=(
        "log in at https://image-net.org/download.php and put ILSVRC2012_devkit_t12.tar.gz, "
        "ILSVRC2012_img_val.tar and, for training, ILSVRC2012_img_train.tar into the folder "
        "imagenet below the data root, then, there, let torchvision sort them by class"
    ),
    finish=(
        'python -c \'from torchvision.datasets import ImageNet; ImageNet("imagenet", "{split}")\'',
    ),
    unlabelled=("test",),
    notes=("crane, cardigan and maillot name two wnids each: those six carry OpenAI's names",),
)
Params = WnidParams


def listing(root: Path, split: str, params: WnidParams) -> Listing:
    """<split>/<wnid>/*.JPEG.

    Raises:
        UserError: the images are not sorted into class folders.
    """
    folder = root / "imagenet" / split
    check_folder(folder)
    if not subfolders(folder):
        raise UserError(
            f"{folder}: the images are not sorted by class; move that folder away (torchvision "
            f"unpacks where there is none) and in {root} run "
            + FACTS.finish[0].replace("{split}", split)
        )
    return listing_of(folder, root, class_entries(class_folders(folder), params.names, folder))


open_source = make_open_source(FACTS, listing)
