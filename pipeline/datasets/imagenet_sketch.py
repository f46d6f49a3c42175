"""ImageNet-Sketch: black and white sketches of ImageNet's classes."""

from pipeline.prepare.catalogue import make_open_source
from pipeline.prepare.facts import Archive, Facts, Split
from pipeline.prepare.wnids import WnidParams, wnid_folders

FACTS = Facts(
    title="ImageNet-Sketch",
    splits={"test": Split(50_889, 1_000, ("imagenet-sketch",))},
    split="test",
    resize="crop",
    pixels=None,
    licence="MIT (the collection); images from the web",
    citation="Wang et al. 2019, Learning robust global representations, NeurIPS",
    homepage="https://github.com/HaohanWang/ImageNet-Sketch",
    disk_gb=7.6,
    archives=(
        Archive(
            "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",
            None,
        ),
    ),
    finish=("mv sketch imagenet-sketch",),
    notes=("its publisher states no checksum, so it is never downloaded by itself",),
)
Params = WnidParams
open_source = make_open_source(FACTS, wnid_folders("imagenet-sketch"))
