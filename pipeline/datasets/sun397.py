"""SUN397: photographs of 397 kinds of scenes."""

from pathlib import Path

from torchvision.datasets import SUN397

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

FACTS = Facts(
    title="SUN397",
    splits={"all": Split(108_754, 397, ("SUN397/ClassName.txt",))},
    split="all",
    resize="crop",
    pixels=None,
    licence="none stated by the authors; images from the web",
    citation="Xiao et al. 2010, SUN database: Large-scale scene recognition, CVPR",
    homepage="https://vision.princeton.edu/projects/2010/SUN/",
    disk_gb=39,
    archives=(Archive(SUN397._DATASET_URL, SUN397._DATASET_MD5),),
    notes=(
        "the whole set, as the reference evaluates it, not one of its ten partitions",
        "offered without TLS, so it is never downloaded by itself",
    ),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """<letter>/<class>[/<variant>]/sun_*.jpg with the class list in the same folder."""
    dataset = tv.run_reader(lambda: SUN397(root), FACTS.title, root)
    return tv.from_files(
        tv.class_entries(dataset.classes), dataset._labels, dataset._image_files, root
    )


open_source = make_open_source(FACTS, listing)
