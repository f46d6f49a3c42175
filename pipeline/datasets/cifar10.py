"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in ten classes."""

from torchvision.datasets import CIFAR10

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

NEEDS = ("cifar-10-batches-py/batches.meta", "cifar-10-batches-py/test_batch")
FACTS = Facts(
    title="CIFAR-10",
    splits={"train": Split(50_000, 10, NEEDS), "test": Split(10_000, 10, NEEDS)},
    split="test",
    resize="stretch",
    pixels=32,
    licence="none stated by the authors",
    citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    disk_gb=0.18,
    archives=(Archive(CIFAR10.url, CIFAR10.tgz_md5),),
)
Params = CatalogueParams
open_source = make_open_source(FACTS, tv.batches(CIFAR10, FACTS.title))
