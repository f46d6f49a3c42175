"""CIFAR-100: 60,000 colour images of 32 x 32 pixels in a hundred classes."""

from torchvision.datasets import CIFAR100

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, make_open_source
from pipeline.prepare.facts import Archive, Facts, Split

NEEDS = ("cifar-100-python/meta", "cifar-100-python/test")
FACTS = Facts(
    title="CIFAR-100",
    splits={"train": Split(50_000, 100, NEEDS), "test": Split(10_000, 100, NEEDS)},
    split="test",
    resize="stretch",
    pixels=32,
    licence="none stated by the authors",
    citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    disk_gb=0.18,
    archives=(Archive(CIFAR100.url, CIFAR100.tgz_md5),),
)
Params = CatalogueParams
open_source = make_open_source(FACTS, tv.batches(CIFAR100, FACTS.title))
