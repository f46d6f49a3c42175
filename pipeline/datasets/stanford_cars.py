"""Stanford Cars: photographs of 196 models of cars, the year being part of the class."""

from pathlib import Path

from torchvision.datasets import StanfordCars

from pipeline.prepare import torchvision_readers as tv
from pipeline.prepare.catalogue import CatalogueParams, Listing, make_open_source
from pipeline.prepare.facts import Facts, Split

FOLDER = "stanford_cars"
META = f"{FOLDER}/devkit/cars_meta.mat"
FACTS = Facts(
    title="Stanford Cars",
    splits={
        "train": Split(
            8_144, 196, (META, f"{FOLDER}/devkit/cars_train_annos.mat", f"{FOLDER}/cars_train")
        ),
        "test": Split(
            8_041, 196, (META, f"{FOLDER}/cars_test_annos_withlabels.mat", f"{FOLDER}/cars_test")
        ),
    },
    split="test",
    resize="crop",
    pixels=None,
    licence="none stated by the authors; research use",
    citation="Krause et al. 2013, 3D object representations for fine-grained categorization",
    homepage="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    disk_gb=1.9,
    templates=("A photo of a {}.",),
    manual=(
        "its own site is gone; https://github.com/pytorch/vision/issues/7545 tells where copies "
        "are; arrange one as stanford_cars/devkit/*.mat, "
        "stanford_cars/cars_test_annos_withlabels.mat, stanford_cars/cars_train/*.jpg and "
        "stanford_cars/cars_test/*.jpg, or take `source: webdataset` with "
        "`root: hf:clip-benchmark/wds_cars`"
    ),
    notes=("the reference drops the year from the names, which makes some of them equal",),
)
Params = CatalogueParams


def listing(root: Path, split: str, params: CatalogueParams) -> Listing:
    """cars_<split>/<number>.jpg with MATLAB files for labels and class names."""
    dataset = tv.run_reader(lambda: StanfordCars(root, split=split), FACTS.title, root)
    files, labels = zip(*dataset._samples, strict=True)
    return tv.from_files(tv.class_entries(dataset.classes, str), labels, files, root)


open_source = make_open_source(FACTS, listing)
