"""ImageNet-A: natural photographs that ResNet-50 gets wrong, 200 of ImageNet's classes."""

from pipeline.prepare.catalogue import make_open_source
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.wnids import WnidParams, wnid_folders

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
open_source = make_open_source(FACTS, wnid_folders("imagenet-a"))
