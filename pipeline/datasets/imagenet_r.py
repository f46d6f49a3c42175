"""ImageNet-R: drawings, sculptures and other renditions of 200 of ImageNet's classes."""

from pipeline.prepare.catalogue import make_open_source
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.wnids import WnidParams, wnid_folders

FACTS = Facts(
    title="ImageNet-R",
    splits={"test": Split(30_000, 200, ("imagenet-r",))},
    split="test",
    resize="crop",
    pixels=None,
    licence="MIT (the collection); images from the web",
    citation="Hendrycks et al. 2021, The many faces of robustness, ICCV",
    homepage="https://github.com/hendrycks/imagenet-r",
    disk_gb=2.2,
    archives=(Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar", None),),
    notes=("its publisher states no checksum, so it is never downloaded by itself",),
)
Params = WnidParams
open_source = make_open_source(FACTS, wnid_folders("imagenet-r"))
