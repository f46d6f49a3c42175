"""ImageNet-O: things that ImageNet has no class for, under the class they are taken for."""

from pipeline.prepare.catalogue import make_open_source
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.wnids import WnidParams, wnid_folders

FACTS = Facts(
    title="ImageNet-O",
    splits={"test": Split(2_000, 200, ("imagenet-o",))},
    split="test",
    resize="crop",
    pixels=None,
    licence="MIT (the collection); images from the web",
    citation="Hendrycks et al. 2021, Natural adversarial examples, CVPR",
    homepage="https://github.com/hendrycks/natural-adv-examples",
    disk_gb=0.2,
    archives=(Archive("https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar", None),),
    notes=(
        "made for detecting outliers: its label is a confusion, not what is shown, so accuracy on "
        "it says little (TGA-ZSR reports it)",
        "its publisher states no checksum, so it is never downloaded by itself",
    ),
)
Params = WnidParams
open_source = make_open_source(FACTS, wnid_folders("imagenet-o"))
